"""A small BLIP captioner that starts from the CLIP vision tower and learns to say every fact. (Li et al. 2022)"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, CLIPModel

from sdstudio.starter.build.clip import augment
from sdstudio.starter.build.data import Pictures, held_out
from sdstudio.starter.build.loop import fit
from sdstudio.starter.captions import attribute_hits, full_caption

BATCH = 64
LONGEST = 40


def new(tokenizer: BertTokenizer) -> BlipForConditionalGeneration:
    shared = {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 4, "projection_dim": 128}
    vision = {**shared, "num_hidden_layers": 4, "image_size": 64, "patch_size": 8, "hidden_act": "quick_gelu"}
    text = {
        **shared,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": 128,
        "max_position_embeddings": 64,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "label_smoothing": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
    }
    torch.manual_seed(0)
    return BlipForConditionalGeneration(
        BlipConfig(text_config=text, vision_config=vision, projection_dim=128, image_text_hidden_size=128)
    )


@torch.no_grad()
def copy_vision(blip: BlipForConditionalGeneration, clip: CLIPModel) -> None:
    """Start the captioner's eyes from those of CLIP, which have the same shape."""
    ours, theirs = blip.vision_model, clip.vision_model
    ours.embeddings.patch_embedding.weight.copy_(theirs.embeddings.patch_embedding.weight)
    ours.embeddings.patch_embedding.bias.zero_()
    ours.embeddings.class_embedding.copy_(theirs.embeddings.class_embedding.view(1, 1, -1))
    ours.embeddings.position_embedding.copy_(theirs.embeddings.position_embedding.weight[None])
    for a, b in zip(ours.encoder.layers, theirs.encoder.layers, strict=True):
        heads = b.self_attn
        projections = (heads.q_proj, heads.k_proj, heads.v_proj)
        a.self_attn.qkv.weight.copy_(torch.cat([projection.weight for projection in projections]))
        a.self_attn.qkv.bias.copy_(torch.cat([projection.bias for projection in projections]))
        for mine, other in (
            (a.self_attn.projection, heads.out_proj),
            (a.layer_norm1, b.layer_norm1),
            (a.layer_norm2, b.layer_norm2),
            (a.mlp.fc1, b.mlp.fc1),
            (a.mlp.fc2, b.mlp.fc2),
        ):
            mine.load_state_dict(other.state_dict())
    ours.post_layernorm.load_state_dict(theirs.post_layernorm.state_dict())


@torch.no_grad()
def say(blip: BlipForConditionalGeneration, tokenizer: BertTokenizer, images: torch.Tensor) -> list[str]:
    """Greedy captions of (B, 3, 64, 64) in [-1, 1]."""
    blip.eval()
    spoken: list[str] = []
    for part in images.split(100):
        tokens = blip.generate(pixel_values=part, max_new_tokens=LONGEST, num_beams=1, do_sample=False)
        spoken += tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return spoken


def accuracy(texts: list[str], listed: list) -> float:
    """Share of all visible facts that the captions state."""
    hits = [hit for text, scene in zip(texts, listed, strict=True) for hit in attribute_hits(text, scene).values()]
    return sum(hits) / len(hits)


def build(folder: Path, pictures: Pictures, *, steps: int, device: torch.device) -> BlipForConditionalGeneration:
    tokenizer = BertTokenizer.from_pretrained(folder / "tokenizers/blip")
    blip = new(tokenizer)
    copy_vision(blip, CLIPModel.from_pretrained(folder / "clip"))
    check = held_out(200)

    def loss_of(model: nn.Module, rng: np.random.Generator, step: int) -> torch.Tensor:
        index = np.sort(rng.integers(0, len(pictures.scenes), BATCH))
        tokens = tokenizer([full_caption(pictures.scenes[i]) for i in index], padding=True, return_tensors="pt").to(
            device
        )
        words, mask = tokens.input_ids, tokens.attention_mask
        pixels = augment(pictures.batch(index), rng).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            return model(
                pixel_values=pixels, input_ids=words, attention_mask=mask, labels=words.masked_fill(mask == 0, -100)
            ).loss

    def evaluate(model: nn.Module) -> str:
        texts = say(model, tokenizer, check.batch(np.arange(200)).to(device))
        return f"attributes {accuracy(texts, check.scenes):.3f}"

    return fit(
        folder / "blip.safetensors", blip, loss_of,
        steps=steps, peak=1.5e-3, seed=14, device=device, evaluate=evaluate, ema_decay=0.99, weight_decay=0.02,
    )  # fmt: skip

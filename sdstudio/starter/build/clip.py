"""A small CLIP: contrastive learning of pictures and captions, with attribute heads beside it.

The heads (thrown away afterwards) make the vision tower look at expressions, which contrast alone ignores.
(Radford et al. 2021)
"""

import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from sdstudio.starter.build.data import Pictures, held_out
from sdstudio.starter.build.loop import fit
from sdstudio.starter.build.tokenizers import CONTEXT, RARE_WORDS
from sdstudio.starter.captions import full_caption, varied_caption
from sdstudio.starter.styles import COLORS, FUR, HAIR
from sdstudio.starter.world import ANIMALS, EXPRESSIONS, PEOPLE, PLACES, PROP_COLORS, PROPS, TIMES, VEHICLES, attributes

FACTS = {
    "who": (*PEOPLE, *ANIMALS, *VEHICLES),
    "place": PLACES,
    "time": TIMES,
    "color": tuple({**COLORS, **FUR}),
    "expression": EXPRESSIONS,
    "hair": tuple(HAIR),
    "hat": ("none", *COLORS),
    "prop": ("none", *PROPS),
    "prop color": PROP_COLORS,
}
BATCH = 48


class ClipWithHeads(nn.Module):
    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.heads = nn.Linear(clip.config.vision_config.hidden_size, sum(len(values) for values in FACTS.values()))

    def images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) to pooled features (B, D) and unit embeddings (B, P)."""
        pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
        return pooled, F.normalize(self.clip.visual_projection(pooled).float(), dim=-1)

    def texts(self, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
        """Unit embeddings (B, P)."""
        return F.normalize(self.clip.text_projection(self.clip.text_model(**tokens).pooler_output).float(), dim=-1)


def new(tokenizer: CLIPTokenizer) -> CLIPModel:
    shared = {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 4, "projection_dim": 128}
    text = {
        **shared,
        "num_hidden_layers": 3,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**shared, "num_hidden_layers": 4, "image_size": 64, "patch_size": 8}
    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def labels(pictures: Pictures) -> torch.Tensor:
    """int64 (N, facts): the index of each fact's value, -100 where it does not apply."""
    rows = []
    for scene in pictures.scenes:
        facts = attributes(scene)
        rows.append([values.index(facts[name]) if name in facts else -100 for name, values in FACTS.items()])
    return torch.tensor(rows)


def build(folder: Path, pictures: Pictures, tokenizer: CLIPTokenizer, *, steps: int, device: torch.device) -> CLIPModel:
    truth, check = labels(pictures), held_out(100)
    sizes = [len(values) for values in FACTS.values()]

    def tokenize(texts: list[str]) -> dict[str, torch.Tensor]:
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return {key: value.to(device) for key, value in tokens.items()}

    def loss_of(model: nn.Module, rng: np.random.Generator, step: int) -> torch.Tensor:
        index = np.sort(rng.integers(0, len(pictures.scenes), BATCH))
        words = random.Random(int(rng.integers(1 << 62)))
        texts = [varied_caption(pictures.scenes[i], words) for i in index]
        texts = [f"{words.choice(RARE_WORDS)}, {text}" if words.random() < 0.05 else text for text in texts]
        pixels = augment(pictures.batch(index), rng).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            pooled, image = model.images(pixels)
            text = model.texts(tokenize(texts))
            guesses = model.heads(pooled)
        similarity = image @ text.T * model.clip.logit_scale.exp().clamp(max=60)
        target = torch.arange(BATCH, device=device)
        contrast = (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
        fact_losses = [
            F.cross_entropy(guess, truth[index, i].to(device), ignore_index=-100)
            for i, guess in enumerate(guesses.float().split(sizes, 1))
            if (truth[index, i] >= 0).any()
        ]
        return contrast + 2 * torch.stack(fact_losses).mean()

    @torch.no_grad()
    def evaluate(model: nn.Module) -> str:
        image = model.images(check.batch(np.arange(100)).to(device))[1]
        text = model.texts(tokenize([full_caption(scene) for scene in check.scenes]))
        hits = ((image @ text.T).argmax(1) == torch.arange(100, device=device)).float().mean().item()
        return f"R@1 of 100: {hits:.2f}"

    model = fit(
        folder / "clip.safetensors", ClipWithHeads(new(tokenizer)), loss_of,
        steps=steps, peak=1.2e-3, seed=11, device=device, evaluate=evaluate, ema_decay=0.99, weight_decay=0.02,
    )  # fmt: skip
    return model.clip


def augment(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Mirror half of the batches; blur, add noise or shift colours in some, so that generated pictures are read too."""
    if rng.random() < 0.5:
        pixels = pixels.flip(-1)
    if rng.random() < 0.3:
        pixels = F.interpolate(F.avg_pool2d(pixels, 2), scale_factor=2, mode="bilinear")
    if rng.random() < 0.4:
        pixels = pixels + float(rng.uniform(0, 0.15)) * torch.randn_like(pixels)
    if rng.random() < 0.4:
        pixels = pixels * float(rng.uniform(0.85, 1.15)) + 0.1 * torch.randn(len(pixels), 3, 1, 1)
    return pixels.clamp(-1, 1)

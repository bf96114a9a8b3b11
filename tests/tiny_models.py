"""Tiny random models of the real classes, as diffusers folders and as single files in the original (LDM) layout."""

import io
import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdstudio.datasets import create_dataset
from sdstudio.engine.drawing import draw
from sdstudio.engine.pool import ModelPool
from sdstudio.exports import ldm
from sdstudio.jobs.context import JobContext
from sdstudio.schema import GeneratedImage, ModelRef
from sdstudio.workspace import Workspace

SIDE = 16
KINDS = ("sd1", "sd2", "sdxl")
CLOCK = ("time", "images_per_second", "memory_bytes")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789,."


def build(kind: str, folder: Path) -> None:
    """Write a diffusers folder: SD 1.x (noise), SD 2.x (velocity, wider text) or XL, 16 px pictures, 8 × 8 latents."""
    torch.manual_seed(KINDS.index(kind))
    width = {"sd1": 16, "sd2": 24, "sdxl": 16}[kind]
    unet = dict(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        use_linear_projection=kind != "sd1",
    )
    if kind == "sdxl":
        unet |= dict(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16 + 24,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 20,
        )
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        scaling_factor=0.13025 if kind == "sdxl" else 0.18215,
    )
    schedule = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    common = dict(vae=vae, unet=UNet2DConditionModel(**unet), tokenizer=tokenizer())
    if kind == "sdxl":
        pipeline = StableDiffusionXLPipeline(
            **common,
            text_encoder=CLIPTextModel(text_config(16)),
            text_encoder_2=CLIPTextModelWithProjection(text_config(24, projection_dim=20)),
            tokenizer_2=tokenizer(),
            scheduler=EulerDiscreteScheduler(**schedule),
        )
    else:
        prediction = "v_prediction" if kind == "sd2" else "epsilon"
        pipeline = StableDiffusionPipeline(
            **common,
            text_encoder=CLIPTextModel(text_config(width)),
            scheduler=DDIMScheduler(**schedule, prediction_type=prediction, clip_sample=False, set_alpha_to_one=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)


def text_config(width: int, **more: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=2 * len(CHARACTERS) + 2,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **more,
    )


def tokenizer() -> CLIPTokenizer:
    tokens = ["<|startoftext|>", "<|endoftext|>", *CHARACTERS, *(f"{character}</w>" for character in CHARACTERS)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24)


def write_single_file(kind: str, folder: Path, file: Path) -> None:
    """The folder's weights in one .safetensors file with the original names; configs and tokenizer are not in it."""
    loaded = (StableDiffusionXLPipeline if kind == "sdxl" else StableDiffusionPipeline).from_pretrained(folder)
    upsampler = 2 if kind == "sdxl" else 1
    tensors = {
        f"model.diffusion_model.{ldm_unet_name(name, upsampler)}": value
        for name, value in loaded.unet.state_dict().items()
    }
    for name, value in loaded.vae.state_dict().items():
        is_projection = re.search(r"to_(q|k|v|out\.0)\.weight", name)
        tensors[f"first_stage_model.{ldm_vae_name(name)}"] = value[:, :, None, None] if is_projection else value
    if kind == "sd1":
        tensors |= clip_tensors(loaded.text_encoder, "cond_stage_model.transformer.text_model.")
    if kind == "sd2":
        tensors |= open_clip_tensors(loaded.text_encoder, "cond_stage_model.model.")
    if kind == "sdxl":
        tensors |= clip_tensors(loaded.text_encoder, "conditioner.embedders.0.transformer.text_model.")
        tensors |= open_clip_tensors(loaded.text_encoder_2, "conditioner.embedders.1.model.")
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, file)


def ldm_unet_name(name: str, upsampler: int) -> str:
    """diffusers' name of a U-Net parameter -> the original one, for one layer a block.

    `upsampler` is the place of the upsampling in its block: 2 behind an attention, 1 without one.
    """
    fixed = {
        "conv_in.": "input_blocks.0.0.",
        "time_embedding.linear_1.": "time_embed.0.",
        "time_embedding.linear_2.": "time_embed.2.",
        "add_embedding.linear_1.": "label_emb.0.0.",
        "add_embedding.linear_2.": "label_emb.0.2.",
        "conv_norm_out.": "out.0.",
        "conv_out.": "out.2.",
        "mid_block.resnets.0.": "middle_block.0.",
        "mid_block.attentions.0.": "middle_block.1.",
        "mid_block.resnets.1.": "middle_block.2.",
    }
    inside = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    if "resnets" in name:
        for ours, theirs in inside.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
    for ours, theirs in fixed.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    side, block, part, layer, rest = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name).groups()
    index = int(block) * 2 + int(layer)
    if part == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * 2}.0.{rest.replace('conv.', 'op.')}"
    if part == "upsamplers":
        return f"output_blocks.{int(block) * 2 + 1}.{upsampler}.{rest}"
    side, first = ("input_blocks", 1) if side == "down" else ("output_blocks", 0)
    return f"{side}.{first + index}.{0 if part == 'resnets' else 1}.{rest}"


def ldm_vae_name(name: str, levels: int = 2) -> str:
    """diffusers' name of a VAE parameter -> the original one."""
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
    name = name.replace("to_out.0", "proj_out").replace(".to_", ".").replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{levels - 1 - int(found[1])}.upsample", name)
    name = re.sub(
        r"up_blocks\.(\d)\.resnets\.(\d)", lambda found: f"up.{levels - 1 - int(found[1])}.block.{found[2]}", name
    )
    return name.replace("conv_shortcut", "nin_shortcut")


def clip_tensors(model: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name.removeprefix("text_model."): value for name, value in model.state_dict().items()}


def open_clip_tensors(model: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """As published: Stable Diffusion 2's text encoder has a projection, which nothing uses."""
    width = model.config.hidden_size
    return {f"{prefix}text_projection": torch.eye(width), **ldm.open_clip_tensors(model, prefix)}


def strip_weights(folder: Path) -> None:
    """Leave the configuration and the tokenizer of a diffusers folder."""
    for file in folder.glob("*/*.safetensors"):
        file.unlink()


def make_dataset(ws: Workspace, name: str = "toys", captions: list[str] | None = None) -> None:
    """A dataset of small drawings with one caption each; an empty caption is left out."""
    store = create_dataset(ws, name)
    for index, caption in enumerate(captions or [f"asim. toy {number}" for number in range(5)]):
        picture = Image.new("RGB", (64 + 8 * index, 64), (40 * index % 256, 120, 200))
        ImageDraw.Draw(picture).ellipse((8, 8, 40, 56), fill=(255, 217, 15), outline=(0, 0, 0))
        data = io.BytesIO()
        picture.save(data, "PNG")
        store.add(data.getvalue(), f"{index}.png", caption)


def context(ws: Workspace, parent: str, name: str) -> JobContext:
    """A job's context, its folder made."""
    folder = ws.root / parent / name
    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(ws, folder)


def metrics(ctx: JobContext) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (ctx.folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def draw_from(ws: Workspace, model: ModelRef, *rest: Any, **named: Any) -> list[GeneratedImage]:
    """`draw` from a model that is read for it alone."""
    with ModelPool(ws).use(model) as loaded:
        return draw(loaded, model, *rest, **named)

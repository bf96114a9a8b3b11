"""The names that Stable Diffusion's original code gives to weights, which single files keep.

The reverse of what diffusers' `from_single_file` does; (ours → theirs) for SD 1.x, 2.x and XL of any depth.
"""

import re
from typing import Any

_UNET_ENDS = {
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
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)")
_OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
_OPEN_CLIP_ENDS = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def unet_name(name: str, config: Any) -> str:
    """The original name of a U-Net parameter (or of a layer with '.weight' behind it), without its prefix."""
    if ".resnets." in name:
        for ours, theirs in _RESNET.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
    for ours, theirs in _UNET_ENDS.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise ValueError(f"no original name for {name}")
    side, block, part, place, rest = match.groups()
    layers = config.layers_per_block
    if part == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * (layers + 1)}.0.{rest.replace('conv.', 'op.', 1)}"
    if part == "upsamplers":
        behind = 2 if "CrossAttn" in config.up_block_types[int(block)] else 1
        return f"output_blocks.{int(block) * (layers + 1) + layers}.{behind}.{rest}"
    first = 1 if side == "down" else 0
    index = first + int(block) * (layers + 1) + int(place)
    return f"{'in' if side == 'down' else 'out'}put_blocks.{index}.{0 if part == 'resnets' else 1}.{rest}"


def vae_name(name: str, levels: int) -> str:
    """The original name of an autoencoder's parameter; `levels` is the number of its resolutions."""
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
    name = name.replace("to_out.0", "proj_out").replace(".to_", ".").replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{levels - 1 - int(found[1])}.upsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda found: f"up.{levels - 1 - int(found[1])}.block", name)
    return name.replace("conv_shortcut", "nin_shortcut")


def unet_tensors(unet: Any) -> dict[str, Any]:
    """The U-Net's weights under their original names."""
    return {f"model.diffusion_model.{unet_name(name, unet.config)}": value for name, value in unet.state_dict().items()}


def vae_tensors(vae: Any) -> dict[str, Any]:
    """The autoencoder's weights; the projections of its attention are 1 × 1 convolutions there."""
    tensors = {}
    for name, value in vae.state_dict().items():
        projection = re.search(r"attentions\.0\.to_(q|k|v|out\.0)\.weight", name)
        key = f"first_stage_model.{vae_name(name, len(vae.config.block_out_channels))}"
        tensors[key] = value[:, :, None, None] if projection else value
    return tensors


def clip_tensors(encoder: Any, prefix: str) -> dict[str, Any]:
    """A text encoder of OpenAI's CLIP as transformers had it: everything under 'text_model.'."""
    state = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    return {f"{prefix}text_model.{name}": value for name, value in state.items()}


def open_clip_tensors(encoder: Any, prefix: str) -> dict[str, Any]:
    """A text encoder of OpenCLIP, whose attention keeps q, k and v in one matrix."""
    import torch

    state = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    tensors = {theirs: state[ours] for ours, theirs in _OPEN_CLIP_ENDS.items()}
    if "text_projection.weight" in state:
        tensors["text_projection"] = state["text_projection.weight"].T
    for name, value in state.items():
        found = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", name)
        if not found:
            continue
        layer, part, what = found.groups()
        block = f"transformer.resblocks.{layer}"
        if part in _OPEN_CLIP:
            tensors[f"{block}.{_OPEN_CLIP[part]}.{what}"] = value
        elif part == "self_attn.out_proj":
            tensors[f"{block}.attn.out_proj.{what}"] = value
        elif part == "self_attn.q_proj":
            parts = [state[f"encoder.layers.{layer}.self_attn.{letter}_proj.{what}"] for letter in "qkv"]
            tensors[f"{block}.attn.in_proj_{what}"] = torch.cat(parts)
    return {prefix + name: value for name, value in tensors.items()}

"""What is written inside each generated PNG: A1111's `parameters` text and our own JSON."""

import json
from importlib.metadata import version
from typing import Any

from PIL.PngImagePlugin import PngInfo

from sdstudio.schema import GeneratedImage, to_json

_SAMPLERS = {
    "DDIMScheduler": "DDIM",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "EulerDiscreteScheduler": "Euler",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "PNDMScheduler": "PLMS",
    "LMSDiscreteScheduler": "LMS",
    "HeunDiscreteScheduler": "Heun",
}


def png_info(image: GeneratedImage, sampler_class: str, base_hash: str, label: str) -> PngInfo:
    """Text chunks `parameters` (what A1111 and its kin read) and `sdstudio` (a GeneratedImage and versions as JSON)."""
    info = PngInfo()
    info.add_itxt("parameters", parameters_text(image, sampler_class, base_hash, label))
    ours = {**to_json(image), "base_hash": base_hash, "versions": _versions()}
    info.add_itxt("sdstudio", json.dumps(ours, ensure_ascii=False))
    return info


def parameters_text(image: GeneratedImage, sampler_class: str, base_hash: str, label: str) -> str:
    """Prompt, `Negative prompt: …` (unless empty), one line of settings; values with , : or newline are JSON-quoted."""
    values = {
        "Steps": image.settings.steps,
        "Sampler": _SAMPLERS.get(sampler_class, sampler_class.removesuffix("Scheduler")),
        "CFG scale": f"{image.settings.guidance_scale:g}",
        "Seed": image.seed,
        "Size": f"{image.width}x{image.height}",
        "Model hash": base_hash[:10],
        "Model": label,
        **({"Clip skip": image.settings.clip_skip + 1} if image.settings.clip_skip else {}),
        **({"Guidance": image.settings.guidance} if image.settings.guidance != "plain" else {}),
        "RNG": "CPU",
        "Version": f"sdstudio {version('sdstudio')}",
    }
    lines = [image.prompt]
    if image.negative_prompt:
        lines.append(f"Negative prompt: {image.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in values.items()))
    return "\n".join(lines)


def _quote(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ",:\n") else text


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("sdstudio", "diffusers", "torch")}

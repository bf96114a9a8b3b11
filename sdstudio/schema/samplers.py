"""The samplers by the names that people know, and the class of diffusers with the settings that each one is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

OWN = "default"
"""The sampler that a model came with."""


@dataclass(frozen=True)
class Sampler:
    """`label` is AUTOMATIC1111's name, as it stands in PNGs; `scheduler` a class of diffusers made with `settings`."""

    label: str
    scheduler: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _dpm(label: str, algorithm: str = "dpmsolver++", karras: bool = False) -> Sampler:
    settings = {"algorithm_type": algorithm, "solver_order": 2, "use_karras_sigmas": karras}
    return Sampler(label, "DPMSolverMultistepScheduler", settings)


_STRAIGHT = {"use_karras_sigmas": False}
SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "dpm++2m": _dpm("DPM++ 2M"),
        "dpm++2m karras": _dpm("DPM++ 2M Karras", karras=True),
        "dpm++2m sde": _dpm("DPM++ 2M SDE", "sde-dpmsolver++"),
        "dpm++2m sde karras": _dpm("DPM++ 2M SDE Karras", "sde-dpmsolver++", karras=True),
        "euler": Sampler("Euler", "EulerDiscreteScheduler", _STRAIGHT),
        "euler karras": Sampler("Euler Karras", "EulerDiscreteScheduler", {"use_karras_sigmas": True}),
        "euler a": Sampler("Euler a", "EulerAncestralDiscreteScheduler"),
        "heun": Sampler("Heun", "HeunDiscreteScheduler", _STRAIGHT),
        "dpm2": Sampler("DPM2", "KDPM2DiscreteScheduler", _STRAIGHT),
        "dpm2 a": Sampler("DPM2 a", "KDPM2AncestralDiscreteScheduler", _STRAIGHT),
        "unipc": Sampler("UniPC", "UniPCMultistepScheduler", _STRAIGHT),
        "deis": Sampler("DEIS", "DEISMultistepScheduler", _STRAIGHT),
        "ddim": Sampler("DDIM", "DDIMScheduler", {"clip_sample": False}),
        "ddpm": Sampler("DDPM", "DDPMScheduler", {"clip_sample": False}),
        "plms": Sampler("PLMS", "PNDMScheduler", {"skip_prk_steps": True}),
        "lcm": Sampler("LCM", "LCMScheduler"),
    }
)
SAMPLER_NAMES = (OWN, *SAMPLERS)


def sampler_label(name: str, scheduler: str = "") -> str:
    """A1111's name of a sampler; for the model's own that of its `scheduler`, a class of diffusers."""
    if name in SAMPLERS:
        return SAMPLERS[name].label
    known = next((sampler.label for sampler in SAMPLERS.values() if sampler.scheduler == scheduler), "")
    return known or scheduler.removesuffix("Scheduler")

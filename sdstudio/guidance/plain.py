"""Classifier-free guidance as it is: away from the negative prompt, towards the prompt."""

from dataclasses import dataclass
from typing import Any

from sdstudio.prompts import parse
from sdstudio.schema import STRICT, Guidance


@dataclass(frozen=True, kw_only=True)
class Options:
    """Plain guidance has no options of its own."""

    __pydantic_config__ = STRICT


def check(prompt: str, options: Options) -> None:
    """Raise UserError for malformed weights."""
    parse(prompt)


def steer(request: Any, options: Options) -> Any:
    """ε = ε(negative) + s · (ε(prompt) − ε(negative)), which diffusers' pipelines do themselves."""
    from sdstudio.sampling.prompting import prompt_arguments
    from sdstudio.sampling.steering import Steering

    arguments = prompt_arguments(request.pipeline, request.prompts, request.negative_prompts, request.clip_skip)
    return Steering(call={**arguments, "guidance_scale": request.guidance_scale})


RECORD = Guidance(
    name="plain",
    label="Plain",
    summary="Towards the prompt and away from the negative prompt.",
    paper="Ho and Salimans 2022, Classifier-Free Diffusion Guidance, arXiv:2207.12598",
    Options=Options,
    check=check,
    steer=steer,
)

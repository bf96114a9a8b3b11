"""Several prompts at once: 'a cat AND a red hat AND NOT rain', each with its own pull.

Liu et al. 2022, arXiv:2206.01714, equation 11: ε = ε(∅) + Σᵢ wᵢ (ε(cᵢ) − ε(∅)), a negated prompt with −w. Here wᵢ is
the guidance scale times the prompt's own weight, and the negative prompt takes the place of ∅.
"""

from dataclasses import dataclass
from typing import Any

from sdstudio.prompts import compose, parse
from sdstudio.schema import STRICT, Guidance, UserError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Weights are written into the prompt: 'a cat :1.2 AND a hat'."""

    __pydantic_config__ = STRICT


def check(prompt: str, options: Options) -> None:
    """Raise UserError for malformed weights, and where AND has no prompt on one side."""
    for part in compose(prompt):
        parse(part.prompt)


def steer(request: Any, options: Options) -> Any:
    """The U-Net looks at every prompt of a picture in one batch, and answers with their weighted sum."""
    import torch

    from sdstudio.sampling.prompting import prompt_arguments
    from sdstudio.sampling.steering import Steering

    composed = [compose(prompt) for prompt in request.prompts]
    if request.guidance_scale <= 1 and any(len(parts) > 1 for parts in composed):
        raise UserError("AND needs a guidance scale above 1: raise it, or draw the prompts one by one.")
    owners = torch.tensor([place for place, parts in enumerate(composed) for _ in parts])
    weights = torch.tensor([part.weight for parts in composed for part in parts])
    arguments = prompt_arguments(
        request.pipeline,
        [part.prompt for parts in composed for part in parts],
        request.negative_prompts,
        request.clip_skip,
    )
    everything = {name: arguments[name] for name in ("prompt_embeds", "pooled_prompt_embeds") if name in arguments}
    first = [list(owners).index(place) for place in range(len(composed))]
    call = {**arguments, **{name: value[first] for name, value in everything.items()}}
    steering = Steering(call={**call, "guidance_scale": request.guidance_scale})
    alone = torch.tensor([[part.weight for part in parts] == [1.0] for parts in composed])[:, None, None, None]
    if bool(alone.all()):
        return steering

    def compose_unet(original: Any) -> Any:
        def forward(sample: Any, timestep: Any, encoder_hidden_states: Any, **rest: Any) -> Any:
            count = len(composed)
            index = owners.to(sample.device)
            negative, drawn = sample[:count], sample[count:]
            text = torch.cat([encoder_hidden_states[:count], everything["prompt_embeds"]])
            added = rest.pop("added_cond_kwargs", None)
            if added:
                pooled = torch.cat([added["text_embeds"][:count], everything["pooled_prompt_embeds"]])
                sizes = torch.cat([added["time_ids"][:count], added["time_ids"][count:][index]])
                added = {**added, "text_embeds": pooled, "time_ids": sizes}
            output = original(torch.cat([negative, drawn[index]]), timestep, text, added_cond_kwargs=added, **rest)[0]
            base, predictions = output[:count], output[count:]
            pulls = (predictions - base[index]) * weights.to(output)[:, None, None, None]
            sums = base.index_add(0, index, pulls)
            return (torch.cat([base, torch.where(alone.to(output.device), predictions[first], sums)]),)

        return forward

    return Steering(call=steering.call, unet=compose_unet)


RECORD = Guidance(
    name="composable",
    label="Composable (AND, AND NOT)",
    summary="Several prompts joined by AND or AND NOT steer one picture, each with its own weight.",
    paper="Liu et al. 2022, Compositional Visual Generation with Composable Diffusion Models, arXiv:2206.01714",
    Options=Options,
    check=check,
    steer=steer,
)

"""Words that must be seen: the latents are moved until the U-Net looks somewhere for each of them.

Chefer et al. 2023, arXiv:2301.13826. Algorithm 1: before a step, z ← z − α_t ∇L, L = max over words of 1 − the
strongest place of the word's smoothed attention. α_t = strength · √(from 1 down to ½ over the steps), the refinement
up to 0.05, 0.5 and 0.8 at 0, 20% and 40% of the steps, and the end at half of them are those of the paper's code.
"""

import re
from dataclasses import dataclass
from typing import Any

from sdstudio.prompts import compose, parse, plain
from sdstudio.schema import STRICT, Guidance, UserError, option

THRESHOLDS = {0.0: 0.05, 0.2: 0.5, 0.4: 0.8}
UNTIL = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which words, and how hard they are called."""

    __pydantic_config__ = STRICT
    words: str = option("", "The words of the prompt that the picture must show, separated by commas.")
    strength: float = option(20.0, "How far the picture is moved towards them; 0 leaves it.", low=0.0, high=200.0)
    refinements: int = option(
        20, "At most so many moves at a step where a word is still unseen.", low=0, high=100, advanced=True
    )
    resolution: int = option(
        0, "Side of the attention maps; 0 takes the largest of at most 16.", low=0, high=128, advanced=True
    )


def check(prompt: str, options: Options) -> None:
    """Raise UserError where no word is chosen, or a chosen one is not in the prompt."""
    parse(prompt)
    if len(compose(prompt)) > 1:
        raise UserError("Attend-and-Excite reads one prompt: take AND out, or choose Composable.")
    words = chosen(options)
    if not words:
        raise UserError("No word is chosen: name the words of the prompt that the picture must show.")
    text = plain(prompt)
    for word in words:
        if not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE):
            raise UserError(f"The word {word!r} is not in the prompt {text!r}: choose words that it has.")


def chosen(options: Options) -> list[str]:
    """The words, in their order, each once."""
    return list(dict.fromkeys(word.strip() for word in options.words.split(",") if word.strip()))


def steer(request: Any, options: Options) -> Any:
    """Move the latents before each of the first half of the steps."""
    import copy
    from dataclasses import replace

    import torch

    from sdstudio.guidance import plain as plain_guidance
    from sdstudio.sampling.attention import Recorder, map_size, recording, smoothed

    steering = plain_guidance.steer(request, plain_guidance.Options())
    if not options.strength:
        return steering
    pipeline, unet = request.pipeline, request.pipeline.unet
    places = [word_places(pipeline, prompt, chosen(options)) for prompt in request.prompts]
    recorder = Recorder(*map_size(unet, *request.latents.shape[-2:], options.resolution))
    text = steering.call["prompt_embeds"]
    added = conditions(pipeline, steering.call, request.latents)
    seen: list[dict[str, torch.Tensor]] = []

    def losses(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """L of each picture, (N,); keeps the words' maps in `seen`."""
        scaled = copy.deepcopy(pipeline.scheduler).scale_model_input(latents, timestep)
        with recording(unet, recorder):
            unet(scaled, timestep, encoder_hidden_states=text, added_cond_kwargs=added)
        maps = recorder.mean(len(latents))[..., 1:-1]
        maps = smoothed((100 * maps.float()).softmax(-1).permute(0, 3, 1, 2))
        words = [
            {word: torch.stack([maps[row, place - 1] for place in where]).mean(0) for word, where in found.items()}
            for row, found in enumerate(places)
        ]
        seen[:] = [{word: found.detach().cpu() for word, found in row.items()} for row in words]
        return torch.stack([torch.stack([1 - found.max() for found in row.values()]).max() for row in words])

    def moved(latents: torch.Tensor, timestep: torch.Tensor, size: float, goal: float) -> tuple[torch.Tensor, bool]:
        """Latents moved once where a word's strongest place is below `goal`, and whether there was such a word."""
        with torch.enable_grad():
            wanted = latents.detach().requires_grad_(True)
            loss = losses(wanted, timestep)
            (gradient,) = torch.autograd.grad(loss.sum(), wanted)
        unseen = loss.detach() > 1 - goal
        return latents - size * gradient * unseen.to(latents)[:, None, None, None], bool(unseen.any())

    def before(step: int, timestep: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        if step >= UNTIL * request.steps:
            return latents
        size = options.strength * (1 - 0.5 * step / max(request.steps - 1, 1)) ** 0.5
        goal = goals.get(step)
        for _ in range(options.refinements if goal else 0):
            latents, unseen = moved(latents, timestep, size, goal)
            if not unseen:
                break
        return moved(latents, timestep, size, 1.0)[0].detach()

    goals = {round(share * request.steps): goal for share, goal in THRESHOLDS.items()}
    return replace(steering, before=before, maps=lambda: seen)


def word_places(pipeline: Any, prompt: str, words: list[str]) -> dict[str, list[int]]:
    """Word -> its places among the tokens of the prompt's first window, the begin token counted as 0."""
    from sdstudio.sampling.prompting import chunks

    ids = chunks(pipeline, pipeline.tokenizer, prompt)[0].ids
    found = {}
    for word in words:
        own = pipeline.tokenizer(word, add_special_tokens=False).input_ids
        starts = [start for start in range(1, len(ids)) if ids[start : start + len(own)] == own]
        if not starts:
            raise UserError(f"The word {word!r} is not among the first words that the model reads: move it forward.")
        found[word] = list(range(starts[0], starts[0] + len(own)))
    return found


def conditions(pipeline: Any, call: dict[str, Any], latents: Any) -> dict[str, Any] | None:
    """What Stable Diffusion XL is told beside the text; None for the others."""
    if "pooled_prompt_embeds" not in call:
        return None
    import torch

    factor = pipeline.vae_scale_factor
    height, width = (side * factor for side in latents.shape[-2:])
    pooled = call["pooled_prompt_embeds"]
    ids = torch.tensor([[height, width, 0, 0, height, width]] * len(pooled)).to(pooled)
    return {"text_embeds": pooled, "time_ids": ids}


RECORD = Guidance(
    name="attend_and_excite",
    label="Attend-and-Excite",
    summary="Moves the forming picture until each chosen word is looked for somewhere in it.",
    paper="Chefer et al. 2023, Attend-and-Excite, arXiv:2301.13826",
    Options=Options,
    check=check,
    steer=steer,
)

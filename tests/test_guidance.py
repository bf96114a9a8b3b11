"""Prompts with syntax and the ways to steer, against plain calculations: pytest tests/test_guidance.py"""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from tiny_models import KINDS, build, draw_from

from sdstudio import registry
from sdstudio.engine.pipeline import family_of
from sdstudio.engine.sampling import sample
from sdstudio.guidance import attend_and_excite, composable
from sdstudio.models import STARTER
from sdstudio.pictures.attention_maps import read_maps
from sdstudio.prompts import escape, plain
from sdstudio.sampling.prompting import chunks, embeddings, prompt_arguments, tokens_used
from sdstudio.sampling.steering import Request, noise
from sdstudio.schema import ModelRef, SampleSettings, UserError
from sdstudio.workspace import Workspace

SETTINGS = SampleSettings(steps=3, guidance_scale=4.0, negative_prompt="bad")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
    return {kind: root / kind for kind in KINDS}


def load(path: Path):
    pipeline = family_of(path).load(path)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pixels(pipeline, prompt: str, settings: SampleSettings = SETTINGS) -> numpy.ndarray:
    ((picture, _),) = sample(pipeline, [prompt], [5], settings, 16, 16)
    return numpy.asarray(picture)


def request(pipeline, prompts: list[str], scale: float = 4.0) -> Request:
    latents = noise(pipeline, [torch.Generator().manual_seed(index) for index in range(len(prompts))], 16, 16)
    return Request(
        pipeline=pipeline,
        prompts=prompts,
        negative_prompts=["bad"] * len(prompts),
        guidance_scale=scale,
        steps=10,
        latents=latents,
    )


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_those_of_diffusers_to_the_bit(kind: str, tiny: dict[str, Path]) -> None:
    pipeline, prompts = load(tiny[kind]), ["a toy", "a red hat"]
    ours = prompt_arguments(pipeline, prompts, ["bad", "eyes"])
    if kind == "sdxl":
        theirs = pipeline.encode_prompt(prompts, device="cpu", negative_prompt=["bad", "eyes"])
        names = "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"
    else:
        theirs = pipeline.encode_prompt(prompts, "cpu", 1, True, negative_prompt=["bad", "eyes"])
        names = "prompt_embeds", "negative_prompt_embeds"
    for name, expected in zip(names, theirs, strict=True):
        assert torch.equal(ours[name], expected), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_prompt_is_read_in_windows_and_none_of_it_is_lost(kind: str, tiny: dict[str, Path]) -> None:
    pipeline = load(tiny[kind])
    room = pipeline.tokenizer.model_max_length - 2
    words = "a " * (room + 5)
    assert [len(chunk.ids) for chunk in chunks(pipeline, pipeline.tokenizer, words)] == [room + 2] * 2
    found = prompt_arguments(pipeline, [words], [""])
    assert found["prompt_embeds"].shape[1] == found["negative_prompt_embeds"].shape[1] == 2 * (room + 2)
    assert tokens_used(pipeline, words) == (room + 5, room + 5)
    assert tokens_used(pipeline, "a " * 1000) == (1000, 8 * room)
    assert (pixels(pipeline, words) != pixels(pipeline, words + "hat")).any()


def test_break_begins_a_window_of_its_own(tiny: dict[str, Path]) -> None:
    pipeline = load(tiny["sd1"])
    joined, _ = embeddings(pipeline, ["a toy BREAK a hat"], 0, 2)
    first, second = (embeddings(pipeline, [text], 0, 1)[0] for text in ("a toy", "a hat"))
    assert torch.equal(joined, torch.cat([first, second], dim=1))


def test_weights_scale_their_own_tokens_and_keep_the_norm(tiny: dict[str, Path]) -> None:
    pipeline = load(tiny["sd1"])
    even, heavy = (embeddings(pipeline, [text], 0, 1)[0][0] for text in ("a toy", "a (toy:1.5)"))
    ids = chunks(pipeline, pipeline.tokenizer, "a toy")[0].ids
    own = range(2, ids.index(pipeline.tokenizer.eos_token_id))
    factor = torch.tensor([1.5 if place in own else 1.0 for place in range(len(ids))])[:, None]
    assert torch.allclose(heavy, even * factor * even.norm() / (even * factor).norm(), atol=1e-6)
    assert torch.equal(embeddings(pipeline, ["a (toy:1)"], 0, 1)[0][0], even)


def test_skipped_layers_are_left_out_before_the_last_normalisation(tiny: dict[str, Path]) -> None:
    pipeline = load(tiny["sd1"])
    ids = torch.tensor([chunks(pipeline, pipeline.tokenizer, "a toy")[0].ids])
    states = pipeline.text_encoder(ids, output_hidden_states=True).hidden_states
    body = getattr(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    assert torch.equal(embeddings(pipeline, ["a toy"], 1, 1)[0], body.final_layer_norm(states[-2]))


def test_a_picture_does_not_depend_on_longer_prompts_beside_it(tiny: dict[str, Path], tmp_path: Path) -> None:
    ws, model = Workspace(tmp_path), ModelRef(base_model=str(tiny["sd1"]))
    prompts = ["a toy", "a " * 40, "a toy AND a hat"]
    settings = SampleSettings(steps=2, guidance="composable")
    together = draw_from(ws, model, prompts, [1, 2, 3], settings, tmp_path / "together")
    for index, prompt in enumerate(prompts):
        (alone,) = draw_from(ws, model, [prompt], [index + 1], settings, tmp_path / "alone")
        pictures = [
            numpy.asarray(Image.open(folder / file), dtype=int)
            for folder, file in ((tmp_path / "together", together[index].file), (tmp_path / "alone", alone.file))
        ]
        assert abs(pictures[0] - pictures[1]).max() <= 1


@pytest.mark.parametrize("caption", ["a cat (sitting", "[x] and (y:2)", r"back\slash", "a BREAK", "rock AND roll"])
def test_an_escaped_caption_means_its_words(caption: str) -> None:
    assert plain(escape(caption)).lower() == caption.lower()


# ---------------------------------------------------------------- every guidance


@pytest.mark.parametrize("kind", KINDS)
def test_one_prompt_composed_is_plain_to_the_byte(kind: str, tiny: dict[str, Path]) -> None:
    pipeline = load(tiny[kind])
    settings = SampleSettings(**{**vars(SETTINGS), "guidance": "composable"})
    assert (pixels(pipeline, "a toy") == pixels(pipeline, "a toy", settings)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_exciting_without_strength_is_plain_to_the_byte(kind: str, tiny: dict[str, Path]) -> None:
    pipeline, options = load(tiny[kind]), {"words": "toy", "strength": 0.0}
    settings = SampleSettings(**{**vars(SETTINGS), "guidance": "attend_and_excite", "guidance_options": options})
    assert (pixels(pipeline, "a toy") == pixels(pipeline, "a toy", settings)).all()


def test_every_guidance_says_what_it_is() -> None:
    records = registry.load("sdstudio.guidance")
    assert {"plain", "composable", "attend_and_excite"} == set(records)
    for name, record in records.items():
        assert record.name == name and record.label and record.summary.endswith(".") and "arXiv" in record.paper


# ---------------------------------------------------------------- composable


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_composed_predictions_follow_equation_11(kind: str, tiny: dict[str, Path]) -> None:
    pipeline = load(tiny[kind])
    asked = request(pipeline, ["a toy :1.5 AND NOT a hat :0.5", "a red hat"])
    steering = composable.steer(asked, composable.Options())
    added = [attend_and_excite.conditions(pipeline, part, asked.latents) for part in _halves(steering.call)]
    both = {name: torch.cat([half[name] for half in added]) for name in added[0]} if added[0] else None
    text = torch.cat([steering.call["negative_prompt_embeds"], steering.call["prompt_embeds"]])
    timestep = torch.tensor(500)
    unet = pipeline.unet.forward
    (found,) = steering.unet(unet)(
        torch.cat([asked.latents] * 2), timestep, encoder_hidden_states=text, added_cond_kwargs=both, return_dict=False
    )

    def alone(prompt: str, row: int) -> torch.Tensor:
        arguments = prompt_arguments(pipeline, [prompt], ["bad"])
        return unet(
            asked.latents[row : row + 1],
            timestep,
            arguments["prompt_embeds"],
            added_cond_kwargs=attend_and_excite.conditions(pipeline, arguments, asked.latents),
            return_dict=False,
        )[0]

    empty = [alone("bad", row) for row in (0, 1)]
    first = empty[0] + 1.5 * (alone("a toy", 0) - empty[0]) - 0.5 * (alone("a hat", 0) - empty[0])
    for row, expected in enumerate([*empty, first, alone("a red hat", 1)]):
        assert torch.allclose(found[row], expected[0], atol=1e-5), row


def _halves(call):
    negative = {name.removeprefix("negative_"): value for name, value in call.items() if name.startswith("negative_")}
    return negative, call


def test_and_needs_a_guidance_scale_above_1(tiny: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="guidance scale above 1"):
        composable.steer(request(load(tiny["sd1"]), ["a AND b"], scale=1.0), composable.Options())


# ---------------------------------------------------------------- Attend-and-Excite


def reference_loss(pipeline, latents: torch.Tensor, timestep: torch.Tensor, prompt: str, place: int) -> torch.Tensor:
    """1 − the strongest place of one token, from queries and keys caught by hooks: the paper's loss, written out."""
    caught: dict[str, dict[str, torch.Tensor]] = {}
    hooks = []
    for name, module in pipeline.unet.named_modules():
        for part in ("to_q", "to_k"):
            if name.endswith(f"attn2.{part}"):
                owner = name.removesuffix(f".{part}")
                keep = caught.setdefault(owner, {})
                hooks.append(
                    module.register_forward_hook(lambda _, __, out, keep=keep, part=part: keep.update({part: out}))
                )
    arguments = prompt_arguments(pipeline, [prompt], [""])
    pipeline.unet(latents, timestep, encoder_hidden_states=arguments["prompt_embeds"])
    for hook in hooks:
        hook.remove()
    maps = []
    for owner, found in caught.items():
        attention = pipeline.unet.get_submodule(owner)
        queries, keys = (found[part].unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in ("to_q", "to_k"))
        if queries.shape[2] == 64:
            maps.append(torch.softmax(queries @ keys.transpose(-1, -2) * attention.scale, -1).mean(1))
    mean = torch.stack(maps).mean(0)[0, :, 1:-1]
    image = torch.softmax(100 * mean, -1)[:, place - 1].reshape(1, 1, 8, 8)
    bell = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / (2 * 0.5**2))
    kernel = torch.outer(bell, bell) / torch.outer(bell, bell).sum()
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="reflect")
    return 1 - torch.nn.functional.conv2d(padded, kernel[None, None]).max()


@pytest.mark.parametrize("kind", ["sd1", "sd2"])
def test_exciting_moves_the_latents_down_the_papers_gradient(kind: str, tiny: dict[str, Path]) -> None:
    pipeline = load(tiny[kind])
    pipeline.scheduler.set_timesteps(10)
    asked, timestep = request(pipeline, ["a toy"]), torch.tensor(900)
    options = attend_and_excite.Options(words="a", strength=7.0, refinements=0)
    steering = attend_and_excite.steer(asked, options)
    found = steering.before(1, timestep, asked.latents)

    wanted = asked.latents.clone().requires_grad_(True)
    loss = reference_loss(pipeline, wanted, timestep, "a toy", place=1)
    (gradient,) = torch.autograd.grad(loss, wanted)
    expected = asked.latents - 7.0 * (1 - 0.5 / 9) ** 0.5 * gradient
    assert gradient.abs().max() > 0
    assert torch.allclose(found, expected, atol=1e-6)
    assert steering.before(5, timestep, asked.latents) is asked.latents
    (seen,) = steering.maps()
    assert seen["a"].shape == (8, 8) and float(1 - seen["a"].max()) == pytest.approx(loss.item(), abs=1e-5)


def test_where_each_word_was_looked_for_is_kept_beside_the_picture(tiny: dict[str, Path], tmp_path: Path) -> None:
    options = {"words": "cat, hat", "refinements": 0}
    settings = SampleSettings(steps=2, guidance="attend_and_excite", guidance_options=options)
    model = ModelRef(base_model=str(tiny["sd1"]))
    images = draw_from(Workspace(tmp_path), model, ["a cat in a hat"] * 2, [1, 2], settings, tmp_path / "out")
    for image in images:
        maps = read_maps(tmp_path / "out" / image.file, ["cat", "hat"])
        assert list(maps) == ["cat", "hat"] and maps["cat"].size == maps["hat"].size
        assert all(square.getextrema()[1] == 255 for square in maps.values())
    (plain,) = draw_from(Workspace(tmp_path), model, ["a cat"], [1], SampleSettings(steps=1), tmp_path / "out")
    assert read_maps(tmp_path / "out" / plain.file, ["cat"]) == {}


def test_exciting_makes_the_starter_look_for_the_word() -> None:
    """On the bundled model: after the moves of the first step the word's strongest place is stronger than before."""
    pipeline = load(STARTER / "sd")
    pipeline.scheduler.set_timesteps(10)
    latents = noise(pipeline, [torch.Generator().manual_seed(3)], 64, 64)
    asked = Request(
        pipeline=pipeline,
        prompts=["a woman with a balloon"],
        negative_prompts=[""],
        guidance_scale=3.0,
        steps=10,
        latents=latents,
    )
    steering = attend_and_excite.steer(asked, attend_and_excite.Options(words="balloon", refinements=0))
    timestep = pipeline.scheduler.timesteps[0]
    strengths = []
    for _ in range(4):
        latents = steering.before(1, timestep, latents)
        strengths.append(float(steering.maps()[0]["balloon"].max()))
    assert strengths[-1] > strengths[0]


@pytest.mark.parametrize(
    ("prompt", "words", "sentence"),
    [
        ("a cat", "", "No word is chosen"),
        ("a cat", "dog", "'dog' is not in the prompt"),
        ("a caterpillar", "cat", "'cat' is not in the prompt"),
        ("a cat AND a dog", "cat", "take AND out"),
    ],
)
def test_words_that_cannot_be_excited_are_refused(prompt: str, words: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        attend_and_excite.check(prompt, attend_and_excite.Options(words=words))

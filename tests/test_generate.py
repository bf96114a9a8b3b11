"""Drawing: the stock pipeline's pictures, the same alone and in a batch, every setting inside, nothing drawn twice."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from tiny_models import KINDS, SIDE, build, context, draw_from

from sdstudio.collection import mark
from sdstudio.engine import drawing
from sdstudio.engine.generate import run_generate
from sdstudio.engine.pipeline import family_of
from sdstudio.jobs import empty_trash
from sdstudio.jobs.context import STOP_FILE
from sdstudio.models import hash_base_model
from sdstudio.pictures.image_folder import read_images
from sdstudio.pictures.png_text import parameters_text
from sdstudio.schema import GenerateConfig, GeneratedImage, ModelRef, SampleSettings, UserError, from_json
from sdstudio.workspace import Workspace

QUICK = SampleSettings(steps=3, negative_prompt="bad, eyes")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
    return root


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def pixels(folder: Path, image: GeneratedImage) -> numpy.ndarray:
    with Image.open(folder / image.file) as picture:
        return numpy.asarray(picture, dtype=int)


@pytest.mark.parametrize("negative", ["", "bad, eyes"])
@pytest.mark.parametrize("kind", KINDS)
def test_our_picture_is_the_stock_pipelines_to_the_byte(kind: str, negative: str, tiny: Path, ws: Workspace) -> None:
    settings = SampleSettings(steps=4, guidance_scale=5.0, negative_prompt=negative)
    image = draw_from(ws, ModelRef(base_model=str(tiny / kind)), ["a toy"], [7], settings, ws.root / "ours")[0]
    stock = family_of(tiny / kind).load(tiny / kind)
    expected = stock(
        "a toy",
        negative_prompt=negative or None,
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    assert expected.size == (SIDE, SIDE)
    assert (pixels(ws.root / "ours", image) == numpy.asarray(expected)).all()


@pytest.mark.parametrize("sampler", ["default", "dpm++2m", "euler a"])
def test_a_batch_gives_the_pictures_of_one_by_one(sampler: str, tiny: Path, ws: Workspace) -> None:
    model, prompts, seeds = ModelRef(base_model=str(tiny / "sd1")), ["a toy", "a cat", "x"], [3, 4, 5]
    batch = draw_from(
        ws, model, prompts, seeds, SampleSettings(steps=3, scheduler=sampler, batch_size=3), ws.root / "batch"
    )
    alone = draw_from(
        ws, model, prompts, seeds, SampleSettings(steps=3, scheduler=sampler, batch_size=1), ws.root / "alone"
    )
    assert [image.file for image in batch] == [image.file for image in alone]
    for one, other in zip(batch, alone, strict=True):
        assert abs(pixels(ws.root / "batch", one) - pixels(ws.root / "alone", other)).max() <= 1
    assert not (pixels(ws.root / "alone", alone[0]) == pixels(ws.root / "alone", alone[1])).all()


def test_the_job_pairs_every_prompt_with_the_same_seeds_for_every_model(tiny: Path, ws: Workspace) -> None:
    models = [ModelRef(base_model=str(tiny / kind), label=kind) for kind in ("sd1", "sd2")]
    ctx = context(ws, "images", "job")
    run_generate(
        GenerateConfig(
            models=models, prompts=["a toy", ""], count=2, settings=SampleSettings(steps=2, seed=11, batch_size=3)
        ),
        ctx,
    )
    images = read_images(ctx.folder)
    assert [(image.model.label, image.prompt, image.seed) for image in images] == [
        (kind, prompt, seed) for kind in ("sd1", "sd2") for prompt in ("a toy", "") for seed in (11, 12)
    ]
    assert len({image.file for image in images}) == 8
    assert json.loads((ctx.folder / "progress.json").read_text())["done"] == 8


def test_every_setting_is_inside_the_png(tiny: Path, ws: Workspace) -> None:
    model = ModelRef(base_model=str(tiny / "sd1"))
    image = draw_from(ws, model, ["a toy: red, big\nhat\u2028"], [5], QUICK, ws.root / "out")[0]
    with Image.open(ws.root / "out" / image.file) as picture:
        text, ours = picture.text["parameters"], json.loads(picture.text["sdstudio"])
    base_hash = hash_base_model(ws, tiny / "sd1")
    lines = text.split("\n")
    assert lines[:3] == ["a toy: red, big", "hat\u2028", "Negative prompt: bad, eyes"]
    assert lines[3].startswith("Steps: 3, Sampler: DDIM, CFG scale: 3, Seed: 5, Size: 16x16, Model hash: ")
    assert f"Model hash: {base_hash[:10]}, Model: sd1, RNG: CPU, Version: sdstudio " in lines[3]
    assert ours.pop("base_hash") == base_hash and ours.pop("versions")["diffusers"]
    assert from_json(GeneratedImage, ours) == image == read_images(ws.root / "out")[0]


def test_values_with_separators_are_quoted_and_no_empty_negative_prompt_is_written() -> None:
    image = GeneratedImage(
        file="x.png",
        prompt="a toy",
        negative_prompt="",
        seed=1,
        model=ModelRef(),
        checkpoint_hash="",
        settings=SampleSettings(),
        width=64,
        height=64,
    )
    text = parameters_text(image, "DPMSolverMultistepScheduler", "0123456789abcdef", 'base: "one", step 5')
    assert text.startswith("a toy\nSteps: 20, Sampler: DPM++ 2M, ")
    assert 'Model hash: 0123456789, Model: "base: \\"one\\", step 5", ' in text


def test_what_is_there_is_not_drawn_again(tiny: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = ModelRef(base_model=str(tiny / "sd1")), ws.root / "out"
    first = draw_from(ws, model, ["a toy", "a cat"], [1, 2], QUICK, out)
    (out / first[1].file).unlink()
    with (out / "images.jsonl").open("a") as file:
        file.write('{"file": "torn')
    sampled: list[str] = []
    sample = drawing.sample

    def counted(pipeline: object, prompts: list[str], *rest: object) -> list[object]:
        sampled.extend(prompts)
        return sample(pipeline, prompts, *rest)

    monkeypatch.setattr(drawing, "sample", counted)
    told: list[GeneratedImage] = []
    again = draw_from(ws, model, ["a toy", "a cat", "a cat"], [1, 2, 2], QUICK, out, on_image=told.append)
    assert sampled == ["a cat"]
    assert again == [first[0], first[1], first[1]] and len(told) == 2
    assert {image.file for image in read_images(out)} == {image.file for image in first}


def test_a_stop_ends_within_a_step_and_keeps_what_is_finished(tiny: Path, ws: Workspace) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 6  # before the batch and after each of its 3 steps: in the middle of the second

    settings = SampleSettings(steps=3, batch_size=1)
    model = ModelRef(base_model=str(tiny / "sd1"))
    images = draw_from(ws, model, ["a", "b", "c"], [1, 2, 3], settings, ws.root / "out", should_stop=should_stop)
    assert [image.prompt for image in images] == ["a"] == [image.prompt for image in read_images(ws.root / "out")]
    assert len(asked) <= 9


def test_a_stopped_job_goes_on_with_the_same_random_seed(tiny: Path, ws: Workspace) -> None:
    config = GenerateConfig(
        models=[ModelRef(base_model=str(tiny / "sd1"))],
        prompts=["a toy"],
        count=2,
        settings=SampleSettings(steps=2, seed=-1),
    )
    ctx = context(ws, "images", "job")
    (ctx.folder / STOP_FILE).touch()
    run_generate(config, ctx)
    first = json.loads((ctx.folder / "seed.json").read_text())
    assert read_images(ctx.folder) == []
    (ctx.folder / STOP_FILE).unlink()
    run_generate(config, ctx)
    assert [image.seed for image in read_images(ctx.folder)] == [first, first + 1]


def test_a_job_that_goes_on_does_not_draw_what_was_deleted_meanwhile(tiny: Path, ws: Workspace) -> None:
    config = GenerateConfig(
        models=[ModelRef(base_model=str(tiny / "sd1"))],
        prompts=["a", "b", "c"],
        settings=SampleSettings(steps=1, batch_size=1),
    )
    ctx = context(ws, "images", "job")
    run_generate(replace(config, prompts=["a", "b"]), ctx)
    unwanted = read_images(ctx.folder)[0].file
    mark(ws, f"images/job/{unwanted}", "deleted")
    for _ in range(2):
        assert run_generate(config, ctx)
        assert [image.prompt for image in read_images(ctx.folder)] == ["b", "c"]
        assert json.loads((ctx.folder / "progress.json").read_text())["done"] == 3
    empty_trash(ws)
    assert run_generate(config, ctx) and not (ctx.folder / unwanted).exists()


def test_another_size_is_drawn_and_a_wrong_one_refused(tiny: Path, ws: Workspace) -> None:
    model, out = ModelRef(base_model=str(tiny / "sd1")), ws.root / "out"
    image = draw_from(ws, model, ["a toy"], [1], SampleSettings(steps=1, width=32), out)[0]
    assert (image.width, image.height) == (32, SIDE) and pixels(out, image).shape == (SIDE, 32, 3)
    with pytest.raises(UserError, match="width 17 does not fit"):
        draw_from(ws, model, ["a toy"], [1], SampleSettings(width=17), out)


def test_a_prompt_that_is_too_long_is_said_beside_the_picture_and_once_in_the_log(
    tiny: Path, ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    ctx = context(ws, "images", "job")
    model, settings = ModelRef(base_model=str(tiny / "sd1")), SampleSettings(steps=1)
    run_generate(GenerateConfig(models=[model], prompts=["a " * 200 + "hat", "a"], count=2, settings=settings), ctx)
    images = read_images(ctx.folder)
    assert [len(image.flags) for image in images] == [1, 1, 0, 0]
    assert re.fullmatch(r"prompt too long: its last \d+ tokens are not read", images[0].flags[0])
    assert capsys.readouterr().out.count(images[0].flags[0]) == 1
    settings = SampleSettings(steps=1, negative_prompt="a " * 200)
    image = draw_from(ws, model, ["a"], [1], settings, ctx.folder)[0]
    assert [flag.partition(":")[0] for flag in image.flags] == ["negative prompt too long"]


def test_a_picture_that_the_safety_checker_blackened_is_flagged(
    tiny: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blacken(self: StableDiffusionPipeline, image: torch.Tensor, *_: object) -> tuple[torch.Tensor, list[bool]]:
        return image, [index == 1 for index in range(len(image))]

    monkeypatch.setattr(StableDiffusionPipeline, "run_safety_checker", blacken)
    model = ModelRef(base_model=str(tiny / "sd1"))
    images = draw_from(ws, model, ["a", "b"], [4, 5], SampleSettings(steps=1), ws.root / "out")
    assert [image.flags for image in images] == [(), ("blackened by the model's own safety checker (seed 5)",)]
    assert read_images(ws.root / "out") == images


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (GenerateConfig(), "no prompt"),
        (GenerateConfig(prompts=["x", "y", "x"]), "'x' is there 2 times: give each prompt once"),
        (GenerateConfig(models=[ModelRef(base_model="nowhere")], prompts=["x"]), "unknown"),
        (GenerateConfig(models=[ModelRef(checkpoint="gone")], prompts=["x"]), "no checkpoint 'gone'"),
    ],
)
def test_wrong_input_is_one_sentence_before_anything_is_drawn(
    config: GenerateConfig, message: str, ws: Workspace
) -> None:
    ctx = context(ws, "images", "job")
    with pytest.raises(UserError, match=message):
        run_generate(config, ctx)
    assert list(ctx.folder.iterdir()) == []


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: no memory")])
def test_where_memory_is_short_smaller_batches_are_drawn_and_said(
    error: Exception, tiny: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    sample = drawing.sample

    def short(pipeline: object, prompts: list[str], *rest: object) -> list[object]:
        sizes.append(len(prompts))
        if len(prompts) > most:
            raise error
        return sample(pipeline, prompts, *rest)

    monkeypatch.setattr(drawing, "sample", short)
    most, prompts, seeds = 2, ["a toy"] * 7, list(range(7))
    model, settings = ModelRef(base_model=str(tiny / "sd1")), SampleSettings(steps=1, batch_size=6)
    images = draw_from(ws, model, prompts, seeds, settings, ws.root / "out")
    assert [image.seed for image in images] == seeds and sizes == [6, 3, 1, 1, 1, 1, 1, 1, 1]
    assert {image.flags for image in images} == {("drawn 1 at a time, for the memory is too small for more",)}
    most = 0
    with pytest.raises(UserError, match="too small for one picture"):
        draw_from(ws, model, ["a cat"], [1], settings, ws.root / "out")
    assert len(read_images(ws.root / "out")) == 7


def test_another_error_is_no_lack_of_memory(tiny: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*rest: object) -> list[object]:
        raise RuntimeError("a shape does not fit")

    monkeypatch.setattr(drawing, "sample", broken)
    with pytest.raises(RuntimeError, match="a shape"):
        draw_from(ws, ModelRef(base_model=str(tiny / "sd1")), ["a"], [1], SampleSettings(steps=1), ws.root / "out")

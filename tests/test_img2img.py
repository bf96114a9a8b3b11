"""Beginning from a picture: diffusers' own image to image and inpainting, to the bit.   pytest tests/test_img2img.py"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy
import pytest
import torch
from PIL import Image
from tiny_models import KINDS, SIDE, build, context

from sdstudio.engine.generate import run_generate
from sdstudio.engine.pipeline import family_of
from sdstudio.pictures import start_pictures
from sdstudio.pictures.image_folder import read_images
from sdstudio.sampling.start import beginning
from sdstudio.schema import GenerateConfig, ModelRef, SampleSettings, StartPicture, UserError
from sdstudio.workspace import Workspace

PROMPTS, SEEDS = ["a toy", "a cat"], [3, 4]
CLASSES = {"sd1": "StableDiffusion", "sd2": "StableDiffusion", "sdxl": "StableDiffusionXL"}

UNUSED = torch.zeros(len(SEEDS), 4, SIDE // 2, SIDE // 2)
"""Spares diffusers the encoding of the masked picture, which only a U-Net made for inpainting takes, and with it a draw
from each picture's generator that samplers which add noise would otherwise find moved on."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
    return root


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def picture(side: int = SIDE, seed: int = 0, height: int = 0) -> Image.Image:
    pixels = numpy.random.default_rng(seed).integers(0, 256, (height or side, side, 3), dtype=numpy.uint8)
    return Image.fromarray(pixels)


def half_mask(side: int = SIDE) -> Image.Image:
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (side // 2, 0, side, side))
    return mask


def png(image: Image.Image) -> bytes:
    memory = io.BytesIO()
    image.save(memory, "PNG")
    return memory.getvalue()


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def ours(pipeline: Any, mask: Image.Image | None, strength: float, steps: int) -> torch.Tensor:
    seeded = generators()
    with torch.no_grad(), beginning(pipeline, seeded, picture(), mask, strength, steps) as (latents, keep):
        output: torch.Tensor = pipeline(
            PROMPTS,
            num_inference_steps=steps,
            guidance_scale=5.0,
            width=SIDE,
            height=SIDE,
            latents=latents,
            generator=seeded,
            output_type="latent",
            callback_on_step_end=lambda pipe, step, time, tensors: {"latents": keep(step, tensors["latents"])},
        ).images
    return output


def theirs(pipeline: Any, kind: str, mask: Image.Image | None, strength: float, steps: int) -> torch.Tensor:
    stock: Any = getattr(diffusers, f"{CLASSES[kind]}{'Inpaint' if mask else 'Img2Img'}Pipeline")
    names = {"image_encoder", "feature_extractor", "safety_checker"}
    parts = {name: part for name, part in pipeline.components.items() if kind != "sdxl" or name not in names}
    extra = {"requires_safety_checker": False} if kind != "sdxl" else {}
    made = stock(**parts, **extra)
    made.set_progress_bar_config(disable=True)
    inpainting = {"mask_image": mask, "width": SIDE, "height": SIDE, "masked_image_latents": UNUSED} if mask else {}
    with torch.no_grad():
        output: torch.Tensor = made(
            PROMPTS,
            image=[picture()] * len(SEEDS),
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=5.0,
            generator=generators(),
            output_type="latent",
            **inpainting,
        ).images
    return output


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("masked", [False, True], ids=["image to image", "inpainting"])
@pytest.mark.parametrize(
    ("kind", "sampler"),
    [
        ("sd1", "default"),
        ("sdxl", "default"),
        ("sd1", "dpm++2m"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (("sd2", "default"), ("sd1", "euler a"), ("sd1", "heun"))
        ),
    ],
)
def test_the_latents_are_those_of_diffusers(kind: str, sampler: str, masked: bool, strength: float, tiny: Path) -> None:
    family = family_of(tiny / kind)
    pipeline = family.pipeline(family.load(tiny / kind), sampler)
    pipeline.set_progress_bar_config(disable=True)
    before = pipeline.scheduler
    mask = half_mask() if masked else None
    found = ours(pipeline, mask, strength, 4)
    assert pipeline.scheduler is before
    assert torch.equal(found, theirs(pipeline, kind, mask, strength, 4))


def test_a_picture_is_kept_by_its_content_and_checked_first(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(png(picture()))
    start = start_pictures.check_start(ws, StartPicture(picture=str(tmp_path / "mine.png"), strength=0.3))
    assert start is not None and start.strength == 0.3
    assert (ws.root / start.picture).read_bytes() == png(picture()) and start.picture.startswith("starts/")
    assert start_pictures.check_start(ws, start) == start and len(list((ws.root / "starts").iterdir())) == 1
    assert start_pictures.check_start(ws, StartPicture()) is None is start_pictures.check_start(ws, None)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (StartPicture(strength=0.5), "No picture to begin from"),
        (StartPicture(picture="gone.png"), "cannot be read"),
        (StartPicture(picture="text.png"), "cannot be begun from"),
        (StartPicture(picture="a.png", mask="wide.png"), "The mask is 32 × 16 and the picture 16 × 16"),
        (StartPicture(picture="a.png", mask="black.png"), "black all over"),
    ],
)
def test_a_start_that_cannot_be_is_one_sentence(ws: Workspace, start: StartPicture, message: str) -> None:
    (ws.root / "a.png").write_bytes(png(picture()))
    (ws.root / "wide.png").write_bytes(png(picture(32, height=16)))
    (ws.root / "black.png").write_bytes(png(Image.new("RGB", (16, 16))))
    (ws.root / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=message):
        start_pictures.check_start(ws, start)


def opened(ws: Workspace, image: Image.Image, mask: Image.Image | None = None, **more: Any) -> start_pictures.OpenStart:
    kept = start_pictures.keep(ws, png(image))
    kept_mask = start_pictures.keep(ws, png(mask)) if mask else ""
    return start_pictures.open_start(ws, StartPicture(picture=kept, mask=kept_mask, **more))


def test_added_room_repeats_the_edges_and_is_all_that_is_drawn(ws: Workspace) -> None:
    start = opened(ws, picture(), left=8, bottom=16, feather=0)
    pixels, own = numpy.asarray(start.canvas), numpy.asarray(picture())
    assert start.canvas.size == (24, 32) and start.mask is not None
    assert (pixels[:16, 8:] == own).all()
    assert (pixels[:16, :8] == own[:, :1]).all() and (pixels[16:, 8:] == own[-1:]).all()
    white = numpy.asarray(start.mask) == 255
    assert not white[:16, 8:].any() and white[16:].all() and white[:, :8].all()
    drawn = Image.new("RGB", (24, 32), "red")
    joined = numpy.asarray(start.joined(drawn))
    assert (joined[:16, 8:] == own).all() and (joined[white] == (255, 0, 0)).all()


def test_a_feathered_edge_blends_in_the_kept_part_only(ws: Workspace) -> None:
    start = opened(ws, Image.new("RGB", (64, 64)), half_mask(64), feather=8)
    row = numpy.asarray(start.joined(Image.new("RGB", (64, 64), "white")))[32, :, 0]
    assert (row[32:] == 255).all() and (row[:22] == 0).all()
    assert (numpy.diff(row[20:33].astype(int)) >= 0).all() and 0 < row[28] < 255


@pytest.mark.parametrize(
    ("size", "drawn_at"),
    [((512, 512), (512, 512)), ((640, 480), (640, 480)), ((4000, 3000), (592, 440)), ((64, 96), (416, 624))],
)
def test_a_picture_far_from_the_models_size_is_brought_near_it(
    ws: Workspace, size: tuple[int, int], drawn_at: tuple[int, int]
) -> None:
    start = start_pictures.OpenStart(StartPicture(), Image.new("RGB", size), Image.new("L", size, 255))
    assert start.size(512, 8) == drawn_at
    resized = start.resized(*drawn_at)
    assert resized.mask is not None and resized.canvas.size == resized.mask.size == drawn_at


def test_a_batch_is_begun_from_a_picture_and_says_so(tiny: Path, ws: Workspace) -> None:
    model = ModelRef(base_model=str(tiny / "sd1"))
    start = StartPicture(picture=start_pictures.keep(ws, png(picture())), strength=0.5, right=8)
    config = GenerateConfig(models=[model], prompts=["a toy"], settings=SampleSettings(steps=4, seed=3), start=start)
    ctx = context(ws, "images", "job")
    assert run_generate(config, ctx)
    (image,) = read_images(ctx.folder)
    assert (image.width, image.height, image.start) == (24, 16, start)
    drawn = Image.open(ctx.folder / image.file)
    pixels, own = numpy.asarray(drawn), numpy.asarray(picture())
    assert (pixels[:, :8] == own[:, :8]).all() and "Denoising strength: 0.5" in drawn.info["parameters"]
    assert run_generate(config, ctx) and len(read_images(ctx.folder)) == 1
    ctx = context(ws, "images", "other")
    run_generate(replace(config, start=replace(start, strength=1.0)), ctx)
    assert read_images(ctx.folder)[0].file != image.file

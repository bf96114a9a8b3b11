"""What can be seen of a picture while it forms: pytest tests/test_sampling_forming.py"""

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from tiny_models import KINDS, build

from sdstudio.engine.pipeline import family_of
from sdstudio.engine.sampling import sample
from sdstudio.models import STARTER
from sdstudio.sampling.forming import fit_colours, rough_pictures
from sdstudio.schema import SampleSettings


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
    return root


@pytest.fixture(scope="module")
def starter():
    pipeline = family_of(STARTER / "sd").load(STARTER / "sd")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def watched(pipeline, settings: SampleSettings, side: int, prompt: str = "a cat") -> tuple[list, Image.Image]:
    steps: list[tuple[int, int, torch.Tensor]] = []
    ((picture, _),) = sample(
        pipeline, [prompt], [1], settings, side, side, on_step=lambda *told: steps.append((*told[:2], told[2]()))
    )
    return steps, picture


@pytest.mark.parametrize(
    ("kind", "sampler"), [("sd1", "ddim"), ("sd2", "euler"), ("sd2", "heun"), ("sdxl", "dpm++2m karras")]
)
def test_the_last_estimate_is_the_picture(kind: str, sampler: str, tiny: Path) -> None:
    family = family_of(tiny / kind)
    pipeline = family.pipeline(family.load(tiny / kind), sampler)
    pipeline.set_progress_bar_config(disable=True)
    steps, picture = watched(pipeline, SampleSettings(steps=6, scheduler=sampler), 16)
    last = 11 if sampler == "heun" else 6
    assert [(done, of) for done, of, _ in steps] == [(done, last) for done in range(1, last + 1)]
    with torch.no_grad():
        decoded = pipeline.vae.decode(steps[-1][2] / pipeline.vae.config.scaling_factor).sample[0]
    shown = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert abs(shown - numpy.asarray(picture)).max() <= 12


def test_the_rough_look_is_the_picture_from_afar(starter) -> None:
    colours = fit_colours(starter)
    settings = SampleSettings(steps=12)
    steps, picture = watched(starter, settings, 64, "a red balloon on a beach at night")
    (rough,) = rough_pictures(steps[-1][2], colours)
    seen = numpy.asarray(picture.resize(rough.size, Image.Resampling.BOX), dtype=float)
    unexplained = ((numpy.asarray(rough, dtype=float) - seen) ** 2).mean() / seen.var()
    assert rough.size == (16, 16) and unexplained < 0.1
    early = numpy.asarray(rough_pictures(steps[5][2], colours)[0], dtype=float)
    assert numpy.corrcoef(early.ravel(), seen.ravel())[0, 1] > 0.5


def test_a_stop_in_the_middle_leaves_the_pipeline_as_it_was(tiny: Path) -> None:
    pipeline = family_of(tiny / "sd1").load(tiny / "sd1")
    pipeline.set_progress_bar_config(disable=True)
    settings, asked = SampleSettings(steps=4), []
    ((before, _),) = sample(pipeline, ["a"], [1], settings, 16, 16)
    stopped = sample(pipeline, ["a"], [1], settings, 16, 16, should_stop=lambda: asked.append(1) or len(asked) > 2)
    assert stopped == [] and len(asked) == 3
    ((after, _),) = sample(pipeline, ["a"], [1], settings, 16, 16)
    assert after.tobytes() == before.tobytes() and not pipeline.unet._forward_hooks

"""Validation, and what a run keeps: checkpoints, their state, the best one.   pytest tests/test_engine_kept.py"""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from tiny_models import context, metrics

from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.engine import run as running
from sdstudio.engine.average import Average
from sdstudio.engine.checkpoints import resumable, state_damage, steps_kept
from sdstudio.engine.history import History, read_history
from sdstudio.engine.latents import scale_latents
from sdstudio.engine.pictures import UNCHANGED
from sdstudio.engine.run import Run
from sdstudio.engine.setup import set_up
from sdstudio.engine.streams import derived_seed
from sdstudio.engine.train import run_train
from sdstudio.engine.validation import BINS
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.models import damage, latest_checkpoint
from sdstudio.schema import LoopConfig, TrainConfig, UserError
from sdstudio.workspace import Workspace

LOOP = LoopConfig(steps=6, batch_size=2, warmup_steps=0, checkpoint_every=2, sample_every=0, validate_every=3)


@pytest.fixture
def base(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("sd2")


def config(base: Path, loop: LoopConfig = LOOP, dataset: str = "toys", **options: object) -> TrainConfig:
    return TrainConfig(dataset=dataset, base_model=str(base), method_options={"rank": 2} | options, loop=loop)


def add_drawings(ws: Workspace, name: str, count: int, twins: int = 0) -> None:
    """`count` drawings that differ, and `twins` copies of the first, each all but equal to it."""
    store = create_dataset(ws, name)
    for number in range(count + twins):
        place = 0 if number >= count else number
        picture = Image.new("RGB", (48, 48), (37 * place % 256, 91 * place % 256, 151 * place % 256))
        ImageDraw.Draw(picture).rectangle((place % 5 * 8, 4, 40, 10 + place), fill=(255 - 9 * place, 217, 15))
        if number >= count:
            picture.putpixel((0, number - count), (1, 2, 3))
        data = io.BytesIO()
        picture.save(data, "PNG")
        store.add(data.getvalue(), f"{number}.png", f"asim. drawing {number}")


# ---------------------------------------------------------------- validation


def held_out(run: Run) -> set[str]:
    return {picture.digest for picture in run.validation._material.pictures}


def test_near_duplicates_stay_on_one_side_and_the_split_depends_on_the_pictures_alone(
    base: Path, ws: Workspace
) -> None:
    add_drawings(ws, "many", 24, twins=6)
    loop = replace(LOOP, validation_share=0.4)
    run = set_up(config(base, loop, "many"), context(ws, "runs", "one"))
    aside = held_out(run)
    assert len(aside) == 12
    trained = {picture.digest for picture in run.data._material.pictures}
    assert not aside & trained and len(aside | trained) == 30
    images = open_dataset(ws, "many").images()
    twins = {image.id for image in images if int(image.file_name.removesuffix(".png")) in (0, *range(24, 30))}
    assert twins <= aside or twins <= trained
    other = set_up(config(base, replace(loop, seed=7, batch_size=1), "many"), context(ws, "runs", "other"))
    assert held_out(other) == aside


def test_a_small_set_is_trained_on_whole_and_it_is_said(
    base: Path, ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    run = set_up(config(base), context(ws, "runs", "run"))
    assert run.validation is None and len(run.data._material.pictures) == 5
    assert "No validation: of 5 pictures none is set aside" in capsys.readouterr().out
    set_up(config(base, replace(LOOP, validation_share=0)), context(ws, "runs", "asked"))
    assert "No validation" not in capsys.readouterr().out


def test_the_validation_loss_is_a_plain_one_at_fixed_noise_and_timesteps(base: Path, ws: Workspace) -> None:
    add_drawings(ws, "many", 20)
    ctx = context(ws, "runs", "run")
    run_train(config(base, dataset="many"), ctx)
    lines = [line for line in metrics(ctx) if "val_loss" in line]
    assert [line["step"] for line in lines] == [0, 2, 3, 4, 6]
    assert {line["val_base"] for line in lines} == {lines[0]["val_loss"]}
    assert len({line["val_loss"] for line in lines}) == 5

    run = set_up(config(base, dataset="many"), context(ws, "runs", "fresh"))
    first = run.validation.measure(run.unet)
    torch.manual_seed(99)
    assert run.validation.measure(run.unet) == first
    assert first.loss == lines[0]["val_loss"] and first.bins == lines[0]["val_bins"]

    pipeline = run.model.pipeline
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    errors: dict[int, list[float]] = {number: [] for number in range(BINS)}
    times = []
    for size, trials in run.validation._batches:
        for trial in trials:
            picture = run.validation._material.pictures[trial.index]
            mean = run.data._latents.get(picture, UNCHANGED, size).mean[None]
            clean = scale_latents(pipeline.vae, mean)
            generator = torch.Generator().manual_seed(derived_seed("validation", picture.digest, trial.bin))
            noise, time = torch.randn(mean.shape[1:], generator=generator)[None], torch.tensor([trial.timestep])
            caption = run.validation._material.examples[trial.index].caption
            with torch.no_grad():
                text = pipeline.encode_prompt(caption, "cpu", 1, False)[0]
                said = run.unet.eval()(scheduler.add_noise(clean, noise, time), time, text).sample
            errors[trial.bin].append((said - scheduler.get_velocity(clean, noise, time)).square().mean().item())
            times.append((trial.bin, trial.timestep))
    assert first.bins == pytest.approx([sum(found) / len(found) for found in errors.values()], rel=1e-6)
    assert first.loss == pytest.approx(sum(first.bins) / BINS, rel=1e-6)
    assert sorted(times) == [(0, 62), (0, 187), (1, 312), (1, 437), (2, 562), (2, 687), (3, 812), (3, 937)]


def with_losses(monkeypatch: pytest.MonkeyPatch, losses: dict[int, float]) -> None:
    """The validation loss is what `losses` says of the step."""
    measure = Run.measure

    def told(run: Run, step: int) -> None:
        found = run.validation.measure(run.unet)
        with monkeypatch.context() as patch:
            patch.setattr(run.validation, "measure", lambda unet: replace(found, loss=losses[step]))
            measure(run, step)

    monkeypatch.setattr(Run, "measure", told)


def test_a_run_that_no_longer_improves_ends_and_the_best_checkpoint_is_marked_and_kept(
    base: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_drawings(ws, "many", 20)
    with_losses(monkeypatch, {0: 9.0, 1: 8.0, 2: 5.0, 3: 6.0, 4: 5.5, 5: 7.0, 6: 4.0})
    ctx = context(ws, "runs", "run")
    loop = replace(LOOP, validate_every=1, early_stop=3, keep_last=1)
    assert run_train(config(base, loop, "many"), ctx)
    assert [line["step"] for line in metrics(ctx) if "loss" in line] == [1, 2, 3, 4, 5]
    assert json.loads((ctx.folder / "best.json").read_text()) == {"step": 2, "val_loss": 5.0}
    assert steps_kept(ctx.folder) == [2, 5]
    before = metrics(ctx)
    assert run_train(config(base, loop, "many"), ctx) and metrics(ctx) == before


# ---------------------------------------------------------------- what is kept


def test_checkpoints_come_when_asked_for(base: Path, ws: Workspace) -> None:
    ctx = context(ws, "runs", "run")
    loop = replace(LOOP, epochs=4, interval_unit="epochs", checkpoint_every=0, checkpoint_at=[1, 2], sample_at=[2])
    run_train(config(base, loop), ctx)
    assert steps_kept(ctx.folder) == [3, 5, 10]
    assert sorted(path.name for path in (ctx.folder / "samples").iterdir()) == ["step-000005", "step-000010"]
    with pytest.raises(UserError, match="after step 13, but the run ends at 10 steps"):
        run_train(config(base, replace(loop, checkpoint_at=[5])), context(ws, "runs", "beyond"))
    with pytest.raises(UserError, match="Both epochs and steps per instance"):
        run_train(config(base, replace(loop, steps_per_instance=2)), context(ws, "runs", "twice"))
    per_instance = set_up(config(base, replace(LOOP, steps_per_instance=7)), context(ws, "runs", "instances"))
    assert per_instance.plan.steps == 35


def test_only_the_newest_are_kept_with_those_asked_for(base: Path, ws: Workspace) -> None:
    ctx = context(ws, "runs", "run")
    run_train(config(base, replace(LOOP, steps=9, checkpoint_every=1, checkpoint_at=[2], keep_last=3)), ctx)
    assert all(state_damage(folder) == "" for folder in (ctx.folder / "checkpoints").iterdir()), (
        "each can be gone on from"
    )
    run_train(
        config(base, replace(LOOP, steps=9, checkpoint_every=1, checkpoint_at=[2], keep_last=3, keep_state=2)), ctx
    )
    assert steps_kept(ctx.folder) == [2, 7, 8, 9]
    folders = {step: ctx.folder / f"checkpoints/step-{step:06d}" for step in steps_kept(ctx.folder)}
    assert [step for step, folder in folders.items() if (folder / "state").is_dir()] == [8, 9]
    assert all(damage(folder) == "" for folder in folders.values()), "without its state a checkpoint is whole"
    assert not [path for path in ctx.folder.rglob(".*")]


def test_nothing_is_removed_while_the_newest_is_damaged(
    base: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(ws, "runs", "run")
    write = running.write_checkpoint

    def torn(*arguments: object) -> Path:
        folder = write(*arguments)
        if folder.name == "step-000004":
            file = folder / "pytorch_lora_weights.safetensors"
            file.write_bytes(file.read_bytes()[:-10])
        return folder

    monkeypatch.setattr(running, "write_checkpoint", torn)
    run_train(config(base, replace(LOOP, steps=4, keep_last=1)), ctx)
    assert steps_kept(ctx.folder) == [2, 4] and resumable(ctx.folder).name == "step-000002"
    assert latest_checkpoint(ctx.folder).name == "step-000002"


HARMS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-7],
    "empty": lambda data: b"",
    "flipped": lambda data: data[:-3] + bytes([data[-3] ^ 16]) + data[-2:],
    "torn": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
}


def test_every_damaged_file_is_rejected_and_the_newest_good_one_used(
    base: Path, ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    ctx = context(ws, "runs", "run")
    run_train(config(base), ctx)
    folder = ctx.folder / "checkpoints/step-000006"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "checkpoint.json", "manifest.json", "pytorch_lora_weights.safetensors", "training_state.safetensors",
    }  # fmt: skip
    for file in files:
        whole = file.read_bytes()
        for name, damaging in HARMS.items():
            file.write_bytes(damaging(whole))
            assert resumable(ctx.folder).name == "step-000004", (file.name, name)
        file.unlink()
        assert resumable(ctx.folder).name == "step-000004", file.name
        file.write_bytes(whole)
    assert resumable(ctx.folder) == folder
    state = folder / "state/training_state.safetensors"
    state.write_bytes(HARMS["flipped"](state.read_bytes()))
    before = metrics(ctx)
    run_train(config(base), ctx)
    assert "The checkpoint of step 6 is damaged; what came after step 4 is done again." in capsys.readouterr().out
    assert metrics(ctx) == before and resumable(ctx.folder) == folder


def test_a_stop_is_answered_with_a_checkpoint_that_is_not_the_best(base: Path, ws: Workspace) -> None:
    add_drawings(ws, "many", 20)
    ctx = context(ws, "runs", "run")

    class Stops(JobContext):
        def metrics(self, **numbers: object) -> None:
            super().metrics(**numbers)
            if numbers["step"] == 5:
                (self.folder / STOP_FILE).touch()

    assert not run_train(config(base, dataset="many"), Stops(ws, ctx.folder))
    assert steps_kept(ctx.folder) == [2, 4, 5]
    assert json.loads((ctx.folder / "best.json").read_text())["step"] in (2, 4)


# ---------------------------------------------------------------- loss that breaks, averages


def test_a_loss_that_explodes_stops_the_run_before_the_step(
    base: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ctx = context(ws, "runs", "run")
    loss, calls = running.denoising_loss, []

    def exploding(*arguments: object) -> torch.Tensor:
        calls.append(1)
        return loss(*arguments) * (1000.0 if len(calls) == 15 else 1.0)

    monkeypatch.setattr(running, "denoising_loss", exploding)
    with pytest.raises(UserError, match=r"loss exploded to .* at step 15 .*not taken; the last good .* step-000014"):
        run_train(config(base, replace(LOOP, steps=20)), ctx)
    assert [line["step"] for line in metrics(ctx)] == list(range(1, 15))


def test_a_gradient_that_is_not_a_number_stops_the_run_before_the_step(base: Path, ws: Workspace) -> None:
    run = set_up(config(base), context(ws, "runs", "run"))
    before = {name: value.detach().clone() for name, value in run.trainable.parameters.items()}
    value = next(iter(run.trainable.parameters.values()))
    value.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(UserError, match="The gradient was not a number at step 1 and the step was not taken"):
        run.step(1)
    assert all(torch.equal(before[name], value) for name, value in run.trainable.parameters.items())


def test_history_is_what_the_file_says_up_to_a_step(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = [{"step": 0, "val_loss": 3.0, "val_base": 3.0}]
    lines += [{"step": step, "loss": 1.0 + step} for step in range(1, 13)]
    lines += [{"step": 12, "val_loss": 2.0, "val_base": 3.0}, {"step": 13, "loss": None}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 14, "lo')
    history = read_history(file, 12)
    assert list(history.losses) == [1.0 + step for step in range(1, 13)] and history.base == 3.0
    assert history.validations == [(0, 3.0), (12, 2.0)] and history.best({12}) == (12, 2.0)
    assert file.read_text().count("\n") == 14 and file.read_text().endswith("}\n")
    assert not history.exploded(300.0) and history.exploded(400.0)
    assert not History().exploded(1e9), "nothing to compare with yet"


@pytest.mark.parametrize(("losses", "patience", "stalled"), [
    ([5, 4, 3, 3.5, 3.1], 2, True), ([5, 4, 3, 3.5, 2.9], 2, False), ([5, 4], 2, False), ([5, 6, 7], 0, False),
    ([5, 5, 5], 2, True),
])  # fmt: skip
def test_stalling(losses: list[float], patience: int, stalled: bool) -> None:
    history = History(validations=list(enumerate(losses)))
    assert history.has_stalled(patience) == stalled


def test_the_average_follows_its_equation_and_is_what_a_checkpoint_holds(base: Path, ws: Workspace) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    average = Average({"w": weight}, 0.9)
    expected = 1.0
    for step in range(1, 20):
        weight.data = weight.data + step
        average.update(step)
        expected += (1 - min(0.9, (1 + step) / (10 + step))) * (weight.item() - expected)
        assert average.values["w"].item() == pytest.approx(expected, rel=1e-6)
    with average.applied():
        assert weight.item() == average.values["w"].item()
    assert weight.item() == 191.0

    ctx = context(ws, "runs", "run")
    run_train(config(base, replace(LOOP, steps=2, ema_decay=0.999)), ctx)
    folder = latest_checkpoint(ctx.folder)
    saved = load_file(folder / "pytorch_lora_weights.safetensors")
    state = load_file(folder / "state/training_state.safetensors")
    name = next(name for name in saved if name.endswith("lora_B.weight"))
    inner = name.removeprefix("unet.").replace("lora_B.weight", "lora_B.sdstudio.weight")
    assert torch.equal(saved[name], state[f"average.{inner}"].half())
    assert not torch.equal(saved[name], state[f"parameter.{inner}"].half())

"""The training loop on tiny models of every family: it learns, stops, resumes to the same numbers, and refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_models import KINDS, SIDE, build, context, draw_from, make_dataset, metrics, write_single_file

from sdstudio.datasets import open_dataset
from sdstudio.engine import loss as losses
from sdstudio.engine import run as running
from sdstudio.engine.checkpoints import TrainingState, resumable
from sdstudio.engine.run import Run
from sdstudio.engine.setup import set_up
from sdstudio.engine.train import run_train
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.models import damage, latest_checkpoint, list_checkpoints, read_checkpoint, resolve_checkpoint
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import LoopConfig, ModelRef, SampleSettings, TrainConfig, UserError
from sdstudio.workspace import Workspace

LOOP = LoopConfig(steps=6, batch_size=2, warmup_steps=2, checkpoint_every=3, sample_every=0)
QUICK = {"lora": {}, "sam": {"prior_images": 2}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
    return root


def config(base: Path, method: str = "lora", loop: LoopConfig = LOOP, **options: object) -> TrainConfig:
    return TrainConfig(
        dataset="toys", base_model=str(base), method=method, method_options=QUICK[method] | options, loop=loop
    )


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "state/training_state.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", QUICK)
@pytest.mark.parametrize("kind", KINDS)
def test_train_checkpoint_generate(kind: str, method: str, tiny: Path, ws: Workspace) -> None:
    ctx = context(ws, "runs", "run")
    run_train(config(tiny / kind, method, replace(LOOP, sample_every=3)), ctx)

    lines = metrics(ctx)
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert all(line["loss"] > 0 and line["grad_norm"] > 0 for line in lines)
    assert ("lr_layers" in lines[0]) == (method == "sam")
    assert [picture.size for step in (3, 6) for picture in pictures(ctx.folder / f"samples/step-{step:06d}")] == [
        (SIDE, SIDE)
    ] * 8

    found = list_checkpoints(ws)
    assert [(item.run, item.step) for item in found] == [("run", 6), ("run", 3)]
    newest = found[0]
    assert newest.checkpoint.trigger == "asim" and newest.checkpoint.method == method
    assert newest.checkpoint.family == ("sdxl" if kind == "sdxl" else "sd")
    assert newest.checkpoint.snapshot == open_dataset(ws, "toys").snapshot().hash
    assert (
        newest.path
        == resolve_checkpoint(ws, newest.ref)
        == resolve_checkpoint(ws, "run")
        == latest_checkpoint(ctx.folder)
    )
    assert damage(newest.path) == ""

    settings, folder = SampleSettings(steps=2), ws.root / "drawn"
    base, trained = (
        draw_from(ws, ModelRef(base_model=str(tiny / kind), checkpoint=ref), ["asim. a toy"], [1], settings, folder)[0]
        for ref in ("", newest.ref)
    )
    assert base.checkpoint_hash == "" and trained.checkpoint_hash
    assert (folder / base.file).read_bytes() != (folder / trained.file).read_bytes()


def pictures(folder: Path) -> list[Image.Image]:
    return [Image.open(folder / image.file) for image in read_images(folder)]


def test_bf16_trains_in_float32_what_it_trains(tiny: Path, ws: Workspace) -> None:
    run = set_up(config(tiny / "sd1", "sam", replace(LOOP, mixed_precision="bf16")), context(ws, "runs", "run"))
    assert {value.dtype for value in run.trainable.parameters.values()} == {torch.float32}
    assert {value.dtype for value in run.unet.parameters() if not value.requires_grad} == {torch.bfloat16}
    exact = set_up(config(tiny / "sd1", "sam"), context(ws, "runs", "exact"))
    run.samples(1)
    assert run.step(1)["loss"] == pytest.approx(exact.step(1)["loss"], rel=0.05)


def test_a_single_file_trains_like_its_folder(tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    shutil.copytree(tiny / "sd2", tmp_path / "model")
    write_single_file("sd2", tiny / "sd2", tmp_path / "model.safetensors")
    folder, file = context(ws, "runs", "folder"), context(ws, "runs", "file")
    run_train(config(tiny / "sd2"), folder)
    run_train(config(tmp_path / "model.safetensors"), file)
    assert [line["loss"] for line in metrics(folder)] == [line["loss"] for line in metrics(file)]


def test_it_learns(tiny: Path, ws: Workspace) -> None:
    ctx = context(ws, "runs", "run")
    loop = replace(LOOP, steps=40, batch_size=4, caption_dropout=0.0, checkpoint_every=40)
    run_train(config(tiny / "sd1", "sam", loop, prior_images=0, layers_learning_rate=0.02), ctx)
    losses = [line["loss"] for line in metrics(ctx)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


# ---------------------------------------------------------------- stop and resume


def kill_after(ctx: JobContext, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies in the middle of the step after `steps`."""
    step = Run.step

    def dying(run: Run, number: int) -> dict[str, float]:
        if number > steps:
            raise KeyboardInterrupt
        return step(run, number)

    monkeypatch.setattr(Run, "step", dying)


@pytest.mark.parametrize("killed_after", [3, 5])
@pytest.mark.parametrize("method", QUICK)
def test_a_killed_run_that_goes_on_equals_one_that_was_not_killed(
    method: str, killed_after: int, tiny: Path, ws: Workspace
) -> None:
    loop = replace(LOOP, gradient_accumulation=2, caption_dropout=0.3, sample_every=6)
    wanted = config(tiny / "sd1", method, loop, **({"dropout": 0.2} if method == "lora" else {}))
    whole, broken = context(ws, "runs", "whole"), context(ws, "runs", "broken")
    run_train(wanted, whole)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_after(broken, killed_after, patch)
        run_train(wanted, broken)
    run_train(wanted, broken)
    assert metrics(broken) == metrics(whole)
    assert same(weights(latest_checkpoint(broken.folder)), weights(latest_checkpoint(whole.folder)))
    for name in ("samples/step-000006/00.png", "samples/step-000006/03.png"):
        with Image.open(broken.folder / name) as one, Image.open(whole.folder / name) as other:
            assert one.tobytes() == other.tobytes()


def test_a_damaged_checkpoint_is_passed_over(tiny: Path, ws: Workspace) -> None:
    whole = context(ws, "runs", "whole")
    run_train(config(tiny / "sd1"), whole)
    for number, harm in enumerate((truncate, flip_a_bit, remove)):
        ctx = context(ws, "runs", f"run-{number}")
        shutil.copytree(whole.folder, ctx.folder, dirs_exist_ok=True)
        harm(ctx.folder / "checkpoints/step-000006/state/training_state.safetensors")
        assert resumable(ctx.folder).name == "step-000003"
        run_train(config(tiny / "sd1"), ctx)
        assert metrics(ctx) == metrics(whole)
        assert same(weights(latest_checkpoint(ctx.folder)), weights(latest_checkpoint(whole.folder)))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


def remove(file: Path) -> None:
    file.unlink()


def test_a_stop_keeps_a_checkpoint_and_the_run_can_go_on(tiny: Path, ws: Workspace) -> None:
    whole, stopped = context(ws, "runs", "whole"), context(ws, "runs", "stopped")
    run_train(config(tiny / "sd1"), whole)

    class StopsAfterTwo(JobContext):
        def metrics(self, **numbers: object) -> None:
            super().metrics(**numbers)
            if numbers["step"] == 2:
                (self.folder / STOP_FILE).touch()

    run_train(config(tiny / "sd1"), StopsAfterTwo(ws, stopped.folder))
    assert latest_checkpoint(stopped.folder).name == "step-000002"
    (stopped.folder / STOP_FILE).unlink()
    run_train(config(tiny / "sd1"), stopped)
    assert metrics(stopped) == metrics(whole)
    assert same(weights(latest_checkpoint(stopped.folder)), weights(latest_checkpoint(whole.folder)))


def test_a_stop_before_the_first_step_leaves_no_checkpoint(tiny: Path, ws: Workspace) -> None:
    ctx = context(ws, "runs", "run")
    (ctx.folder / STOP_FILE).touch()
    run_train(config(tiny / "sd1", "sam"), ctx)
    assert not (ctx.folder / "checkpoints").exists() and not (ctx.folder / "metrics.jsonl").exists()


def test_the_snapshot_is_the_one_that_the_run_began_with(tiny: Path, ws: Workspace) -> None:
    ctx = context(ws, "runs", "run")
    run_train(config(tiny / "sd1", loop=replace(LOOP, steps=2)), ctx)
    before = read_checkpoint(latest_checkpoint(ctx.folder)).snapshot
    store = open_dataset(ws, "toys")
    image = store.images()[0]
    store.set_caption(image.id, "asim. changed", "person:test", image.version)
    assert store.snapshot().hash != before
    run_train(config(tiny / "sd1", loop=replace(LOOP, steps=4)), ctx)
    assert read_checkpoint(latest_checkpoint(ctx.folder)).snapshot == before


def test_a_full_disk_leaves_the_earlier_checkpoint(tiny: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = context(ws, "runs", "run")
    save = TrainingState.save

    def full(state: TrainingState, folder: Path) -> None:
        save(state, folder)
        if "000006" in folder.parent.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(TrainingState, "save", full)
    with pytest.raises(UserError, match=r"step 6 cannot be written.*No space left"):
        run_train(config(tiny / "sd1"), ctx)
    assert [path.name for path in (ctx.folder / "checkpoints").iterdir()] == ["step-000003"]


def test_not_a_number_stops_before_the_step(tiny: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = context(ws, "runs", "run")
    loss, steps = losses.denoising_loss, []

    def broken(*args: object) -> torch.Tensor:
        steps.append(1)
        return loss(*args) * (float("nan") if len(steps) == 5 else 1.0)

    monkeypatch.setattr(running, "denoising_loss", broken)
    with pytest.raises(UserError, match=r"not a number at step 5.*last good checkpoint is step-000003"):
        run_train(config(tiny / "sd1"), ctx)
    assert [line["step"] for line in metrics(ctx)] == [1, 2, 3, 4]
    assert latest_checkpoint(ctx.folder).name == "step-000003"


# ---------------------------------------------------------------- what a step is made of


def test_the_engines_loss_is_the_plain_one(tiny: Path, ws: Workspace) -> None:
    """One step of SAM on a velocity model, recomputed with diffusers' own scheduler and the papers' equations."""
    ctx = context(ws, "runs", "run")
    run = set_up(config(tiny / "sd2", "sam"), ctx)
    torch.manual_seed(5)
    batch = run.data.batch(0, torch.device("cpu"))
    assert batch.prior.tolist() == [False, False, True]
    torch.manual_seed(6)
    found = losses.denoising_loss(run.unet, run.model.family, batch, run.schedule, LOOP)

    torch.manual_seed(6)
    noise, times = torch.randn(3, 4, 8, 8), torch.randint(0, 1000, (3,))
    scheduler = run.model.pipeline.scheduler
    noisy = scheduler.add_noise(batch.latents, noise, times)
    predicted = run.unet(noisy, times, batch.text["encoder_hidden_states"]).sample
    alphas = scheduler.alphas_cumprod[times]
    velocity = alphas.sqrt().view(3, 1, 1, 1) * noise - (1 - alphas).sqrt().view(3, 1, 1, 1) * batch.latents
    ratio = alphas / (1 - alphas)
    each = ((predicted - velocity) ** 2).mean((1, 2, 3)) * ratio.clamp(max=5.0) / (ratio + 1)
    assert found.item() == pytest.approx((each[:2].mean() + each[2]).item(), rel=1e-6)


def test_every_picture_comes_once_a_pass_and_dropout_gives_the_empty_prompt(tiny: Path, ws: Workspace) -> None:
    loop = replace(LOOP, batch_size=5, caption_dropout=1.0)
    run = set_up(config(tiny / "sd1", loop=loop), context(ws, "runs", "run"))
    orders = [[showing.example for showing in run.data._own.batch(number)] for number in range(4)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders) and len({tuple(order) for order in orders}) > 1
    empty = run.model.family.encode_prompts(run.model.pipeline, [""])["encoder_hidden_states"]
    hidden = run.data.batch(0, torch.device("cpu")).text["encoder_hidden_states"]
    assert torch.allclose(hidden, empty.expand_as(hidden), atol=1e-6)


def test_latents_are_drawn_anew_and_an_edited_picture_misses_the_cache(tiny: Path, ws: Workspace) -> None:
    run = set_up(config(tiny / "sd1"), context(ws, "runs", "run"))
    cached = {path: path.stat().st_mtime_ns for path in (ws.cache / "latents").iterdir()}
    assert len(cached) == 5
    torch.manual_seed(1)
    first, second = (run.data.batch(0, torch.device("cpu")).latents for _ in range(2))
    assert not torch.equal(first, second)
    set_up(config(tiny / "sd1"), context(ws, "runs", "again"))
    assert {path: path.stat().st_mtime_ns for path in (ws.cache / "latents").iterdir()} == cached
    set_up(config(tiny / "sd2"), context(ws, "runs", "other"))
    assert len(list((ws.cache / "latents").iterdir())) == 10


# ---------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "nothing"}, "no dataset 'nothing'"),
        ({"dataset": ""}, "No dataset is named"),
        ({"method": "magic", "method_options": {}}, "no method named 'magic'"),
        ({"method_options": {"rnak": 4}}, "rnak"),
        ({"method_options": {"rank": 0}}, "the least is 1"),
        ({"base_model": "/nowhere/model"}, "no base model at"),
        ({"loop": replace(LOOP, resolution=15)}, "multiple of 2"),
        ({"loop": replace(LOOP, mixed_precision="fp16")}, "needs a GPU"),
    ],
)
def test_wrong_input_is_one_sentence_and_no_checkpoint(
    change: dict[str, object], message: str, tiny: Path, ws: Workspace
) -> None:
    ctx = context(ws, "runs", "run")
    with pytest.raises(UserError, match=message):
        run_train(replace(config(tiny / "sd1"), **change), ctx)
    assert not (ctx.folder / "checkpoints").exists()


def test_captions_that_are_missing_are_said(tiny: Path, ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(ws, "bare", ["", "", ""])
    with pytest.raises(UserError, match="No picture of 'bare' has a caption"):
        run_train(replace(config(tiny / "sd1"), dataset="bare"), context(ws, "runs", "bare"))
    make_dataset(ws, "some", ["asim. one", "", "asim. " + "long " * 30])
    set_up(replace(config(tiny / "sd1"), dataset="some"), context(ws, "runs", "some"))
    said = capsys.readouterr().out
    assert (
        "1 of 3 pictures of 'some' have no caption" in said
        and "Longer than 24 tokens, and not learned beyond: 1 captions" in said
    )
    make_dataset(ws, "mixed", ["asim. one", "a two", "asim. three"])
    with pytest.raises(UserError, match="1 of 3 captions do not begin with the identifier 'asim'"):
        run_train(replace(config(tiny / "sd1", "sam"), dataset="mixed"), context(ws, "runs", "mixed"))


def test_an_unreadable_picture_is_named(tiny: Path, ws: Workspace) -> None:
    store = open_dataset(ws, "toys")
    broken = store.image_path(store.images()[2].id)
    broken.write_bytes(b"not a picture")
    with pytest.raises(UserError, match=f"{broken.name} cannot be read"):
        run_train(config(tiny / "sd1"), context(ws, "runs", "run"))


def test_a_checkpoint_of_another_family_or_shape_is_refused(tiny: Path, ws: Workspace) -> None:
    ctx = context(ws, "runs", "run")
    run_train(config(tiny / "sd1", loop=replace(LOOP, steps=1)), ctx)
    for kind, message in (("sdxl", "does not fit"), ("sd2", "does not fit")):
        with pytest.raises(UserError, match=message):
            draw_from(
                ws, ModelRef(base_model=str(tiny / kind), checkpoint="run"), ["x"], [0], SampleSettings(), ws.root
            )
    for missing in ("run-2", "runs/run/checkpoints/step-000009", ""):
        with pytest.raises(UserError, match="no checkpoint"):
            resolve_checkpoint(ws, missing)
    file = latest_checkpoint(ctx.folder) / "pytorch_lora_weights.safetensors"
    flip_a_bit(file)
    with pytest.raises(UserError, match="damaged"):
        draw_from(
            ws,
            ModelRef(base_model=str(tiny / "sd1"), checkpoint="runs/run/checkpoints/step-000001"),
            ["x"],
            [0],
            SampleSettings(),
            ws.root,
        )
    (file.parent / "checkpoint.json").write_text(json.dumps({"method": "lora"}))
    with pytest.raises(UserError, match="Checkpoint is not valid"):
        read_checkpoint(file.parent)

"""What a job will need is told from jobs like it; what is not known is said; what the disk cannot hold is refused.

pytest tests/test_jobs_estimate.py
pytest tests/test_jobs_estimate.py -m slow -s   # prints estimates beside what real runs then took
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from jobs_helpers import empty_workspace, plain_pictures
from streamlit.testing.v1 import AppTest
from tiny_models import build

from sdstudio import jobs
from sdstudio.jobs import footprints
from sdstudio.jobs.folder import State, write_state
from sdstudio.jobs.footprints import Footprint
from sdstudio.jobs.kinds import get_kind
from sdstudio.schema import (
    CaptionConfig,
    GenerateConfig,
    Job,
    LoopConfig,
    ModelRef,
    Placement,
    TrainConfig,
    UserError,
    from_json,
    to_json,
)
from sdstudio.workspace import ENV_VAR, Workspace, folder_size, read_json, require_space, write_json

LOOP = LoopConfig(steps=100, batch_size=4, resolution=512, checkpoint_every=50)
CONFIG = TrainConfig(dataset="set", base_model="starter", method="lora", method_options={"rank": 4}, loop=LOOP)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a dataset of 4 captioned pictures, on a machine without a GPU."""
    workspace = empty_workspace(tmp_path)
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    plain_pictures(workspace, 4)
    return workspace


def past_run(ws: Workspace, config: TrainConfig = CONFIG, name: str = "asim", device: str = "cpu") -> Path:
    """A run of 20 steps that began at 1000 s, took 30 s to load, 2 s a step and 10 s to end; 5 kB a checkpoint."""
    folder = ws.runs / f"20260101-{name}"
    checkpoint = folder / "checkpoints" / "step-000020"
    (checkpoint / "state").mkdir(parents=True)
    (checkpoint / "lora.safetensors").write_bytes(bytes(1000))
    (checkpoint / "state" / "training_state.safetensors").write_bytes(bytes(4000))
    write_json(folder / "config.json", to_json(get_kind("train").prepare(ws, config)))
    row = '{"time": %d, "step": %d, "loss": 0.1, "memory_bytes": %d}'
    (folder / "metrics.jsonl").write_text(
        "\n".join(row % (1030 + 2 * step, step, 1000 * step) for step in range(1, 21))
    )
    state = State(kind="train", title=name, created=999.0, state="succeeded", device=device)
    write_state(folder, replace(state, started=1000.0, ended=1080.0))
    return folder


def longer(**changes: object) -> TrainConfig:
    return replace(CONFIG, loop=replace(LOOP, **changes))


def test_a_run_like_an_earlier_one_takes_what_that_took(ws: Workspace) -> None:
    past_run(ws)
    found = jobs.estimate(ws, "train", longer(steps=600, keep_state=2))
    assert found.seconds == pytest.approx(30 + 10 + 600 * 2)
    assert found.memory_bytes == 20_000
    assert found.disk_bytes == 12 * 1000 + 2 * 4000  # every 50 of 600 steps; the newest two with their state
    assert found.free_bytes == pytest.approx(shutil.disk_usage(ws.root).free, rel=0.01)
    assert found.notes == ("The time is that of the run 'asim'.", "The memory is what 'asim' held.")


def test_another_batch_size_or_resolution_is_scaled_and_said_so(ws: Workspace) -> None:
    past_run(ws)
    found = jobs.estimate(ws, "train", longer(batch_size=2, gradient_accumulation=4, resolution=256))
    assert found.seconds == pytest.approx(40 + 100 * 2 * (8 / 4) * (256 / 512) ** 2)
    assert found.memory_bytes is None
    assert "scaled to this batch size and resolution" in found.notes[0]


@pytest.mark.parametrize(
    "other",
    [
        replace(CONFIG, method="dreambooth_lora", method_options={}),
        replace(CONFIG, base_model="other"),
        longer(mixed_precision="bf16"),
        longer(resolution=0),
    ],
    ids=["method", "base model", "number format", "the base model's own side"],
)
def test_a_run_unlike_all_earlier_ones_is_not_guessed_at(ws: Workspace, other: TrainConfig) -> None:
    past_run(ws)
    found = jobs.estimate(ws, "train", other)
    assert (found.seconds, found.memory_bytes) == (None, None)
    assert found.notes == ("No earlier run with this method and base model tells how long it takes.",)


def test_a_run_on_a_gpu_tells_nothing_of_the_cpu(ws: Workspace) -> None:
    past_run(ws, device="cuda:0")
    assert jobs.estimate(ws, "train", CONFIG).seconds is None


def test_the_size_of_a_checkpoint_follows_the_rank_and_not_the_learning_rate(ws: Workspace) -> None:
    past_run(ws)
    rate = replace(CONFIG, method_options={"rank": 4, "learning_rate": 0.5, "trigger": "asim"})
    assert jobs.estimate(ws, "train", rate).disk_bytes == 2 * 1000 + 2 * 4000
    assert jobs.estimate(ws, "train", replace(CONFIG, method_options={"rank": 8})).disk_bytes is None


def test_only_the_checkpoints_that_are_kept_count(ws: Workspace) -> None:
    past_run(ws)
    found = jobs.estimate(ws, "train", longer(steps=600, keep_last=2, checkpoint_at=[30]))
    assert found.disk_bytes == 4 * (1000 + 4000)  # the newest two, the one asked for, the best


def test_what_a_resumed_run_did_before_does_not_count_as_one_long_step(ws: Workspace) -> None:
    folder = past_run(ws)
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    rows[:5] = [row.replace('"time": 10', '"time": 1') for row in rows[:5]]
    (folder / "metrics.jsonl").write_text("\n".join(rows))
    assert jobs.estimate(ws, "train", CONFIG).seconds == pytest.approx(40 + 10 + 100 * 2)


def test_a_disk_that_cannot_hold_the_checkpoint_twice_is_refused_before_anything_is_made(
    ws: Workspace, monkeypatch
) -> None:
    past_run(ws)
    usage = SimpleNamespace(free=10_001)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert jobs.estimate(ws, "train", CONFIG).disk_bytes == 10_000
    usage.free = 9_999
    for begin in (jobs.submit, jobs.run_inline, jobs.estimate):
        with pytest.raises(UserError, match=r"too full for two .* 10.0 kB are needed and 10.0 kB are free"):
            begin(ws, "train", CONFIG)
    assert [path.name for path in ws.runs.iterdir()] == ["20260101-asim"]


def test_space_is_required_in_words(tmp_path: Path) -> None:
    require_space(tmp_path, 1, "one byte")
    with pytest.raises(UserError, match=r"too full for a moon: .* Free some space"):
        require_space(tmp_path, 1e18, "a moon")


def test_pictures_and_captions_take_the_time_of_earlier_ones(ws: Workspace) -> None:
    drawing = GenerateConfig(models=[ModelRef(), ModelRef()], prompts=["a", "b"], count=10)
    for kind, config, parent in (("generate", drawing, ws.images), ("caption", CaptionConfig(dataset="set"), ws.tasks)):
        assert jobs.estimate(ws, kind, config).seconds is None
        folder = parent / f"20260101-{kind}"
        folder.mkdir(parents=True)
        write_json(folder / "config.json", to_json(config))
        since = {"time": 1020.0, "done": 4}
        progress = {"done": 40, "total": 40, "unit": "pictures", "message": "", "time": 1038.0, "since": since}
        write_json(folder / "progress.json", progress)
        write_state(
            folder,
            State(kind=kind, title=kind, created=1.0, state="succeeded", device="cpu", started=1000.0, ended=1040.0),
        )
    assert jobs.estimate(ws, "generate", replace(drawing, count=100)).seconds == pytest.approx(20 + 400 * 0.5)
    assert jobs.estimate(ws, "caption", CaptionConfig(dataset="set", only_empty=False)).seconds == pytest.approx(22)
    assert jobs.estimate(ws, "caption", CaptionConfig(dataset="set")).seconds is None  # nothing to do


def test_a_run_stops_before_its_first_step_where_the_disk_is_too_full(ws: Workspace, tmp_path, monkeypatch) -> None:
    build("sd1", tmp_path / "base")
    loop = LoopConfig(steps=2, batch_size=1, sample_every=0)
    config = TrainConfig(dataset="set", base_model=str(tmp_path / "base"), method="lora", loop=loop)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_000))
    with pytest.raises(UserError, match="too full for two of its checkpoints"):
        jobs.run_inline(ws, "train", config, echo=False)
    (job,) = jobs.list_jobs(ws)
    assert job.state == "failed" and "too full" in job.error
    assert jobs.read_metrics(job) == [] and not (job.folder / "checkpoints").exists()


def test_memory_is_weights_gradients_moments_and_what_a_forward_pass_keeps(ws: Workspace) -> None:
    footprint = Footprint(trained=100, frozen=1000, beside=10, activations=4000)
    assert footprint.memory(CONFIG) == 100 * (4 + 4 + 8) + 1000 * 4 + 10 * 4 + 4 * 4000
    half = longer(mixed_precision="bf16", ema_decay=0.9, batch_size=1)
    assert footprint.memory(half) == 100 * (4 + 4 + 8 + 4 + 2) + 1000 * 2 + 10 * 4 + 2000
    assert footprint.checkpoint(CONFIG) == (400, 1200)
    assert footprint.checkpoint(half) == (400, 1600)


def test_a_run_without_precedent_is_computed_once_where_asked(ws: Workspace, monkeypatch) -> None:
    answer = '{"trained": 1000000000, "frozen": 0, "beside": 0, "activations": 0}'
    asked = []

    def run(command: list[str], input: str, **_: object) -> SimpleNamespace:
        asked.append((command[1:], json.loads(input)))
        return SimpleNamespace(stdout=f"a library says hello\n{answer}\n")

    monkeypatch.setattr(footprints.subprocess, "run", run)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    assert jobs.estimate(ws, "train", CONFIG).memory_bytes is None and asked == []
    found = jobs.estimate(ws, "train", CONFIG, compute=True)
    assert found.memory_bytes == 16 * 10**9
    assert found.disk_bytes == 2 * 4 * 10**9 + 2 * 12 * 10**9
    assert "computed from the model's layers" in found.notes[1]
    ((command, question),) = asked
    assert command == ["-m", "sdstudio.engine.footprint"]
    assert (question["method"], question["options"]["rank"], question["side"]) == ("lora", 4, 512)
    assert jobs.estimate(ws, "train", CONFIG) == jobs.estimate(ws, "train", CONFIG, compute=True) == found
    assert len(asked) == 1
    assert jobs.estimate(ws, "train", longer(resolution=256)).memory_bytes is None
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    with pytest.raises(UserError, match="too full for two of the run's checkpoints"):
        jobs.submit(ws, "train", CONFIG)
    small = SimpleNamespace(total=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: small)
    assert "cpu has only 1.0 GB: take a smaller batch" in jobs.estimate(ws, "train", CONFIG).notes[-1]


def test_the_page_offers_to_work_out_what_is_not_known(ws: Workspace, monkeypatch) -> None:
    def script() -> None:
        from sdstudio.schema import Placement, TrainConfig
        from sdstudio.ui.estimate import show_estimate
        from sdstudio.workspace import current_workspace

        show_estimate(current_workspace(), "train", TrainConfig(dataset="set"), Placement())

    footprint = Footprint(trained=10**8, frozen=0, beside=0, activations=0)
    monkeypatch.setenv(ENV_VAR, str(ws.root))
    monkeypatch.setattr(
        footprints, "compute", lambda *_: monkeypatch.setattr(footprints, "known", lambda *_: footprint)
    )
    app = AppTest.from_function(script, default_timeout=60).run()
    assert "memory not known yet · disk not known yet" in app.markdown[0].value
    app.button(key="estimate-compute").click().run()
    assert "1.6 GB of memory · 4.8 GB of disk" in app.markdown[0].value.replace("\\", "")
    assert not app.button and not app.exception


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "method"), [("sd1", "full"), ("sd1", "lora"), ("sdxl", "full")])
def test_what_is_computed_is_what_a_run_then_takes(ws: Workspace, tmp_path: Path, kind: str, method: str) -> None:
    build(kind, tmp_path / "base")
    loop = LoopConfig(steps=2, batch_size=1, sample_every=0, checkpoint_every=0, validation_share=0.0)
    config = TrainConfig(dataset="set", base_model=str(tmp_path / "base"), method=method, loop=loop)
    expected = jobs.estimate(ws, "train", config, compute=True)
    job = jobs.run_inline(ws, "train", config, echo=False)
    size = folder_size(job.folder / "checkpoints")
    trained = sum(int(found.replace(",", "")) for found in re.findall(r"([\d,]+) parameters", jobs.read_log(job)))
    computed = footprints.known(ws, config_of(job))
    print(
        f"\n{kind} {method}: {computed.trained:,} of {trained:,} parameters, {expected.disk_bytes:,} of {size:,} bytes"
    )
    assert computed.trained == trained
    assert size < 1.1 * expected.disk_bytes and expected.disk_bytes < 1.5 * size


def config_of(job: Job) -> TrainConfig:
    return from_json(TrainConfig, read_json(job.folder / "config.json"))


@pytest.mark.slow
def test_estimates_stand_beside_what_real_runs_take(ws: Workspace) -> None:
    loop = LoopConfig(steps=20, batch_size=2, sample_every=0, checkpoint_every=20)
    config = TrainConfig(dataset="set", method="lora", method_options={"rank": 4}, loop=loop)
    jobs.run_inline(ws, "train", config, echo=False)
    again = replace(config, loop=replace(loop, steps=60))
    expected = jobs.estimate(ws, "train", again)
    job = jobs.run_inline(ws, "train", again, echo=False)
    took, size = job.ended - job.started, folder_size(job.folder / "checkpoints")
    print(f"\n{expected.seconds:.1f} s expected, {took:.1f} s taken; {expected.disk_bytes} B expected, {size} B taken")
    assert expected.seconds == pytest.approx(took, rel=1)
    assert expected.disk_bytes == pytest.approx(size, rel=0.05)


def test_half_precision_without_a_gpu_is_refused_before_the_run_is_queued(ws: Workspace, monkeypatch) -> None:
    config = longer(mixed_precision="fp16")
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        jobs.submit(ws, "train", config)
    assert jobs.list_jobs(ws) == []
    assert jobs.estimate(ws, "train", config, Placement(backend="slurm")).free_bytes
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cuda:0")
    assert jobs.estimate(ws, "train", config).free_bytes

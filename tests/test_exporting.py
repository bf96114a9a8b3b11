"""Exports as jobs, and models on the Hub: pytest tests/test_exporting.py"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub_server import HubServer
from safetensors.numpy import load
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tiny_runs import finished_run

from sdstudio import jobs
from sdstudio.jobs.context import JobContext
from sdstudio.results import FLOOR, Evaluation, Row
from sdstudio.schema import (
    ExportConfig,
    MetricResult,
    ModelRef,
    Protocol,
    PublishConfig,
    TrainConfig,
    UserError,
    to_json,
)
from sdstudio.sharing.exporting import exported_file
from sdstudio.sharing.publishing import check_publish, run_publish
from sdstudio.ui.files import export_url, routes
from sdstudio.workspace import Workspace, write_json

RUN = "20260101-000000-first-try-aaaa"
CHECKPOINT = f"runs/{RUN}/checkpoints/step-000020"
TOKEN = "hf_canary_publish"
PUBLISH = PublishConfig(checkpoint=CHECKPOINT, format="lora+delta", repository="my-style", license="openrail")


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A workspace with one finished run whose samples, name and options hold Markdown."""
    workspace = Workspace(tmp_path / "studio")
    run = finished_run(workspace, RUN, "First try!", "a [cat](x)")
    config = TrainConfig(
        name="First try!",
        dataset="cats",
        base_model=str(tmp_path / "base"),
        method_options={"rank": 2, "trigger": "a|*b*"},
    )
    write_json(run / "config.json", to_json(config))
    return workspace


def test_an_export_is_a_file_of_its_own(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.run_inline(ws, "export", ExportConfig(checkpoint=RUN, format="lora+delta"))
    assert job.state == "succeeded", job.error
    written = exported_file(job.folder)
    assert written is not None and written.name == "first-try-step-20.zip"
    original = ws.root / CHECKPOINT / "pytorch_lora_weights.safetensors"
    with zipfile.ZipFile(written) as packed:
        assert packed.read(f"first-try-step-20/{original.name}") == original.read_bytes()
    monkeypatch.setenv("SDSTUDIO_WORKSPACE", str(ws.root))
    client = TestClient(Starlette(routes=routes()), base_url="http://127.0.0.1")
    answer = client.get(export_url(job.id))
    assert answer.content == written.read_bytes()
    assert answer.headers["content-disposition"] == 'attachment; filename="first-try-step-20.zip"'
    for other in ("gone", "..%2F..", f"..%2Fruns%2F{RUN}"):
        assert client.get(f"/files/exports/{other}").status_code == 404


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ExportConfig(checkpoint=RUN, format="pickle"), "no export named 'pickle'"),
        (ExportConfig(checkpoint="gone", format="lora+delta"), "no checkpoint 'gone'"),
        (ExportConfig(checkpoint=RUN, format="embedding"), "embedding|word"),
        (replace(PUBLISH, repository="no/such/name"), "no name of a model"),
        (replace(PUBLISH, repository=""), "no name of a model"),
        (replace(PUBLISH, format="embedding"), "embedding|word"),
    ],
)
def test_what_cannot_be_taken_out_is_refused_before_the_job(
    ws: Workspace, config: ExportConfig | PublishConfig, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        jobs.submit(ws, "export" if isinstance(config, ExportConfig) else "publish", config)
    assert not ws.tasks.exists() or not list(ws.tasks.iterdir())


def test_a_damaged_checkpoint_is_not_taken_out(ws: Workspace) -> None:
    with (ws.root / CHECKPOINT / "pytorch_lora_weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(UserError, match="damaged"):
        jobs.submit(ws, "export", ExportConfig(checkpoint=CHECKPOINT, format="lora+delta"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as hub:
        hub.add_user("ann", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield hub


def publish(ws: Workspace, config: PublishConfig) -> JobContext:
    context = JobContext(ws, ws.tasks / "publish")
    context.folder.mkdir(parents=True)
    assert run_publish(check_publish(ws, config), context)
    return context


def test_a_published_model_comes_with_its_card(ws: Workspace, server: HubServer) -> None:
    measured(ws)
    context = publish(ws, PUBLISH)
    report = json.loads((context.folder / "report.json").read_text())
    assert report["repository"] == "ann/my-style" and not (context.folder / "upload").exists()
    repository = server.repositories["ann/my-style"]
    assert repository.private
    assert set(repository.files) - {".gitattributes"} == {
        "README.md", "checkpoint.json", "manifest.json", "pytorch_lora_weights.safetensors", "samples/00.png",
        "training_config.json",
    }  # fmt: skip
    assert load(repository.files["pytorch_lora_weights.safetensors"])["unet.lora_A.weight"].sum() == 8 * 20
    card = repository.files["README.md"].decode()
    assert card.startswith('---\nlicense: "openrail"\n') and 'base_model: "owner/base"' in card
    assert "`asim`" in card and r"a \[cat\]\(x\)" in card and r"a\|\*b\*" in card
    assert "0.2000; the base model's is 0.2500" in card
    assert "| This model | 0.300 [0.200, 0.400] (N 8) |" in card and "| Base model | 0.100" in card
    assert FLOOR not in card and TOKEN not in card
    assert not any(str(ws.root.parent).encode() in data for data in repository.files.values()), (
        "a folder of this machine"
    )


def measured(ws: Workspace) -> None:
    """A comparison of the workspace that holds this checkpoint, its base model and the floor."""
    trained = ModelRef(base_model="owner/base", checkpoint=CHECKPOINT, label="mine")
    rows = (
        Row(key="base", label="base", role="base", model=ModelRef(base_model="owner/base"), trigger="", base=""),
        Row(key="mine", label="mine", role="trained", model=trained, trigger="asim", base="base"),
    )
    common = {"metric": "clip_score", "n_generated": 8, "n_reference": 0, "extractor": "clip", "preprocessing": "224"}
    results = (
        MetricResult(model="base", value=0.1, interval=(0.0, 0.2), **common),
        MetricResult(model="mine", value=0.3, interval=(0.2, 0.4), **common),
        MetricResult(model=FLOOR, value=0.9, interval=None, **common),
    )
    evaluation = Evaluation(protocol=Protocol(), protocol_hash="f" * 64, created=1.0, rows=rows, results=results)
    write_json(ws.evaluations / "one/results.json", to_json(evaluation))


def test_what_is_public_on_the_hub_is_not_taken_for_private(ws: Workspace, server: HubServer) -> None:
    publish(ws, replace(PUBLISH, private=False))
    context = JobContext(ws, ws.tasks / "again")
    context.folder.mkdir()
    with pytest.raises(UserError, match="public on the Hub"):
        run_publish(check_publish(ws, PUBLISH), context)

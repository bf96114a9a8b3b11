"""Jobs on a Ray cluster of two nodes on this machine: dashboard on loopback, token needed, telemetry off.

pip install -e '.[ray]' && pytest tests/test_jobs_ray.py -m ray
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import ray_cluster
from jobs_helpers import empty_workspace, plain_pictures, small_lora, stop_all
from jobs_helpers import until as until_within
from PIL import Image

from sdstudio import jobs
from sdstudio.bulk.spreading import LEDGER_FOLDER, Ledger
from sdstudio.jobs.backends.settings import FILE
from sdstudio.jobs.folder import read_state
from sdstudio.models import latest_checkpoint
from sdstudio.pictures.image_folder import read_images
from sdstudio.results import PICTURES_FOLDER, read_evaluation
from sdstudio.schema import (
    CaptionConfig,
    GenerateConfig,
    Job,
    ModelRef,
    Placement,
    Protocol,
    SampleSettings,
    UserError,
)
from sdstudio.workspace import ENV_VAR, Workspace, read_json, write_json

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra is not installed: sdstudio[ray]"),
]
RAY = Placement(backend="ray")
WAIT = 1200.0
until = partial(until_within, seconds=WAIT)
PICTURES, BROKEN, KILLED_AFTER = 1500, 30, 1200


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, ray_cluster.cluster(patch) as dashboard:
        yield dashboard


@pytest.fixture
def ws(tmp_path: Path, address: str) -> Iterator[Workspace]:
    workspace = empty_workspace(tmp_path)
    yield workspace
    stop_all(workspace)


def tell(ws: Workspace, **settings: object) -> None:
    write_json(ws.root / FILE, {"ray": settings})


def steps(job: Job) -> int:
    return sum("loss" in row for row in jobs.read_metrics(job))


def test_a_cluster_is_reached_from_this_machine_alone_and_with_its_token(address: str) -> None:
    assert set(ray_cluster.node_ids(address)) == {"head", "trainer"}
    assert ray_cluster.open_to_others() == []
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{address}/api/jobs/", timeout=10)
    bearer = {"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/usage_stats_enabled", headers=bearer)) as answer:
        assert json.load(answer)["data"]["usageStatsEnabled"] is False


def test_a_job_for_no_cluster_or_with_a_token_is_refused(ws: Workspace, address: str) -> None:
    plain_pictures(ws, 4)
    config = CaptionConfig(dataset="set", only_empty=False)
    with pytest.raises(UserError, match="No Ray cluster is named"):
        jobs.submit(ws, "caption", config, placement=RAY)
    tell(ws, address=address)
    with pytest.raises(UserError, match="token is not handed"):
        jobs.submit(ws, "caption", config, placement=RAY, secrets={"HF_TOKEN": "x"})
    tell(ws, address=f"http://127.0.0.1:{ray_cluster.free_port()}")
    job = jobs.wait(ws, jobs.submit(ws, "caption", config, placement=RAY).id, WAIT)
    assert job.state == "failed" and "refuses this studio" in job.error


def test_training_is_placed_followed_seen_again_and_stopped_with_its_checkpoint(ws: Workspace, address: str) -> None:
    from ray.job_submission import JobSubmissionClient

    plain_pictures(ws, 4)
    tell(ws, address=address, resources={"trainer": 1})
    job = jobs.submit(ws, "train", small_lora(100_000), placement=RAY)
    until(lambda: steps(job) > 2 or jobs.wait(ws, job.id, 0).state == "failed")
    assert jobs.get_job(ws, job.id).state == "running", jobs.read_log(job)
    assert "Training " in jobs.read_log(job)

    (known,) = JobSubmissionClient(address).list_jobs()
    assert job.id in known.submission_id
    assert known.driver_node_id == ray_cluster.node_ids(address)["trainer"]

    supervisor = read_state(job.folder).supervisor
    assert supervisor
    psutil.Process(supervisor.pid).kill()
    seen = steps(job)
    until(lambda: steps(job) > seen + 2)
    listed = another_client(ws)
    assert [(found["id"], found["state"]) for found in listed] == [(job.id, "running")]
    assert len(JobSubmissionClient(address).list_jobs()) == 1

    jobs.stop_job(ws, job.id)
    ended = jobs.wait(ws, job.id, WAIT)
    assert ended.state == "cancelled", (ended.error, jobs.read_log(ended))
    checkpoint = latest_checkpoint(job.folder)
    assert checkpoint and checkpoint.name == f"step-{steps(job):06d}" and checkpoint.name in ended.message
    until(lambda: all(str(found.status.value) == "SUCCEEDED" for found in JobSubmissionClient(address).list_jobs()))


def another_client(ws: Workspace) -> list[dict]:
    """The jobs as another process of the studio sees them."""
    program = "import sys; from sdstudio.cli import main; sys.exit(main(['jobs', 'list', '--json']))"
    environment = {**os.environ, ENV_VAR: str(ws.root)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    listed: list[dict] = json.loads(done.stdout)
    return listed


def kill_worker(ws: Workspace, job: Job, after: int) -> Job:
    """Kill the job's worker once it has done `after` units; the job as it then is."""
    until(lambda: jobs.wait(ws, job.id, 0).done >= after or jobs.get_job(ws, job.id).state == "failed")
    worker = read_state(job.folder).worker
    assert worker, jobs.read_log(job)
    os.kill(worker.pid, signal.SIGKILL)
    killed = jobs.wait(ws, job.id, WAIT)
    assert killed.state == "interrupted", (killed.error, jobs.read_log(killed))
    return killed


def test_bulk_captioning_that_is_killed_goes_on_without_a_duplicate_or_a_loss(ws: Workspace, address: str) -> None:
    store = plain_pictures(ws, PICTURES, captioned=False)
    images = store.images()
    broken = {image.id for image in images[:: PICTURES // BROKEN]}
    for id in broken:
        store.image_path(id).write_bytes(b"not a picture any more")
    tell(ws, address=address, resources={"CPU": 0})
    config = CaptionConfig(dataset="set", options={"num_beams": 1, "max_length": 8, "batch_size": 16})
    job = jobs.submit(ws, "caption", config, placement=RAY)
    began = time.monotonic()
    killed = kill_worker(ws, job, KILLED_AFTER)
    rate = killed.done / (time.monotonic() - began)
    assert KILLED_AFTER <= killed.done < PICTURES

    ended = jobs.wait(ws, jobs.resume_job(ws, job.id).id, WAIT)
    assert ended.state == "succeeded", (ended.error, jobs.read_log(ended))
    ids = Ledger(job.folder / LEDGER_FOLDER).ids().to_pylist()
    assert len(ids) == PICTURES and set(ids) == {image.id for image in images}
    drafts = {image.id: [entry.action for entry in store.history(image.id)].count("draft") for image in images}
    assert {id for id, count in drafts.items() if count == 0} == broken
    assert set(drafts.values()) == {0, 1}
    report = read_json(job.folder / "report.json")
    assert (report["drafted"], len(report["failed"])) == (PICTURES - BROKEN, BROKEN)
    print(f"\n{PICTURES} pictures, {BROKEN} broken, killed at {killed.done}: 0 duplicates, 0 lost, {rate:.0f} a second")


SETTINGS = SampleSettings(steps=2, batch_size=2, seed=7)


def test_bulk_pictures_of_a_killed_job_are_those_that_one_machine_draws(ws: Workspace, address: str) -> None:
    tell(ws, address=address, resources={"CPU": 0})
    config = GenerateConfig(models=[ModelRef()], prompts=["a red square", "a blue dot"], count=40, settings=SETTINGS)
    job = jobs.submit(ws, "generate", config, placement=RAY)
    killed = kill_worker(ws, job, after=20)
    assert 20 <= killed.done < 80
    ended = jobs.wait(ws, jobs.resume_job(ws, job.id).id, WAIT)
    assert ended.state == "succeeded", (ended.error, jobs.read_log(ended))
    images = read_images(job.folder)
    assert len(images) == len({image.file for image in images}) == 80
    alone = jobs.run_inline(ws, "generate", config, echo=False)
    assert pixels(alone.folder) == pixels(job.folder)


def test_a_bulk_comparison_has_the_numbers_of_one_machine(ws: Workspace, address: str) -> None:
    plain_pictures(ws, 40)
    tell(ws, address=address, resources={"CPU": 0})
    protocol = Protocol(
        models=[ModelRef()],
        prompts=["a red square", "a blue dot"],
        seeds=list(range(10)),
        reference="set",
        metrics=["kid", "clip_score"],
        settings=SETTINGS,
    )
    ended = jobs.wait(ws, jobs.submit(ws, "evaluate", protocol, placement=RAY).id, WAIT)
    assert ended.state == "succeeded", (ended.error, jobs.read_log(ended))
    found = read_evaluation(ended.folder)
    assert found.drawn == 0 and len(list(ended.folder.rglob("*.png"))) == 20  # drawn on the cluster, each once
    drawn = pixels(ended.folder / PICTURES_FOLDER / found.rows[0].key)
    shutil.rmtree(ended.folder)
    shutil.rmtree(ws.cache)
    alone = jobs.run_inline(ws, "evaluate", protocol, echo=False)
    assert pixels(alone.folder / PICTURES_FOLDER / found.rows[0].key) == drawn
    assert [result.value for result in read_evaluation(alone.folder).results] == [
        pytest.approx(result.value, rel=1e-5) for result in found.results
    ]


def test_what_a_machine_of_the_cluster_refuses_is_said(ws: Workspace, address: str, tmp_path: Path) -> None:
    plain_pictures(ws, 4, captioned=False)
    tell(ws, address=address, resources={"CPU": 0})
    config = CaptionConfig(dataset="set", options={"model": str(tmp_path)})
    ended = jobs.wait(ws, jobs.submit(ws, "caption", config, placement=RAY).id, WAIT)
    assert ended.state == "failed", jobs.read_log(ended)
    assert "BLIP" in ended.error and str(tmp_path) in ended.error and "unforeseen" not in ended.error


def pixels(folder: Path) -> dict[str, bytes]:
    return {path.name: Image.open(path).tobytes() for path in folder.glob("*.png")}

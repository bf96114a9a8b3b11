"""Jobs on a Ray cluster of two nodes on this machine: dashboard on loopback, token needed, telemetry off.

pip install -e '.[ray]' && pytest tests/test_jobs_ray.py -m ray
"""

import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from sdstudio import jobs
from sdstudio.bulk.spreading import LEDGER_FOLDER, Ledger
from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.jobs.backends.settings import FILE
from sdstudio.jobs.folder import read_state
from sdstudio.models import latest_checkpoint
from sdstudio.schema import CaptionConfig, Job, LoopConfig, Placement, TrainConfig, UserError
from sdstudio.workspace import ENV_VAR, Workspace, read_json, write_json

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra is not installed: sdstudio[ray]"),
]
RAY = Placement(backend="ray")
WAIT = 1200.0
PATIENCE = {
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
    "RAY_health_check_failure_threshold": "100",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_niceness": "0",
}
"""Ray gives up on a machine that is busy with other things."""
PICTURES, BROKEN, KILLED_AFTER = 1500, 30, 1200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The dashboard of a cluster whose second node has the resource `trainer`."""
    port, dashboard = free_port(), free_port()
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        **PATIENCE,
        "OMP_NUM_THREADS": "1",
    }
    start = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"]
    start += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        head = [*start, "--head", f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
        nodes = [node(head, ["--num-cpus=2", f"--temp-dir={folder}"])]
        try:
            until(lambda: answers(f"http://127.0.0.1:{dashboard}/api/version"))
            until(lambda: len(node_ids(f"http://127.0.0.1:{dashboard}")) == 1)
            nodes.append(node(start, [f"--address=127.0.0.1:{port}", "--num-cpus=1", '--resources={"trainer": 1}']))
            until(lambda: len(node_ids(f"http://127.0.0.1:{dashboard}")) == 2)
            yield f"http://127.0.0.1:{dashboard}"
        finally:
            family = [process for each in nodes for process in psutil.Process(each.pid).children(recursive=True)]
            for process in [*nodes, *family]:
                process.kill()
            psutil.wait_procs(family, timeout=30)


def node(command: list[str], options: list[str]) -> subprocess.Popen[bytes]:
    ports = [f"--{name}-port={free_port()}" for name in ("dashboard-agent-listen", "dashboard-agent-grpc")]
    ports += [f"--{name}-port={free_port()}" for name in ("runtime-env-agent", "metrics-export")]
    return subprocess.Popen([*command, *options, *ports], stdout=subprocess.DEVNULL)


def node_ids(address: str) -> dict[str, str]:
    """The ids of the cluster's living nodes: that with the resource `trainer`, and the head."""
    from ray.util.state import list_nodes

    alive = [each for each in list_nodes(address=address) if each.state == "ALIVE"]
    return {"trainer" if "trainer" in each.resources_total else "head": str(each.node_id) for each in alive}


def answers(url: str) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"})
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False


def until(what: Callable[[], bool], seconds: float = WAIT) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def ws(tmp_path: Path, address: str) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    return workspace


def tell(ws: Workspace, **settings: object) -> None:
    write_json(ws.root / FILE, {"ray": settings})


def draw(ws: Workspace, tmp_path: Path, count: int) -> DatasetStore:
    store = create_dataset(ws, "set")
    for index in range(count):
        path = tmp_path / "picture.png"
        Image.new("RGB", (64, 64), (index % 256, index // 256, 90)).save(path)
        store.add(path.read_bytes(), f"{index}.png", f"asim. plain picture {index}" if count < 10 else "")
    return store


def steps(job: Job) -> int:
    return sum("loss" in row for row in jobs.read_metrics(job))


def test_a_cluster_refuses_who_has_no_token(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{address}/api/jobs/", timeout=10)


def test_a_job_for_no_cluster_or_with_a_token_is_refused(ws: Workspace, tmp_path: Path, address: str) -> None:
    draw(ws, tmp_path, 4)
    config = CaptionConfig(dataset="set", only_empty=False)
    with pytest.raises(UserError, match="No Ray cluster is named"):
        jobs.submit(ws, "caption", config, placement=RAY)
    tell(ws, address=address)
    with pytest.raises(UserError, match="token is not handed"):
        jobs.submit(ws, "caption", config, placement=RAY, secrets={"HF_TOKEN": "x"})
    tell(ws, address=f"http://127.0.0.1:{free_port()}")
    job = jobs.wait(ws, jobs.submit(ws, "caption", config, placement=RAY).id, WAIT)
    assert job.state == "failed" and "refuses this studio" in job.error


def test_training_is_placed_followed_seen_again_and_stopped_with_its_checkpoint(
    ws: Workspace, tmp_path: Path, address: str
) -> None:
    from ray.job_submission import JobSubmissionClient

    draw(ws, tmp_path, 4)
    tell(ws, address=address, resources={"trainer": 1})
    loop = LoopConfig(steps=100_000, batch_size=1, sample_every=0, checkpoint_every=1000, seed=3)
    config = TrainConfig(dataset="set", method="lora", method_options={"rank": 2}, loop=loop)
    job = jobs.submit(ws, "train", config, placement=RAY)
    until(lambda: steps(job) > 2 or jobs.wait(ws, job.id, 0).state == "failed")
    assert jobs.get_job(ws, job.id).state == "running", jobs.read_log(job)
    assert "Training " in jobs.read_log(job)

    (known,) = JobSubmissionClient(address).list_jobs()
    assert job.id in known.submission_id
    assert known.driver_node_id == node_ids(address)["trainer"]

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


def test_bulk_captioning_that_is_killed_goes_on_without_a_duplicate_or_a_loss(
    ws: Workspace, tmp_path: Path, address: str
) -> None:
    store = draw(ws, tmp_path, PICTURES)
    images = store.images()
    broken = {image.id for image in images[:: PICTURES // BROKEN]}
    for id in broken:
        store.image_path(id).write_bytes(b"not a picture any more")
    tell(ws, address=address, resources={"CPU": 0})
    config = CaptionConfig(dataset="set", options={"num_beams": 1, "max_length": 8, "batch_size": 16})
    job = jobs.submit(ws, "caption", config, placement=RAY)
    began = time.monotonic()
    until(lambda: jobs.wait(ws, job.id, 0).done >= KILLED_AFTER)
    rate = KILLED_AFTER / (time.monotonic() - began)
    worker = read_state(job.folder).worker
    assert worker
    os.kill(worker.pid, signal.SIGKILL)
    killed = jobs.wait(ws, job.id, WAIT)
    assert killed.state == "interrupted" and KILLED_AFTER <= killed.done < PICTURES, (killed, jobs.read_log(killed))

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

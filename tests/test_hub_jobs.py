"""Jobs that talk to the Hub, as real processes: the token is nowhere to be found, and what was pushed comes back."""

import io
import json
import subprocess
import sys
import time
from hashlib import sha256

import pytest
from canary import Watch, assert_nowhere
from hub_server import HubServer, Refused
from PIL import Image

from sdstudio import cli
from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.jobs import read_log, resume_job, submit, wait
from sdstudio.jobs.devices import NETWORK
from sdstudio.jobs.locks import device_lock
from sdstudio.schema import CaptionSetting, ImportConfig, PushConfig, TryCaptionsConfig, UserError
from sdstudio.workspace import Workspace, read_json

TOKEN = "hf_canary_9f3e7b"
HANDED = "hf_canary_handed_a2"  # in no environment of the tests beside this one
LOAD = """
import datasets, hashlib, json, sys
rows = datasets.load_dataset(sys.argv[1], split="train").cast_column("image", datasets.Image(decode=False))
found = {}
for row in rows:
    data = row["image"]["bytes"] or open(row["image"]["path"], "rb").read()
    found[hashlib.sha256(data).hexdigest()] = row["text"]
print(json.dumps(found))
"""


@pytest.fixture(params=["xet"])
def server(monkeypatch, tmp_path, request):
    """A Hub that large files go to through xet, as they do when nothing is set, or through the older LFS protocol."""
    with HubServer(part_size=20_000) as server:
        server.add_user("ann", TOKEN)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1" if request.param == "lfs" else "")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


@pytest.fixture
def ws(tmp_path):
    (tmp_path / "workspace").mkdir()
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(ws):
    store = create_dataset(ws, "set")
    for index in range(5):
        buffer = io.BytesIO()
        Image.effect_noise((64, 64), 20 + index).convert("RGB").save(buffer, "PNG")
        store.add(buffer.getvalue(), f"{index}.png", f"caption {index}, naïve 猫" if index else "")
    return store


both_ways = pytest.mark.parametrize("server", ["xet", pytest.param("lfs", marks=pytest.mark.slow)], indirect=True)


@both_ways
def test_a_handed_over_token_is_nowhere_and_the_pushed_set_comes_back(server, ws, store, tmp_path):
    server.add_user("ann", HANDED)
    stored = {image.id: image.caption for image in store.images()}
    server.fault = lambda method, path: bool(time.sleep(0.05))  # long enough to be looked at
    with Watch() as watch:
        config = PushConfig(dataset="set", repository="set", license="cc-by-4.0")
        job = wait(ws, submit(ws, "push", config, secrets={"HF_TOKEN": HANDED}).id, timeout=120)
        assert job.state == "succeeded", job.error + read_log(job)
        assert (job.done, job.total) == (5, 5)
        assert server.repositories["ann/set"].private
        parts, xorbs = server.count("PUT", "/part/"), server.count("POST", "/xet/v1/xorbs/")
        assert (parts > 2) != (xorbs > 0)
        assert server.count("POST", "telemetry") == 0

        place = ImportConfig(dataset="back", folder="ann/set")
        back = wait(ws, submit(ws, "import", place, secrets={"HF_TOKEN": HANDED}).id, timeout=120)
        assert back.state == "succeeded", back.error + read_log(back)
    assert {image.id: image.caption for image in open_dataset(ws, "back").images()} == stored
    watch.assert_not_shown(HANDED)
    assert_nowhere(HANDED, tmp_path)


@pytest.mark.parametrize(("server", "format"), [("xet", "imagefolder"), ("lfs", "parquet")], indirect=["server"])
def test_what_was_pushed_loads_through_datasets(server, ws, store, monkeypatch, format):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    config = PushConfig(dataset="set", repository="set", format=format)
    job = wait(ws, submit(ws, "push", config).id, timeout=120)
    assert job.state == "succeeded", job.error + read_log(job)
    loaded = subprocess.run([sys.executable, "-c", LOAD, "ann/set"], capture_output=True, text=True, timeout=120)
    assert loaded.returncode == 0, loaded.stderr
    expected = {sha256(store.image_path(image.id).read_bytes()).hexdigest(): image.caption for image in store.images()}
    assert json.loads(loaded.stdout) == expected


def test_a_wrong_token_fails_the_job_with_one_sentence_and_stays_nowhere(server, ws, store, tmp_path):
    wrong = "hf_wrong_canary_77"
    config = PushConfig(dataset="set", repository="set")
    job = wait(ws, submit(ws, "push", config, secrets={"HF_TOKEN": wrong}).id, timeout=120)
    assert (job.state, job.error.split(";")[0]) == ("failed", "The Hub does not accept the token")
    assert read_json(job.folder / "report.json")["error"] == job.error
    again = wait(ws, resume_job(ws, job.id, secrets={"HF_TOKEN": TOKEN}).id, timeout=120)
    assert (again.state, again.id) == ("succeeded", job.id)
    without = wait(ws, submit(ws, "push", config).id, timeout=120)
    assert without.error.startswith("There is no token for the Hub")
    assert_nowhere(wrong, tmp_path)
    assert_nowhere(TOKEN, tmp_path)


def test_a_push_goes_on_after_the_large_files_were_refused_or_the_connection_broke(server, ws, store, monkeypatch):
    def refuses(method, path):
        if "xet-write-token" in path:
            raise Refused(403)

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
    server.fault = refuses
    job = wait(ws, submit(ws, "push", PushConfig(dataset="set", repository="set")).id, timeout=120)
    assert job.error.startswith("The token may not change the dataset ann/set;")
    assert job.error.endswith("push again, and it goes on from there.")
    server.fault = lambda method, path: "/xorbs/" in path
    job = wait(ws, resume_job(ws, job.id).id, timeout=120)
    assert job.error.startswith(f"The Hub ({server.url}) is not in reach")
    assert set(server.repositories["ann/set"].files) == {".gitattributes"}  # no half of a set
    server.fault = lambda method, path: False
    assert wait(ws, resume_job(ws, job.id).id, timeout=120).state == "succeeded"
    assert len(server.repositories["ann/set"].files) == 3


def test_a_job_with_a_secret_waits_for_its_place_by_itself(server, ws, store):
    config = PushConfig(dataset="set", repository="set")
    with device_lock(ws, NETWORK):
        job = submit(ws, "push", config, secrets={"HF_TOKEN": TOKEN})
        assert job.state == "starting"
        waiting = next(found for _ in range(90) if (found := wait(ws, job.id, timeout=1)).message)
        assert waiting.state == "starting" and waiting.message.startswith("waits: network is used")
    assert wait(ws, job.id, timeout=120).state == "succeeded"


def test_a_push_that_cannot_succeed_leaves_no_folder(ws, store):
    with pytest.raises(UserError, match="cannot name a repository"):
        submit(ws, "push", PushConfig(dataset="set", repository="a/b/c"))
    with pytest.raises(UserError, match="choose one of"):
        submit(ws, "push", PushConfig(dataset="set", repository="x", license="beer"))
    assert not ws.tasks.exists()


def test_trying_is_a_job_too(ws, store):
    from sdstudio.datasets.trying import read_tries

    ids = [image.id for image in store.images()[:1]]
    settings = [CaptionSetting(options={"max_length": 5, "num_beams": 1})]
    job = wait(ws, submit(ws, "try", TryCaptionsConfig(dataset="set", ids=ids, settings=settings)).id, timeout=120)
    assert job.state == "succeeded", job.error + read_log(job)
    assert [bool(row.caption) for row in read_tries(job.folder)] == [True]
    with pytest.raises(UserError, match="no captioner"):
        submit(ws, "try", TryCaptionsConfig(dataset="set", ids=ids, settings=[CaptionSetting(captioner="parrot")]))


def test_the_command_lists_then_sends(server, ws, store, monkeypatch, capsys):
    monkeypatch.setenv("SDSTUDIO_WORKSPACE", str(ws.root))
    monkeypatch.setattr(cli, "install_starter", lambda ws: None)
    command = ["dataset", "push", "set", "set", "--license", "mit", "--json"]
    assert cli.main([*command, "--dry-run"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [file["path"] for file in plan["files"]] == ["data/train-00000-of-00001.parquet", "README.md"]
    assert (plan["private"], plan["pictures"], server.log) == (True, 5, [])
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert cli.main([*command, "--detach"]) == 0
    job = wait(ws, json.loads(capsys.readouterr().out)["id"], timeout=120)
    assert job.state == "succeeded", job.error
    assert set(server.repositories["ann/set"].files) == {".gitattributes", *(file["path"] for file in plan["files"])}

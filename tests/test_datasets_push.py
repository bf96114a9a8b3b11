"""Pushing to a Hub on this machine with the real client: what arrives, what resumes, and what is said when it fails."""

import io
import re
import time
from types import SimpleNamespace

import pytest
from hub_server import HubServer, Repository
from PIL import Image

from sdstudio import hub
from sdstudio.datasets import create_dataset, export_dataset
from sdstudio.datasets.push import plan_push, run_push
from sdstudio.jobs.context import JobContext
from sdstudio.schema import PushConfig, UserError
from sdstudio.workspace import Workspace, read_json

TOKEN = "hf_canary_9f3e7b"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub with ann, who belongs to the organisation lab; the client of this process talks to it as ann."""
    with HubServer() as server:
        server.add_user("ann", TOKEN, organizations=("lab",))
        server.add_user("reader", "hf_reader", role="read")
        talk_to(server.url, monkeypatch, tmp_path)
        yield server


def talk_to(url, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", url)
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(f"{constants}.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    quick = SimpleNamespace(sleep=lambda seconds: None, time=time.time)
    monkeypatch.setattr("huggingface_hub.utils._http.time", quick)


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(ws):
    store = create_dataset(ws, "set", "Ann's pictures")
    for index in range(6):
        buffer = io.BytesIO()
        Image.effect_noise((24, 24), 10 + index).convert("RGB").save(buffer, "PNG")
        store.add(buffer.getvalue(), f"deep/{index}.png", f"caption {index}, naïve 猫" if index % 3 else "")
    first = store.images()[1]
    store.set_caption(first.id, "Ann's words", "person:ann", first.version)
    return store


def push(ws, repository="set", **settings):
    """Push and return (the job's report, the error or '')."""
    folder = ws.root / "tasks" / f"push-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    said = ""
    try:
        run_push(PushConfig(dataset="set", repository=repository, **settings), JobContext(ws, folder))
    except UserError as error:
        said = str(error)
    assert not (folder / "upload").exists()
    report = SimpleNamespace(**read_json(folder / "report.json"))
    assert report.error == said
    return report, said


@pytest.mark.parametrize("format", ["parquet", "imagefolder"])
def test_exactly_what_was_planned_arrives_and_it_is_private(server, ws, store, tmp_path, format):
    config = PushConfig(dataset="set", repository="set", format=format, license="cc-by-4.0")
    plan = plan_push(ws, config)
    assert server.log == []  # a dry run asks nobody
    report, said = push(ws, format=format, license="cc-by-4.0")
    assert (said, report.repository, report.url) == ("", "ann/set", f"{server.url}/datasets/ann/set")
    there = server.repositories["ann/set"]
    assert there.private
    assert set(there.files) == {".gitattributes", *(file.path for file in plan.files)}
    assert there.files["README.md"].decode() == plan.card
    export_dataset(ws, "set", tmp_path / "out", format)
    folder = tmp_path / "out" / ("data" if format == "parquet" else "")
    for path in folder.rglob("*.*"):
        assert there.files[f"data/{path.relative_to(folder).as_posix()}"] == path.read_bytes()
    assert (len(there.commits), report.commit, report.pictures) == (2, there.sha, 6)
    if format == "imagefolder":
        assert [file.size for file in plan.files] == [len(there.files[file.path]) for file in plan.files]


def test_the_card_counts_and_carries_the_licence(ws, store):
    import yaml

    card = plan_push(ws, PushConfig(dataset="set", repository="ann/set", license="cc0-1.0")).card
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["tags"], front["size_categories"]) == ("cc0-1.0", ["sd-studio"], ["n<1K"])
    assert front["dataset_info"]["splits"][0]["num_examples"] == 6
    for line in ("Ann's pictures", "| Pictures | 6 |", "| With a caption | 4 |", "wrote or approved | 1 |"):
        assert line in card
    assert "Licence: `cc0-1.0`." in card
    assert "license" not in plan_push(ws, PushConfig(dataset="set", repository="x")).card.split("---\n")[1]


def test_large_files_go_in_parts(server, ws, store):
    server.part_size = 2000
    assert push(ws)[1] == ""
    assert server.count("PUT", "/part/") > 3
    assert server.count("POST", "/complete") == 1


def test_a_large_set_goes_in_small_files_and_each_is_told(server, ws, store, monkeypatch):
    """The files grow with a set that would else need too many of them."""
    heard = []
    monkeypatch.setattr("sdstudio.datasets.push.BYTES_AT_ONCE", 1)
    monkeypatch.setattr(JobContext, "progress", lambda self, *said: heard.append(said))
    plan = plan_push(ws, PushConfig(dataset="set", repository="set"))
    assert [len(file.rows) for file in plan.files] == [1] * 6 + [0]
    assert push(ws)[1] == ""
    assert [said[0] for said in heard if "on the way" in said[3]] == [0, 1, 2, 3, 4, 5]
    sizes = [float(said[3].split()[0]) for said in heard if said[3].endswith("sent")]
    assert sizes == sorted(set(sizes))
    assert heard[-1] == (6, 6, "pictures", heard[-1][3])
    monkeypatch.setattr("sdstudio.datasets.push.SHARDS", 1)
    assert [len(file.rows) for file in plan_push(ws, PushConfig(dataset="set", repository="set")).files] == [6, 0]


def test_the_owner_is_the_tokens_or_an_organisation_of_theirs(server, ws, store):
    assert push(ws, "lab/set")[0].repository == "lab/set"
    _, said = push(ws, "stranger/set")
    assert "may not change the dataset stranger/set" in said
    assert set(server.repositories) == {"lab/set"}


def test_an_organisation_may_be_public_only_when_said(server, ws, store):
    push(ws, "lab/set", private=False)
    assert not server.repositories["lab/set"].private
    _, said = push(ws, "lab/set")
    assert "lab/set is public on the Hub" in said
    assert push(ws, "lab/set", private=False)[1] == ""


# ---------------------------------------------------------------- what is said


def test_a_wrong_token_is_said(server, ws, store, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    _, said = push(ws)
    assert said.startswith("The Hub does not accept the token; make a new one")
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert push(ws)[1].startswith("The token may only read;")
    monkeypatch.delenv("HF_TOKEN")
    assert push(ws)[1].startswith("There is no token for the Hub:")
    assert server.repositories == {}


def test_no_network_is_said_within_seconds(ws, store, monkeypatch, tmp_path):
    talk_to("http://127.0.0.1:9", monkeypatch, tmp_path)
    began = time.monotonic()
    _, said = push(ws)
    assert said == "The Hub (http://127.0.0.1:9) is not in reach; check the network and try again."
    assert time.monotonic() - began < hub.REACH_SECONDS + 3
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    from huggingface_hub.utils import close_session

    close_session()
    assert "HF_HUB_OFFLINE" in push(ws)[1]
    close_session()


def test_a_name_that_is_taken_is_not_written_over(server, ws, store):
    files = {"README.md": b"# mine", "keep.csv": b"a,b"}
    server.repositories["ann/taken"] = Repository(True, dict(files))
    report, said = push(ws, "ann/taken")
    assert said.startswith("There already is a dataset ann/taken on the Hub that did not come from 'set'")
    assert server.repositories["ann/taken"].files == files
    report, said = push(ws, "ann/taken", replace=True)
    assert (said, report.deleted) == ("", ["keep.csv"])
    assert "keep.csv" not in server.repositories["ann/taken"].files


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", "ann/a--b", "ann/x.git", "ann/ x", "ann/naïve"])
def test_names_that_the_hub_does_not_take_are_said(ws, store, name):
    with pytest.raises(UserError, match="cannot name a repository"):
        plan_push(ws, PushConfig(dataset="set", repository=name))


def test_too_many_files_for_the_hub_are_said_before(ws, store, monkeypatch):
    monkeypatch.setattr("sdstudio.datasets.push.FILES_A_FOLDER", 6)
    plan_push(ws, PushConfig(dataset="set", repository="set"))
    with pytest.raises(UserError, match="deep would hold 6 pictures"):
        plan_push(ws, PushConfig(dataset="set", repository="set", format="imagefolder"))


# ---------------------------------------------------------------- going on


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr("sdstudio.datasets.push.FILES_AT_ONCE", 2)


def test_a_push_goes_on_where_the_connection_broke(server, ws, store, small_batches):
    def breaks(method, path):
        return bool(re.match("/lfs/[0-9a-f]{64}$", path)) and len(server.stored) >= 3

    server.fault = breaks
    report, said = push(ws, format="imagefolder")
    assert said.startswith(f"The Hub ({server.url}) is not in reach")
    assert said.endswith("What was sent stays there; push again, and it goes on from there.")
    assert (report.sent, report.commit) == (2, "")
    assert set(server.repositories["ann/set"].files) == {".gitattributes"}  # no half of a set
    server.fault = lambda method, path: False
    stored = set(server.stored)
    server.log.clear()
    assert push(ws, format="imagefolder")[1] == ""
    assert server.count("PUT", "/lfs/") == 6 - len(stored)
    assert len(server.repositories["ann/set"].files) == 6 + 3


def test_a_connection_that_comes_back_needs_no_second_push(server, ws, store):
    left = iter(range(3))
    server.fault = lambda method, path: method == "PUT" and next(left, None) is not None
    assert push(ws)[1] == ""
    assert next(left, None) is None
    assert server.count("PUT", "/lfs/") == 4


def test_many_pictures_take_several_commits_and_a_broken_one_is_gone_on_with(
    server, ws, store, small_batches, monkeypatch
):
    monkeypatch.setattr("sdstudio.datasets.push.FILES_A_COMMIT", 2)
    server.log.clear()
    server.fault = lambda method, path: "/commit/" in path and server.count("POST", "/commit/") == 3
    report, said = push(ws, format="imagefolder")
    assert said
    assert server.repositories["ann/set"].commits[1:] == ["2 of 6 pictures", "4 of 6 pictures"]
    server.log.clear()
    report, said = push(ws, format="imagefolder")
    assert (said, report.already_there, report.sent) == ("", 4, 2)
    assert server.count("PUT", "/lfs/") == 0


def test_a_second_push_sends_only_what_changed(server, ws, store):
    push(ws, format="imagefolder")
    server.log.clear()
    report, said = push(ws, format="imagefolder")
    assert (said, report.already_there, report.commit) == ("", 6, server.repositories["ann/set"].sha)
    assert server.count("POST", "/commit/") == 0
    image = store.images()[0]
    store.set_caption(image.id, "new words", "person:ann", image.version)
    report, said = push(ws, format="imagefolder")
    assert server.count("PUT", "/lfs/") == 0
    assert server.count("POST", "/commit/") == 1
    assert "new words" in server.repositories["ann/set"].files["data/metadata.jsonl"].decode()


def test_another_format_takes_the_earlier_files_away(server, ws, store):
    push(ws)
    report, said = push(ws, format="imagefolder")
    assert (said, report.deleted) == ("", ["data/train-00000-of-00001.parquet"])
    assert not [path for path in server.repositories["ann/set"].files if path.endswith(".parquet")]


def test_a_stopped_push_goes_on(server, ws, store, small_batches, monkeypatch):
    asked = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(JobContext, "should_stop", lambda self: next(asked))
        report, said = push(ws, format="imagefolder")
    assert (said, report.stopped, report.sent) == ("", True, 2)
    report, said = push(ws, format="imagefolder")
    assert (said, report.stopped, server.count("PUT", "/lfs/")) == ("", False, 6)


def test_an_empty_or_missing_dataset_is_said(ws, store):
    create_dataset(ws, "empty")
    with pytest.raises(UserError, match="no pictures to export"):
        plan_push(ws, PushConfig(dataset="empty", repository="x"))
    with pytest.raises(UserError, match="no dataset 'nowhere'"):
        plan_push(ws, PushConfig(dataset="nowhere", repository="x"))

"""The addresses that hand out pictures: pytest tests/test_picture_routes.py"""

import tomllib
from collections.abc import Iterator

import pytest
from cats import four_cats, picture
from starlette.applications import Starlette
from starlette.testclient import TestClient
from studio_pages import ROOT

from sdstudio import jobs
from sdstudio.datasets import DatasetStore
from sdstudio.schema import GenerateConfig
from sdstudio.ui import files
from sdstudio.workspace import Workspace


@pytest.fixture
def workspace(quiet_workspace: Workspace) -> Workspace:
    return quiet_workspace


@pytest.fixture
def store(workspace: Workspace) -> DatasetStore:
    return four_cats(workspace)


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=files.routes()), base_url="http://127.0.0.1") as client:
        yield client


def test_pictures_and_thumbnails_are_served_by_sha256(store: DatasetStore, client: TestClient) -> None:
    image = store.images()[0]
    store.add(picture(3, 600), "large.png")
    large = store.images()[-1]
    whole, thumb = client.get(files.picture_url("cats", image.id)), client.get(files.thumb_url("cats", large.id))
    assert whole.status_code == 200 and whole.headers["content-type"] == "image/png"
    assert whole.content == store.image_path(image.id).read_bytes()
    assert thumb.status_code == 200 and thumb.headers["content-type"] == "image/jpeg"
    assert "immutable" in thumb.headers["cache-control"]


def test_tokens_are_counted_while_a_caption_is_written(store: DatasetStore, client: TestClient) -> None:
    url = files.tokens_url("cats")
    few, many = client.post(url, content="a cat").json(), client.post(url, content="a cat " * 100).json()
    assert (few["count"], few["cut"]) == (4, "") and few["limit"] == many["limit"] == store.tokenizer().limit
    assert many["count"] == 202 and many["cut"].endswith("a cat ")
    assert client.post(files.tokens_url("dogs"), content="a dog").status_code == 404
    assert client.post(url, content="x" * 200_000).status_code == 413
    assert client.post(url, content="a cat", headers={"host": "evil.example"}).status_code == 403


def test_only_pictures_of_jobs_are_served(workspace: Workspace, store: DatasetStore, client: TestClient) -> None:
    job = jobs.submit(workspace, "generate", GenerateConfig(prompts=["a cat"]))
    (job.folder / "one two.png").write_bytes(picture(1))
    assert client.get(files.job_png_url(workspace, job.folder / "one two.png")).content == picture(1)
    (job.folder / "link.png").symlink_to(store.folder / "captions.db")
    secret = f"/files/images/{job.id}"
    for path in (
        f"{secret}/config.json",
        f"{secret}/link.png",
        f"{secret}/missing.png",
        f"{secret}/..%2f..%2fdatasets%2fcats%2fcaptions.db",
        f"/files/thumbs/cats/{'0' * 64}",
        "/files/pictures/cats/..%2f..%2fcaptions.db",
        "/files/pictures/..%2fcats/x",
        "/files/tasks/x/y.png",
        "/files/datasets/cats/images/x.png",
    ):
        assert client.get(path).status_code == 404, path


def test_a_foreign_host_name_gets_no_picture(store: DatasetStore, client: TestClient) -> None:
    url = files.thumb_url("cats", store.images()[0].id)
    assert client.get(url, headers={"host": "evil.example"}).status_code == 403


def test_the_defaults_are_safe() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    server = config["server"]
    assert server["address"] == "127.0.0.1" and set(server["allowedHosts"]) == {"127.0.0.1", "localhost"}
    assert server["enableXsrfProtection"] and server["xsrfCookieSameSite"] == "strict"
    assert server["fileWatcherType"] == "none" and server["headless"] and server["maxUploadSize"] == 50
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"

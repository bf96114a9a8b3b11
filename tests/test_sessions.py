"""Many people at once on one page of thumbnails, each a session of the real server.

pytest -m slow tests/test_sessions.py
"""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from conftest import Studio
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from sdstudio.datasets import PERSON, DatasetStore, create_dataset
from sdstudio.workspace import Workspace

SESSIONS, THUMBNAILS, ROUNDS = 25, 48, 3
PATIENCE = 600.0
"""Seconds for one page, on however busy a machine."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "studio")


@pytest.fixture
def store(workspace: Workspace) -> DatasetStore:
    """A dataset that fills one page."""
    store = create_dataset(workspace, "crowd")
    for number in range(THUMBNAILS):
        memory = io.BytesIO()
        Image.effect_noise((64, 64), 20 + number).convert("RGB").save(memory, "PNG")
        store.add(memory.getvalue(), f"{number:02}.png", "a cat")
    return store


def page_of(connection: ClientConnection) -> list[bytes]:
    """What the server sends for the dataset's page until its script has ended; an AssertionError if that failed."""
    asked = BackMsg()
    asked.rerun_script.page_name, asked.rerun_script.query_string = "annotate", "dataset=crowd"
    connection.send(asked.SerializeToString())
    parts: list[bytes] = []
    message = ForwardMsg()
    while message.WhichOneof("type") != "script_finished":
        part = connection.recv(timeout=PATIENCE)
        assert isinstance(part, bytes)
        parts.append(part)
        message.ParseFromString(part)
        assert message.delta.new_element.WhichOneof("type") not in ("exception", "alert"), message
    assert message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY, message
    return parts


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_25_sessions_at_once_see_every_thumbnail_while_one_saves(studio: Studio, store: DatasetStore) -> None:
    ids = [image.id for image in store.images()]
    together = threading.Barrier(SESSIONS + 1)

    def visit(number: int) -> int:
        try:
            return session(number)
        except BaseException:
            together.abort()  # nobody waits for who has failed
            raise

    def session(number: int) -> int:
        """The page and all its pictures, as often as there are rounds; how many pictures were seen."""
        seen, told = 0, b""
        stream = f"ws://127.0.0.1:{studio.port}/_stcore/stream"
        with (
            connect(
                stream, subprotocols=["streamlit"], max_size=None, open_timeout=PATIENCE, ping_interval=None
            ) as connection,
            httpx2.Client(base_url=studio.address, timeout=PATIENCE) as pictures,
        ):
            for _ in range(ROUNDS):
                together.wait(PATIENCE)
                told += b"".join(page_of(connection))  # what the browser has already is only referred to
                assert not [id for id in ids if id.encode() not in told], f"session {number} lacks pictures"
                for id in ids:
                    answer = pictures.get(f"/files/thumbs/crowd/{id}")
                    assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/"), number
                    seen += 1
        return seen

    edited = store.image(ids[0])
    with ThreadPoolExecutor(SESSIONS) as people:
        visits = [people.submit(visit, number) for number in range(SESSIONS)]
        for turn in range(ROUNDS):
            with suppress(threading.BrokenBarrierError):
                together.wait(PATIENCE)
            edited = store.set_caption(edited.id, f"a dog, {turn}", PERSON, edited.version)
        assert [visit.result() for visit in visits] == [ROUNDS * THUMBNAILS] * SESSIONS
    assert store.image(ids[0]).caption == f"a dog, {ROUNDS - 1}"

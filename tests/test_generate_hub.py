"""Pictures while a person waits: progress, cancel, two tabs, a lent device, and nothing announced that is lost.

pytest tests/test_generate_hub.py
"""

import gc
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tiny_models import build

from sdstudio.engine import drawing
from sdstudio.interactive import HANDFUL, Batch, GenerationHub
from sdstudio.jobs.devices import compute_devices
from sdstudio.jobs.locks import Lease, holder
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import GenerateConfig, ModelRef, SampleSettings, UserError
from sdstudio.workspace import Workspace

SOON = 60.0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in ("sd1", "sd2"):
        build(kind, root / kind)
    return root


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def hub(ws: Workspace) -> Iterator[GenerationHub]:
    hub = GenerationHub(ws)
    yield hub
    hub.close()


def config(tiny: Path, prompts: list[str], count: int = 1, kinds: tuple[str, ...] = ("sd1",), **settings: object):
    return GenerateConfig(
        models=[ModelRef(base_model=str(tiny / kind), label=kind) for kind in kinds],
        prompts=prompts,
        count=count,
        settings=SampleSettings(**{"steps": 2, "batch_size": 2, **settings}),
    )


def ended(hub: GenerationHub, batch: Batch) -> Batch:
    found = hub.wait(batch.id, SOON)
    assert found is not None and not found.is_live
    return found


def watch(monkeypatch: pytest.MonkeyPatch, on_step) -> None:
    """Call `on_step(step)` within the thread that draws, before each step is told."""
    draw_with = drawing.draw_with

    def watched(*given, on_step=None, **named):
        def told(step, steps, estimate):
            own(step)
            on_step(step, steps, estimate)

        return draw_with(*given, on_step=told, **named)

    own = on_step
    monkeypatch.setattr(drawing, "draw_with", watched)


def test_a_batch_is_drawn_model_by_model_and_every_picture_saved(hub: GenerationHub, tiny: Path) -> None:
    asked = config(tiny, ["a toy", ""], count=3, kinds=("sd1", "sd2"), seed=5)
    batch = ended(hub, hub.ask(asked))
    assert (batch.state, batch.message, batch.share) == ("done", "", 1.0)
    assert [(image.model.label, image.prompt, image.seed) for image in batch.images] == [
        (kind, prompt, seed) for kind in ("sd1", "sd2") for prompt in ("a toy", "") for seed in (5, 6, 7)
    ]
    assert read_images(batch.folder) == list(batch.images)


def test_the_same_settings_make_the_same_bytes(hub: GenerationHub, ws: Workspace, tiny: Path) -> None:
    asked = config(tiny, ["a toy"], count=2, seed=-1)
    first = ended(hub, hub.ask(asked))
    assert first.config.settings.seed >= 0
    between = ended(hub, hub.ask(config(tiny, ["a cat"], kinds=("sd2",))))
    again = ended(hub, hub.ask(first.config))
    assert between.state == again.state == "done"
    for one, other in zip(first.images, again.images, strict=True):
        assert (first.folder / one.file).read_bytes() == (again.folder / other.file).read_bytes()


def test_how_far_it_is_can_be_seen_from_any_tab(
    hub: GenerationHub, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Batch] = []
    watch(monkeypatch, lambda step: seen.append(hub.batches()[0]))
    batch = ended(hub, hub.ask(config(tiny, ["a toy"], count=4, steps=5)))
    assert [(now.state, now.drawing, now.step, len(now.images)) for now in seen[1:5]] == [
        ("drawing", 2, step, 0) for step in (1, 2, 3, 4)
    ]
    shares = [now.share for now in seen]
    assert shares == sorted(shares) and shares[-1] < 1 == batch.share
    assert seen[2].seconds_left > 0 and len(seen[1].forming) == 2 and batch.forming == ()
    assert seen[1].forming[0].startswith(b"\x89PNG")


def test_cancel_ends_within_two_steps_and_keeps_what_is_finished(
    hub: GenerationHub, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def on_step(step: int) -> None:
        told.append(step)
        if len(told) == 30 + 3:
            hub.cancel(hub.batches()[0].id)

    watch(monkeypatch, on_step)
    batch = ended(hub, hub.ask(config(tiny, ["a toy"], count=3, steps=30)))
    assert batch.state == "stopped" and batch.message == "Stopped; 2 pictures of 3 drawn."
    assert len(told) <= 30 + 5 and len(read_images(batch.folder)) == 2
    assert ended(hub, hub.ask(config(tiny, ["a toy"]))).state == "done"


def test_stop_after_these_finishes_what_is_in_hand(
    hub: GenerationHub, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(monkeypatch, lambda step: hub.finish_these(hub.batches()[0].id))
    batch = ended(hub, hub.ask(config(tiny, ["a toy"], count=5)))
    assert batch.state == "stopped" and len(batch.images) == 2


def test_a_waiting_batch_can_be_cancelled_and_the_others_keep_their_order(
    hub: GenerationHub, ws: Workspace, tiny: Path
) -> None:
    other = Lease(ws, compute_devices()[:1], "the job asim")
    assert other.acquire()
    first, second, third = (hub.ask(config(tiny, [prompt])) for prompt in ("a", "b", "c"))
    deadline = time.monotonic() + SOON
    while not hub.batch(first.id).message and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "is used by the job asim: these pictures begin when it ends" in hub.batch(first.id).message
    hub.cancel(second.id)
    hub.cancel(first.id)
    assert ended(hub, second).message == "Cancelled before it began." == ended(hub, first).message
    other.release()
    assert ended(hub, third).state == "done" and hub.batch(first.id).images == ()


def test_the_device_is_lent_to_a_job_that_waits_and_taken_back(hub: GenerationHub, ws: Workspace, tiny: Path) -> None:
    device = compute_devices()[0]
    ended(hub, hub.ask(config(tiny, ["a"])))
    assert "Generate page" in holder(ws, device).what
    job = Lease(ws, [device], "the job asim")
    began = time.monotonic()
    assert job.acquire(lambda: time.monotonic() - began < SOON)
    waiting = hub.ask(config(tiny, ["b"]))
    assert hub.wait(waiting.id, 1.0).state == "waiting"
    job.release()
    assert ended(hub, waiting).state == "done"


def test_an_unused_model_leaves_the_memory(ws: Workspace, tiny: Path) -> None:
    hub = GenerationHub(ws, idle=0.1)
    ended(hub, hub.ask(config(tiny, ["a"])))
    deadline = time.monotonic() + SOON
    while holder(ws, compute_devices()[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert holder(ws, compute_devices()[0]) is None
    hub.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": HANDFUL + 1}, "are a job"),
        ({"prompts": ["a", "a"]}, "give each prompt once"),
        ({"prompts": ["(a"]}, "never closed"),
        ({"models": [ModelRef(base_model="gone")]}, "unknown"),
        ({"models": [ModelRef(checkpoint="gone")]}, "no checkpoint 'gone'"),
        ({"settings": SampleSettings(seed=2**31 - 1), "count": 2}, "seed would be above"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(
    change: dict[str, object], message: str, hub: GenerationHub, ws: Workspace, tiny: Path
) -> None:
    with pytest.raises(UserError, match=message):
        hub.ask(replace(config(tiny, ["a"]), **change))
    assert hub.batches() == [] and not ws.images.exists()


def test_what_fails_while_drawing_is_a_sentence_and_the_next_batch_is_drawn(
    hub: GenerationHub, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ended(hub, hub.ask(config(tiny, ["a"], width=17 * 8 + 1)))
    assert batch.state == "failed" and "The width 137 does not fit this model" in batch.message
    draw_with = drawing.draw_with
    monkeypatch.setattr(drawing, "draw_with", lambda *given, **named: 1 / 0)
    batch = ended(hub, hub.ask(config(tiny, ["a"])))
    assert batch.state == "failed" and "ZeroDivisionError" in batch.message
    monkeypatch.setattr(drawing, "draw_with", draw_with)
    assert ended(hub, hub.ask(config(tiny, ["a"]))).state == "done"


def interleave(hub: GenerationHub, ws: Workspace, tiny: Path, rounds: int, seed: int) -> None:
    """Two tabs that ask, cancel, stop and look, at random moments; nothing announced may be missing on disk."""
    problems: list[str] = []

    def tab(own: random.Random) -> None:
        mine: list[Batch] = []
        for _ in range(rounds):
            action = own.choice(["ask", "ask", "cancel", "finish", "reload", "reload"])
            if action == "ask" or not mine:
                kinds = own.choice([("sd1",), ("sd2",), ("sd1", "sd2")])
                mine.append(hub.ask(config(tiny, ["a"], count=own.randint(1, 3), kinds=kinds, steps=own.randint(1, 3))))
            elif action == "cancel":
                hub.cancel(own.choice(hub.batches()).id)
            elif action == "finish":
                hub.finish_these(own.choice(hub.batches()).id)
            else:
                for batch in hub.batches():
                    listed = {image.file for image in read_images(batch.folder)}
                    problems.extend(image.file for image in batch.images if image.file not in listed)
            time.sleep(own.random() * 0.05)
        for batch in mine:
            found = hub.wait(batch.id, SOON)
            if found is not None and found.is_live:
                problems.append(f"{batch.id} is stuck in {found.state}")

    tabs = [threading.Thread(target=tab, args=(random.Random(seed + number),)) for number in range(2)]
    for thread in tabs:
        thread.start()
    for thread in tabs:
        thread.join()
    assert problems == []
    for batch in hub.batches():
        assert list(batch.images) == read_images(batch.folder)
        for image in batch.images:
            with Image.open(batch.folder / image.file) as picture:
                picture.load()
        assert batch.state != "failed", batch.message


def test_random_interleavings_leave_nothing_stuck_or_lost(hub: GenerationHub, ws: Workspace, tiny: Path) -> None:
    interleave(hub, ws, tiny, rounds=6, seed=0)
    assert ended(hub, hub.ask(config(tiny, ["a"]))).state == "done"


@pytest.mark.slow
def test_two_hundred_interleavings_leave_the_memory_at_its_level(ws: Workspace, tiny: Path) -> None:
    import psutil

    hub = GenerationHub(ws)
    levels = []
    for part in range(5):
        interleave(hub, ws, tiny, rounds=20, seed=100 * part)
        gc.collect()
        levels.append(psutil.Process().memory_info().rss)
    hub.close()
    assert len(hub.batches()) <= 40
    assert levels[-1] < levels[1] + 2**25, levels
    assert holder(ws, compute_devices()[0]) is None and threading.active_count() < 10

"""Pictures while a person waits: progress, cancel, two tabs, a lent device, and nothing announced that is lost.

pytest tests/test_generate_hub.py
"""

import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_models import build

from sdstudio.engine import drawing
from sdstudio.engine import pool as pools
from sdstudio.interactive import HANDFUL, Batch, GenerationHub
from sdstudio.jobs.devices import compute_devices
from sdstudio.jobs.locks import Lease, holder
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import GenerateConfig, GeneratedImage, ModelRef, SampleSettings, UserError
from sdstudio.workspace import Workspace

SOON = 300.0
"""A busy machine is no failure."""


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
    draw = drawing.draw

    def watched(*given, on_step=None, **named):
        def told(step, steps, estimate):
            own(step)
            on_step(step, steps, estimate)

        return draw(*given, on_step=told, **named)

    own = on_step
    monkeypatch.setattr(drawing, "draw", watched)


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


def test_a_cancel_while_a_model_is_read_ends_right_after_it_and_nothing_is_drawn(
    hub: GenerationHub, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on, read = threading.Event(), threading.Event(), []
    load = pools.load_base

    def slow(ws: Workspace, ref: str, *rest: object):
        read.append(Path(ref).name)
        reading.set()
        assert go_on.wait(SOON)
        return load(ws, ref, *rest)

    monkeypatch.setattr(pools, "load_base", slow)
    batch = hub.ask(config(tiny, ["a toy"], kinds=("sd1", "sd2")))
    assert reading.wait(SOON)
    hub.cancel(batch.id)
    now = hub.batch(batch.id)
    assert now.is_live and now.cancelled and now.state == "loading"
    go_on.set()
    batch = ended(hub, batch)
    assert (batch.state, batch.message) == ("stopped", "Stopped before a picture was drawn.")
    assert read == ["sd1"] and not list(batch.folder.glob("*.png"))
    assert ended(hub, hub.ask(config(tiny, ["a toy"]))).state == "done" and read == ["sd1"]


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
        ({"settings": SampleSettings(width=137)}, "width 137 is no multiple of 8: give 144"),
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
    unread = config(tiny, ["a " * 100 + "hat"], guidance="attend_and_excite", guidance_options={"words": "hat"})
    batch = ended(hub, hub.ask(unread))
    assert batch.state == "failed" and "'hat' is not among the first words" in batch.message
    draw = drawing.draw
    monkeypatch.setattr(drawing, "draw", lambda *given, **named: 1 / 0)
    batch = ended(hub, hub.ask(config(tiny, ["a"])))
    assert batch.state == "failed" and "ZeroDivisionError" in batch.message
    monkeypatch.setattr(drawing, "draw", draw)
    assert ended(hub, hub.ask(config(tiny, ["a"]))).state == "done"


def tab(hub: GenerationHub, ws: Workspace, tiny: Path, own: random.Random, problems: list[str]) -> None:
    """One person who asks, cancels, stops, reloads the page or begins a job, at random moments; what is wrong is told.

    What a page has shown may not be missing later on, neither in the hub nor on disk.
    """
    shown: dict[str, tuple[GeneratedImage, ...]] = {}
    for action in own.choices(["ask", "cancel", "finish", "reload", "job"], [4, 3, 1, 4, 1], k=6):
        live = [batch.id for batch in hub.batches() if batch.is_live]
        if action == "ask" or not shown:
            kinds = own.choice([("sd1",), ("sd2",), ("sd1", "sd2")])
            asked = config(tiny, ["a"], count=own.randint(1, 3), kinds=kinds, steps=own.randint(1, 6), seed=-1)
            shown[hub.ask(asked).id] = ()
        elif action in ("cancel", "finish"):
            act = hub.cancel if action == "cancel" else hub.finish_these
            act(own.choice(live or list(shown)))
        elif action == "job":
            lease = Lease(ws, compute_devices()[:1], "a job")
            until = time.monotonic() + SOON
            if not lease.acquire(lambda until=until: time.monotonic() < until):
                problems.append("the device was not lent to a job")
            lease.release()
        for batch in hub.batches() if action == "reload" else ():
            listed = {image.file for image in read_images(batch.folder)}
            problems += [f"{image.file} is not on disk" for image in batch.images if image.file not in listed]
            if batch.images[: len(shown.get(batch.id, ()))] != shown.get(batch.id, ()):
                problems.append(f"{batch.id} lost a picture that it had announced")
            shown[batch.id] = batch.images
        time.sleep(own.random() * 0.04)
    for name in shown:
        found = hub.wait(name, SOON)
        if found is not None and found.is_live:
            problems.append(f"{name} is stuck in {found.state}")


def interleave(hub: GenerationHub, ws: Workspace, tiny: Path, seed: int) -> Counter[str]:
    """One random interleaving of two tabs; how its batches ended."""
    before, problems = {batch.id for batch in hub.batches()}, list[str]()
    tabs = [
        threading.Thread(target=tab, args=(hub, ws, tiny, random.Random(2 * seed + number), problems))
        for number in range(2)
    ]
    for thread in tabs:
        thread.start()
    for thread in tabs:
        thread.join()
    assert problems == [], f"interleaving {seed}: {problems}"
    ends: Counter[str] = Counter()
    for batch in hub.batches():
        assert list(batch.images) == read_images(batch.folder) and batch.forming == ()
        for image in batch.images:
            with Image.open(batch.folder / image.file) as picture:
                picture.load()
        assert batch.state != "failed", batch.message
        whole = len(batch.images) == batch.total
        assert whole if batch.state == "done" else not whole and (batch.cancelled or batch.ending)
        if batch.id not in before:
            ends[f"{batch.state}, {'some' if batch.images else 'no'} pictures"] += 1
    return ends


def weights_in_memory() -> int:
    """Bytes of all tensors that Python still holds."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def lent_back(ws: Workspace) -> bool:
    """Whether the device was given back, and with it the memory, before long."""
    deadline = time.monotonic() + SOON
    while holder(ws, compute_devices()[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holder(ws, compute_devices()[0]) is None


def test_random_interleavings_leave_nothing_stuck_or_lost(hub: GenerationHub, ws: Workspace, tiny: Path) -> None:
    for seed in range(3):
        interleave(hub, ws, tiny, seed)
    assert ended(hub, hub.ask(config(tiny, ["a"]))).state == "done"


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_hundred_interleavings_leave_the_memory_at_its_level(ws: Workspace, tiny: Path) -> None:
    import psutil

    process = psutil.Process()
    hub = GenerationHub(ws, idle=0.1)
    ended(hub, hub.ask(config(tiny, ["a"], kinds=("sd1", "sd2"))))
    assert lent_back(ws)
    tensors, levels, ends = weights_in_memory(), [], Counter[str]()
    for seed in range(200):
        ends += interleave(hub, ws, tiny, seed)
        if seed % 40 == 39:
            assert lent_back(ws) and weights_in_memory() <= tensors
            levels.append(process.memory_info().rss)
    hub.close()
    assert set(ends) == {"done, some pictures", "stopped, some pictures", "stopped, no pictures"}, ends
    assert min(ends.values()) >= 10, ends
    assert levels[-1] < levels[0] + 2**24, levels
    assert len(hub.batches()) <= 40
    assert "generation" not in [thread.name for thread in threading.enumerate()]
    assert not [file for file in process.open_files() if Path(file.path).is_relative_to(ws.images)]

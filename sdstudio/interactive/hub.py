"""One thread draws what people ask for, one batch after the other, from models that stay in memory.

Whoever asks, in whatever tab, sees the same batches. The device is lent back to a job that waits for it as soon as the
batch in hand has ended, and the memory with it.
"""

import io
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sdstudio.interactive.batch import ENDED, HANDFUL, Batch, pictures_asked
from sdstudio.jobs.devices import compute_devices
from sdstudio.jobs.locks import Lease, busy_text
from sdstudio.jobs.prepare import generate as prepare
from sdstudio.pictures.start_pictures import open_start
from sdstudio.schema import GenerateConfig, GeneratedImage, ModelRef, UserError, to_json
from sdstudio.words import count
from sdstudio.workspace import Workspace, new_id, write_json

IDLE = 600.0
"""Seconds after which an unused model leaves the memory."""
LOOK = 0.5
"""Seconds between two looks at whether a job wants the device."""
PREVIEW = 0.3
"""Seconds between two rough looks at what is forming."""
BEFORE = "Cancelled before it began."
NOTHING = "Stopped before a picture was drawn."
READING = "The first pictures since the studio started: the libraries that draw are being read."
REMEMBERED = 20
"""Ended batches that can still be asked about; their pictures stay in their folders."""
_log = logging.getLogger(__name__)


class GenerationHub:
    """Draws in a thread of its own, begun when first asked; every method may be called from any thread."""

    def __init__(self, ws: Workspace, idle: float = IDLE) -> None:
        self._ws, self._idle = ws, idle
        self._changed = threading.Condition()
        self._batches: dict[str, Batch] = {}
        self._current = ""
        self._colours: dict[str, Any] = {}
        self._pool: Any = None
        self._closed = False
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------ what a page calls

    def ask(self, config: GenerateConfig) -> Batch:
        """Take a batch into the queue. Raises UserError for what cannot be drawn, and then nothing is written."""
        config = prepare(self._ws, config)
        asked = pictures_asked(config)
        if asked > HANDFUL:
            raise UserError(f"{asked} pictures at once are a job: queue them, or ask for {HANDFUL} or fewer.")
        seed = config.settings.seed if config.settings.seed >= 0 else secrets.randbelow(2**31 - HANDFUL)
        config = replace(config, settings=replace(config.settings, seed=seed))
        name = new_id(config.prompts[0])
        batch = Batch(id=name, folder=self._ws.images / name, config=config, asked=time.time())
        write_json(batch.folder / "config.json", to_json(config))
        with self._changed:
            if self._closed:
                raise UserError("The studio is shutting down: ask again when it is back.")
            self._batches[batch.id] = batch
            self._forget_old()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="generation", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return batch

    def batches(self) -> list[Batch]:
        """Those that wait, run or ended not long ago, the newest first."""
        with self._changed:
            return list(reversed(self._batches.values()))

    def batch(self, batch_id: str) -> Batch | None:
        """The batch as it is now; None when it is not known here."""
        with self._changed:
            return self._batches.get(batch_id)

    def cancel(self, batch_id: str) -> None:
        """End the batch within a step, or as soon as its model is read; the pictures that are finished stay."""
        with self._changed:
            batch = self._batches.get(batch_id)
            if batch is None or not batch.is_live:
                return
            self._change(batch_id, cancelled=True)
            if batch_id != self._current:
                self._end(batch_id, "stopped", BEFORE)

    def finish_these(self, batch_id: str) -> None:
        """Let the pictures in hand be finished, and begin no others of this batch."""
        with self._changed:
            if batch_id in self._batches and self._batches[batch_id].is_live:
                self._change(batch_id, ending=True)

    def wait(self, batch_id: str, timeout: float) -> Batch | None:
        """The batch once it has ended, or as it is after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_live(batch_id), timeout)
            return self._batches.get(batch_id)

    def close(self) -> None:
        """Cancel everything and end the thread; what is finished stays."""
        with self._changed:
            self._closed = True
            for batch_id in list(self._batches):
                self.cancel(batch_id)
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    # ------------------------------------------------------------ the thread

    def _work(self) -> None:
        lease = Lease(self._ws, compute_devices()[:1], "pictures that somebody is asking for on the Generate page")
        used = time.monotonic()
        while (batch := self._next(lease.held)) or not self._closed:
            if batch:
                self._draw(batch, lease)
                used = time.monotonic()
            if lease.held and (lease.wanted() or time.monotonic() - used > self._idle or self._closed):
                self._free()
                lease.release()
        self._free()
        lease.release()

    def _models(self, batch: Batch) -> Any:
        """The pool of models; to read the libraries that it needs takes seconds, once."""
        if self._pool is None:
            self._change(batch.id, state="loading", message=READING)
            from sdstudio.engine.pool import ModelPool

            self._pool = ModelPool(self._ws)
            self._change(batch.id, message="")
        return self._pool

    def _free(self) -> None:
        if self._pool is not None:
            self._pool.free()

    def _next(self, held: bool) -> Batch | None:
        """The oldest batch that waits, as soon as there is one; None to look after the lease, or to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._oldest(), LOOK if held else None)
            batch = self._oldest()
            self._current = batch.id if batch else ""
            return batch

    def _oldest(self) -> Batch | None:
        return next((batch for batch in self._batches.values() if batch.is_live), None)

    def _draw(self, batch: Batch, lease: Lease) -> None:
        """Draw a whole batch; whatever goes wrong is told in its message, and the thread lives on."""
        try:
            if not self._get_device(batch, lease):
                return self._end(batch.id, "stopped", BEFORE)
            pool = self._models(batch)
            self._change(batch.id, started=time.time())
            for model in batch.config.models:
                if self._is_cancelled(batch.id) or not self._draw_model(batch, model, pool):
                    break
            drawn = len(self._batches[batch.id].images)
            whole = drawn == batch.total
            kept = f"Stopped; {count(drawn, 'picture')} of {batch.total} drawn." if drawn else NOTHING
            self._end(batch.id, "done" if whole else "stopped", "" if whole else kept)
        except UserError as error:
            self._end(batch.id, "failed", str(error))
        except Exception as error:
            _log.exception("The batch %s failed", batch.id)
            self._free()
            what = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            kept = "What is drawn is kept; the studio's log says where it was."
            self._end(batch.id, "failed", f"It failed on something unforeseen ({what}). {kept}")

    def _get_device(self, batch: Batch, lease: Lease) -> bool:
        """The device, when it is free; until then the batch says who has it. False when it is cancelled meanwhile."""

        def patience() -> bool:
            self._change(batch.id, message=f"{busy_text(self._ws, lease.devices)}: these pictures begin when it ends.")
            return not self._is_cancelled(batch.id)

        got = lease.held or lease.acquire(patience)
        self._change(batch.id, message="")
        return got and not self._is_cancelled(batch.id)

    def _draw_model(self, batch: Batch, model: ModelRef, pool: Any) -> bool:
        """Draw what one model owes to the batch; False when that was stopped."""
        from sdstudio.engine.drawing import draw

        config = batch.config
        start = open_start(self._ws, config.start) if config.start else None
        self._change(batch.id, state="loading")
        with pool.use(model) as loaded:
            if self._is_cancelled(batch.id):
                return False
            watch = self._watch(batch, loaded)
            wanted = [
                (prompt, config.settings.seed + place) for prompt in config.prompts for place in range(config.count)
            ]
            for first in range(0, len(wanted), config.settings.batch_size):
                if self._is_cancelled(batch.id) or self._batches[batch.id].ending:
                    return False
                chosen = wanted[first : first + config.settings.batch_size]
                self._change(batch.id, state="drawing", drawing=len(chosen), step=0, steps=0, forming=())
                drawn = draw(
                    loaded,
                    model,
                    [prompt for prompt, _ in chosen],
                    [seed for _, seed in chosen],
                    config.settings,
                    batch.folder,
                    on_image=lambda image: self._announce(batch.id, image),
                    should_stop=lambda: self._is_cancelled(batch.id),
                    on_step=watch,
                    start=start,
                )
                if len(drawn) < len(chosen):
                    return False
        return True

    def _watch(self, batch: Batch, loaded: Any) -> Callable[..., None]:
        """What is told of every step: how far it is, how long it takes yet, and now and then a rough look."""
        from sdstudio.sampling.forming import fit_colours, rough_pictures

        if loaded.base_hash not in self._colours:
            self._colours = {loaded.base_hash: fit_colours(loaded.pipeline)}
        colours = self._colours[loaded.base_hash]
        begun, looked = 0.0, 0.0

        def watch(step: int, steps: int, estimate: Callable[[], Any]) -> None:
            nonlocal begun, looked
            now = time.monotonic()
            change: dict[str, Any] = {"step": step, "steps": steps}
            if now - looked > PREVIEW and step < steps:
                looked = now
                change["forming"] = tuple(_png(picture) for picture in rough_pictures(estimate(), colours))
            self._change(batch.id, **change)
            if begun:
                self._tell_time(batch.id, now - begun)
            begun = begun or now  # the first step warms up

        return watch

    def _tell_time(self, batch_id: str, passed: float) -> None:
        """The time left, from how long the share that this model has done after its first step took."""
        with self._changed:
            batch = self._batches[batch_id]
            of_model = batch.total / len(batch.config.models)
            done = len(batch.images) % of_model + batch.drawing * (batch.step - 1) / batch.steps
            left = batch.total * (1 - batch.share)
            if done:
                self._change(batch_id, seconds_left=passed / done * left)

    def _announce(self, batch_id: str, image: GeneratedImage) -> None:
        """A picture counts from when its file and its line in images.jsonl are written."""
        with self._changed:
            batch = self._batches[batch_id]
            self._change(batch_id, images=(*batch.images, image), drawing=max(batch.drawing - 1, 0))

    # ------------------------------------------------------------ what is known of each batch

    def _change(self, batch_id: str, **values: Any) -> None:
        with self._changed:
            self._batches[batch_id] = replace(self._batches[batch_id], **values)

    def _end(self, batch_id: str, state: Any, message: str) -> None:
        with self._changed:
            self._change(
                batch_id, state=state, message=message, ended=time.time(), forming=(), drawing=0, seconds_left=None
            )
            self._changed.notify_all()

    def _is_cancelled(self, batch_id: str) -> bool:
        return self._batches[batch_id].cancelled

    def _is_live(self, batch_id: str) -> bool:
        return batch_id in self._batches and self._batches[batch_id].is_live

    def _forget_old(self) -> None:
        ended = [batch.id for batch in self._batches.values() if batch.state in ENDED]
        for batch_id in ended[:-REMEMBERED]:
            del self._batches[batch_id]


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()

"""The job that draws pictures of prompts from models."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path

from sdstudio.collection.marks import deleted_files
from sdstudio.engine.drawing import OnImage, draw
from sdstudio.engine.pool import ModelPool
from sdstudio.jobs.context import JobContext
from sdstudio.models import resolve_base_model, resolve_checkpoint
from sdstudio.pictures.start_pictures import open_start
from sdstudio.prompts import check_distinct
from sdstudio.schema import GenerateConfig, GeneratedImage, UserError
from sdstudio.words import count
from sdstudio.workspace import atomic_write


def run_generate(config: GenerateConfig, ctx: JobContext) -> bool:
    """Draw `count` pictures of every prompt from every model, with the same seeds for each, into the job's folder.

    A job that was stopped or killed and is run again draws only what is missing, but for what was deleted meanwhile.
    Raises UserError before anything is drawn when a model cannot be found or a prompt is given twice.
    """
    prompts, seeds = planned(config, ctx)
    deleted = deleted_files(ctx.workspace, ctx.folder)
    done, total = len(deleted), len(prompts) * len(config.models)
    ctx.progress(done, total, "pictures")
    if deleted:
        ctx.log(f"{count(done, 'picture')} that somebody deleted will not be drawn again.")

    start = open_start(ctx.workspace, config.start) if config.start else None
    log_flags, pool = flag_logger(ctx.log), ModelPool(ctx.workspace)

    def tell(image: GeneratedImage) -> None:
        nonlocal done
        done += 1
        log_flags(image)
        ctx.progress(done, total, "pictures")

    for ref in config.models:
        ctx.log(f"Drawing {count(len(prompts), 'picture')} from {ref.label or ref.checkpoint or ref.base_model}")
        with pool.use(ref) as loaded:
            asked = (loaded, ref, prompts, seeds, config.settings, ctx.folder)
            images = draw(*asked, tell, ctx.should_stop, start=start, deleted=deleted)
        if len(images) < len(prompts):
            ctx.log(f"Stopped after {done} of {count(total, 'picture')}; what is drawn is kept.")
            return False
    return True


def planned(config: GenerateConfig, ctx: JobContext) -> tuple[list[str], list[int]]:
    """The prompts and seeds of the pictures that each model draws; a UserError when that could not be done."""
    if not config.prompts:
        raise UserError("There is no prompt: give at least one (an empty line draws without a prompt).")
    check_distinct(config.prompts)
    for ref in config.models:
        resolve_base_model(ctx.workspace, ref.base_model)
        if ref.checkpoint:
            resolve_checkpoint(ctx.workspace, ref.checkpoint)
    first = _first_seed(config.settings.seed, ctx.folder)
    pairs = [(prompt, first + index) for prompt in config.prompts for index in range(config.count)]
    return [prompt for prompt, _ in pairs], [seed for _, seed in pairs]


def flag_logger(log: Callable[[str], None]) -> OnImage:
    """What logs the flags of the pictures that it is given, each flag once."""
    known: set[str] = set()

    def log_new(image: GeneratedImage) -> None:
        for flag in image.flags:
            if flag not in known:
                known.add(flag)
                log(f"Note: {flag}.")

    return log_new


def _first_seed(seed: int, folder: Path) -> int:
    """The given seed; for −1 a random one, the same when the job is run again."""
    if seed >= 0:
        return seed
    file = folder / "seed.json"
    if not file.is_file():
        atomic_write(file, json.dumps(secrets.randbelow(2**31)))
    return int(json.loads(file.read_text()))

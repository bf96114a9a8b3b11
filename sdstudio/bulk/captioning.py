"""Drafts for a dataset's captions, made on a Ray cluster."""

import io
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from sdstudio.bulk.spreading import LEDGER_FOLDER, Ledger, Row, spread
from sdstudio.datasets import DatasetStore, open_dataset
from sdstudio.datasets.captioning import CaptionReport, compute_device, draft_within_memory, find_captioner
from sdstudio.datasets.importer import REPORT_FILE
from sdstudio.jobs.context import JobContext
from sdstudio.schema import CaptionConfig, UserError, from_json
from sdstudio.workspace import atomic_write, write_json

WORK_FILE = "work.parquet"


class Drafter:
    """One process of the cluster: a captioner in memory, which reads pictures from the shared workspace."""

    def __init__(self, captioner: str, options: dict[str, Any]) -> None:
        record = find_captioner(captioner)
        chosen: Any = from_json(record.Options, options)
        self._caption = record.load(chosen, chosen.model, compute_device())

    def __call__(self, rows: list[Row]) -> list[Row]:
        """`draft` of each row's picture, or `error` where its file is broken."""
        made = {row["id"]: {"id": row["id"], "file_name": row["file_name"], "draft": "", "error": ""} for row in rows}
        pictures = {}
        for row in rows:
            try:
                with Image.open(row["path"]) as picture:
                    pictures[row["id"]] = picture.convert("RGB")
            except (OSError, SyntaxError, ValueError) as error:
                made[row["id"]]["error"] = str(error) or type(error).__name__
        drafts = self._drafts(list(pictures.values()))
        for id, draft in zip(pictures, drafts, strict=True):
            made[id]["draft"] = draft
        return list(made.values())

    def _drafts(self, pictures: list[Image.Image]) -> Iterator[str]:
        for part in draft_within_memory(self._caption, pictures) if pictures else ():
            yield from part


def run_caption(config: CaptionConfig, ctx: JobContext) -> bool:
    """As `datasets.captioning.run_caption`, for a dataset that takes a cluster; drafts are stored as they come."""
    store = open_dataset(ctx.workspace, config.dataset)
    captioner = find_captioner(config.captioner)
    options: Any = from_json(captioner.Options, config.options)
    work = _work(store, config, ctx.folder / WORK_FILE)

    def take(rows: list[Row]) -> None:
        for row in rows:
            row["beside"] = False
            if not row["error"]:
                after = store.set_machine_caption(row["id"], row["draft"], f"captioner:{captioner.name}")
                row["beside"] = after.state != "not modified"

    arguments = {"captioner": captioner.name, "options": config.options}
    finished = spread(ctx, work, Drafter, arguments, options.batch_size, take, "pictures")
    report = CaptionReport(dataset=store.name, captioner=captioner.name, total=work.num_rows, stopped=not finished)
    for row in Ledger(ctx.folder / LEDGER_FOLDER).rows():
        if row["error"]:
            report.failed.append({key: row[key] for key in ("id", "file_name", "error")})
        elif row["beside"]:
            report.kept_beside += 1
        else:
            report.drafted += 1
    write_json(ctx.folder / REPORT_FILE, asdict(report))
    ctx.log(f"{report.drafted} drafted, {report.kept_beside} kept beside a person's, {len(report.failed)} unreadable")
    if work.num_rows and len(report.failed) == work.num_rows:
        ctx.progress(0, work.num_rows, "pictures")
        raise UserError(f"None of the {work.num_rows} pictures of {store.name!r} can be read; import them again.")
    return finished


def _work(store: DatasetStore, config: CaptionConfig, file: Path) -> pa.Table:
    """The pictures that the job began with: what is captioned meanwhile must not shorten the list of a resumed one."""
    if not file.exists():
        todo = [image for image in store.images() if not (config.only_empty and image.caption)]
        files = store.image_paths()
        columns = {
            "id": [image.id for image in todo],
            "path": [str(files[image.id]) for image in todo],
            "file_name": [image.file_name for image in todo],
        }
        data = io.BytesIO()
        pq.write_table(pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns])), data)
        atomic_write(file, data.getvalue())
    return pq.read_table(file)

"""Rows in, rows out, over all machines of a Ray cluster, and a ledger by which a killed job goes on.

The work is a parquet manifest with a column `id`. What comes back is taken up by the job that waits for it, which then
enters the ids into the ledger: a part of the ledger is a file that is there whole or not at all. A row that a kill
caught between the two is made again, and what takes it up finds it there already.
"""

import io
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sdstudio.jobs.context import JobContext
from sdstudio.schema import UserError
from sdstudio.workspace import atomic_write

Row = dict[str, Any]

MANIFEST_FILE = "manifest.parquet"
LEDGER_FOLDER = "ledger"
BATCHES_PER_BLOCK = 4
"""A block is what a machine gets at a time, and what is made again when the machine dies."""
REFUSED = "refused"
READER = {"num_cpus": 0.25}
"""What reading the manifest takes: little, since where it finds no room beside the makers, Ray waits for ever."""


class Maker(Protocol):
    """What one process of the cluster is: made once, then called with lists of rows."""

    def __call__(self, rows: list[Row]) -> list[Row]:
        """One row, with its `id`, for each that was given."""


@dataclass(frozen=True)
class Ledger:
    """Which rows are done: parquet files of ids in the job's folder."""

    folder: Path

    def ids(self) -> pa.Array:
        files = sorted(self.folder.glob("part-*.parquet"))
        tables = [pq.read_table(file, columns=["id"]) for file in files]
        return pa.concat_tables(tables)["id"].combine_chunks() if tables else pa.array([], pa.string())

    def enter(self, rows: Iterable[Row]) -> None:
        """Add one part with these rows, whole or not at all."""
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows)), data)
        number = len(list(self.folder.glob("part-*.parquet")))
        atomic_write(self.folder / f"part-{number:08d}.parquet", data.getvalue())

    def rows(self) -> Iterator[Row]:
        for file in sorted(self.folder.glob("part-*.parquet")):
            yield from pq.read_table(file).to_pylist()


def spread(
    ctx: JobContext,
    work: pa.Table,
    maker: type[Maker],
    arguments: dict[str, Any],
    batch_size: int,
    take: Callable[[list[Row]], None],
    unit: str,
    part: str = "",
) -> bool:
    """Make every row of `work` that the ledger lacks, on as many processes as the cluster holds; False when stopped.

    `maker(**arguments)` is built once in each process; `take` gets its rows here, as they come, in any order. A job
    that spreads several works names each `part`, which has a ledger of its own.
    """
    ledger = Ledger(ctx.folder / LEDGER_FOLDER / part)
    finished = ledger.ids()
    missing = work.filter(pc.invert(pc.is_in(work["id"], value_set=finished)))
    done, total = work.num_rows - missing.num_rows, work.num_rows
    if done:
        ctx.log(f"Going on: {done} of {total} {unit} are done.")
    ctx.progress(done, total, unit)
    if not missing.num_rows:
        return True
    pq.write_table(missing, ctx.folder / MANIFEST_FILE)
    for rows in _made(ctx.folder / MANIFEST_FILE, maker, arguments, batch_size):
        take(rows)
        ledger.enter(rows)
        done += len(rows)
        ctx.progress(done, total, unit)
        if ctx.should_stop():
            return False
    return True


def _made(manifest: Path, maker: type[Maker], arguments: dict[str, Any], batch_size: int) -> Iterator[list[Row]]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(log_to_driver=False, ignore_reinit_error=True)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the job's log is for what the job says
    actors, resources = _room(ray.cluster_resources())
    table = ray.data.read_parquet(str(manifest), ray_remote_args=READER)
    made = table.repartition(target_num_rows_per_block=batch_size * BATCHES_PER_BLOCK).map_batches(
        Batches,
        fn_constructor_args=(maker, arguments),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        **resources,
    )
    for table in made.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield taken_in(table)


def _room(cluster: dict[str, float]) -> tuple[int, dict[str, float]]:
    """How many processes, and what each takes: a GPU where there are some; a CPU is left for reading the manifest."""
    cpus, gpus = cluster.get("CPU", 1.0), int(cluster.get("GPU", 0))
    if gpus:
        return gpus, {"num_gpus": 1}
    return max(1, int(cpus) - 1), {"num_cpus": min(1.0, cpus / 2)}


class Batches:
    """A maker as Ray calls it. What it refuses comes back as a row: of an exception Ray passes on the text alone."""

    def __init__(self, maker: type[Maker], arguments: dict[str, Any]) -> None:
        self._refused = ""
        try:
            self._make = maker(**arguments)
        except UserError as error:
            self._refused = str(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        try:
            rows = [{REFUSED: self._refused}] if self._refused else self._make(table.to_pylist())
        except UserError as error:
            rows = [{REFUSED: str(error)}]
        return pa.Table.from_pylist(rows)


def taken_in(table: pa.Table) -> list[Row]:
    """The rows of what a `Batches` made; the UserError that one of them stands for."""
    rows: list[Row] = table.to_pylist()
    for row in rows:
        if row.get(REFUSED):
            raise UserError(row[REFUSED])
    return rows

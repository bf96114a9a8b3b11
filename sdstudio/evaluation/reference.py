"""The real pictures that a protocol holds its models against: a dataset as it is or was, whole or in part."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sdstudio.datasets import open_dataset
from sdstudio.results import Row
from sdstudio.schema import Protocol, UserError
from sdstudio.words import count
from sdstudio.workspace import Workspace

if TYPE_CHECKING:
    from sdstudio.evaluation.measuring import Reference


def reference_of(ws: Workspace, protocol: Protocol, rows: Sequence[Row]) -> "Reference":
    """The pictures of the protocol's dataset, those of its snapshot alone, without those that a row has learned from.

    Raises UserError when fewer than two are left, or a run's snapshot that would have to be looked at is gone.
    """
    from sdstudio.evaluation.measuring import read_reference

    everything = read_reference(ws, protocol.reference)
    wanted = set(everything.ids)
    if protocol.reference_snapshot:
        snapshot = open_dataset(ws, protocol.reference).load_snapshot(protocol.reference_snapshot)
        wanted &= {image.id for image in snapshot.images}
    if protocol.reference_part == "not trained on":
        wanted -= _learned(ws, rows)
    if everything.ids and len(wanted) < 2:
        raise UserError(
            f"Of the {count(len(everything.ids), 'picture')} of {protocol.reference!r} fewer than 2 are left as a "
            "reference: take another dataset or snapshot, or all of its pictures."
        )
    kept = [index for index, id in enumerate(everything.ids) if id in wanted]
    return replace(
        everything,
        ids=tuple(everything.ids[index] for index in kept),
        paths=tuple(everything.paths[index] for index in kept),
        captions=tuple(everything.captions[index] for index in kept),
    )


def _learned(ws: Workspace, rows: Sequence[Row]) -> set[str]:
    """Ids of all pictures that the rows were trained on."""
    from sdstudio.evaluation.measuring import trained_on

    learned: set[str] = set()
    for row in rows:
        if row.role == "base":
            continue
        snapshot = trained_on(ws, row.model.checkpoint)
        if snapshot is None:
            raise UserError(
                f"What {row.label} was trained on is not here, so its pictures cannot be left out of the reference: "
                "bring its run's folder back, or take all of the reference's pictures."
            )
        learned |= {image.id for image in snapshot.images if not image.excluded}
    return learned

"""What a comparison will cost, told before it starts: pictures to draw, those that are there, and the time."""

from collections.abc import Sequence
from dataclasses import dataclass

from sdstudio.evaluation.boards import read_evaluations
from sdstudio.evaluation.drawing import find, pixels
from sdstudio.evaluation.protocol import check_protocol, wanted
from sdstudio.evaluation.reference import reference_of
from sdstudio.results import Evaluation, Row
from sdstudio.schema import Protocol
from sdstudio.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class RowCost:
    """Of one model: the pictures that the protocol asks of it, and how many of them are there."""

    label: str
    pictures: int
    found: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`to_look_at` are pictures that no comparison with this encoder has seen, reference pictures included.

    `seconds` is for drawing, at the pace of `paced_by`, an earlier comparison; None where there is none.
    """

    rows: tuple[RowCost, ...]
    to_look_at: int
    seconds: float | None
    paced_by: str = ""

    @property
    def to_draw(self) -> int:
        return sum(row.pictures - row.found for row in self.rows)

    @property
    def found(self) -> int:
        return sum(row.found for row in self.rows)


def cost(ws: Workspace, protocol: Protocol) -> Cost:
    """The cost of `protocol` now. Raises UserError where it cannot be followed."""
    rows = check_protocol(ws, protocol)
    seen = {file for evaluation in _same_encoder(ws, protocol) for file in evaluation}
    counted, new = [], 0
    for row in rows:
        found = find(ws, row, protocol)
        pictures = len(wanted(row, protocol))
        counted.append(RowCost(label=row.label, pictures=pictures, found=len(found)))
        new += pictures - sum(f"{row.key}/{image.file}" in seen for _, image in found.values())
    drawing = sum(row.pictures - row.found for row in counted)
    pace, name = _pace(ws, protocol)
    return Cost(
        rows=tuple(counted),
        to_look_at=new + _unseen_reference(ws, protocol, rows),
        seconds=drawing * pace if pace is not None else None,
        paced_by=name,
    )


def _same_encoder(ws: Workspace, protocol: Protocol) -> list[set[str]]:
    """'<row>/<file>' of the pictures that finished comparisons with the protocol's encoder have looked at."""
    return [
        {picture.file.partition("/")[2] for row in evaluation.rows for picture in row.pictures}
        for evaluation in read_evaluations(ws).values()
        if evaluation.protocol.extractor == protocol.extractor
    ]


def _unseen_reference(ws: Workspace, protocol: Protocol, rows: Sequence[Row]) -> int:
    seen = {
        path
        for evaluation in read_evaluations(ws).values()
        if evaluation.protocol.extractor == protocol.extractor
        for path in evaluation.reference
    }
    return sum(ws.within(path) not in seen for path in reference_of(ws, protocol, rows).paths)


def _pace(ws: Workspace, protocol: Protocol) -> tuple[float | None, str]:
    """Seconds for one picture in the newest comparison that drew alike from the same base models."""
    bases = {model.base_model for model in protocol.models}

    def is_alike(evaluation: Evaluation) -> bool:
        same = {model.base_model for model in evaluation.protocol.models} == bases
        return bool(evaluation.drawn) and same and pixels(evaluation.protocol.settings) == pixels(protocol.settings)

    alike = [evaluation for evaluation in read_evaluations(ws).values() if is_alike(evaluation)]
    if not alike:
        return None, ""
    newest = max(alike, key=lambda evaluation: evaluation.created)
    return newest.drawing_seconds / newest.drawn, newest.protocol.name

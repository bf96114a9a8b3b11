"""A whole board as one comparison, so that it can be taken out as any single one is."""

from dataclasses import replace

from sdstudio.evaluation.boards import Board, Line
from sdstudio.results import FLOOR, Evaluation, Row
from sdstudio.schema import MetricResult


def merged(board: Board) -> Evaluation:
    """All lines of the board and its floor; pictures are files of the folder that holds all comparisons."""
    return Evaluation(
        protocol=board.protocol,
        protocol_hash=board.hash,
        created=board.created,
        rows=tuple(_row(board, line) for line in board.lines),
        results=(
            *(
                _cell(line, metric.name)
                for line in board.lines
                for metric in board.metrics
                if metric.name in line.cells
            ),
            *(replace(result, model=FLOOR) for result in board.floor.values()),
        ),
        reference=board.reference,
    )


def _row(board: Board, line: Line) -> Row:
    pictures = tuple(replace(one, file=f"{line.evaluation}/{one.file}") for one in line.row.pictures)
    return replace(line.row, label=line.label, pictures=pictures)


def _cell(line: Line, metric: str) -> MetricResult:
    return replace(line.cells[metric].result, model=line.label)

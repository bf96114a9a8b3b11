"""`sdstudio logo`, `shift` and `ratings`: the pictures of a finished comparison looked at again."""

import argparse
from collections.abc import Sequence

from sdstudio.cli.flags import Command, add_job_flags, config_of, naming, peek, plugin_fields, say, table
from sdstudio.cli.outcomes import EXIT_OK, do
from sdstudio.options import Field, add_flags, describe
from sdstudio.schema import LogoConfig, MetricResult, ShiftConfig, to_json
from sdstudio.workspace import Workspace

COMPARISON_HELP = "a finished comparison's id (see `sdstudio jobs list --kind evaluate`)"


# ---------------------------------------------------------------- logo and shift


def _configure_logo(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    usual = LogoConfig()
    detector, reader = peek(argv, "detector", usual.detector), peek(argv, "reader", usual.reader)
    finding = plugin_fields("sdstudio.detectors", "detector", detector, "detector_options.")
    reading = plugin_fields("sdstudio.readers", "reader", reader, "reader_options.")
    taken = {item.name.rpartition(".")[2] for item in finding}
    fields = _add_own_flags(child, LogoConfig)
    add_flags(child, finding, f"options of {detector}")
    add_flags(child, reading, f"options of {reader}", in_full=taken)
    child.set_defaults(fields=[*fields, *finding, *reading])
    add_job_flags(child)


def _logo(ws: Workspace, arguments: argparse.Namespace) -> int:
    return do(ws, arguments, "logo", config_of(LogoConfig, arguments, arguments.fields))


def _configure_shift(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    fields = _add_own_flags(child, ShiftConfig)
    detector = peek(argv, "detector", "")
    if detector:
        cutting = plugin_fields("sdstudio.detectors", "detector", detector, "detector_options.")
        add_flags(child, cutting, f"options of {detector}")
        fields = [*fields, *cutting]
    child.set_defaults(fields=fields)
    add_job_flags(child)


def _shift(ws: Workspace, arguments: argparse.Namespace) -> int:
    return do(ws, arguments, "shift", config_of(ShiftConfig, arguments, arguments.fields))


def _add_own_flags(child: argparse.ArgumentParser, kind: type) -> list[Field]:
    fields = naming(describe(kind), detector="sdstudio.detectors", reader="sdstudio.readers")
    add_flags(child, fields, "settings", positional=("comparison",))
    return fields


# ---------------------------------------------------------------- ratings


def _configure_ratings(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("comparison", metavar="COMPARISON", help=COMPARISON_HELP)


def _ratings(ws: Workspace, arguments: argparse.Namespace) -> int:
    """Sessions that go on are listed, and count nowhere."""
    from sdstudio.evaluation.logos import comparison_folder
    from sdstudio.ratings import store
    from sdstudio.ratings.deck import dealt
    from sdstudio.ratings.outcome import cells, questions, trust
    from sdstudio.results import read_evaluation

    folder = comparison_folder(ws, arguments.comparison)
    evaluation, ratings = read_evaluation(folder), store.read(folder)
    sessions = [
        {"rater": one.rater, "question": one.what or one.kind, "answered": len(one.answers),
         "of": len(dealt(folder, one.id)), "ended": one.ended is not None}
        for one in ratings.sessions
    ]  # fmt: skip
    asked = []
    texts = [table([(*line.values(),) for line in sessions], "rater", "question", "answered", "of", "ended")]
    for kind, what in questions(ratings.sessions):
        found, sure = cells(evaluation, folder, kind, what), trust(ratings.ended(kind, what))
        asked.append({"question": what or kind, "results": [to_json(cell) for cell in found], "trust": sure})
        lines = table([_line(cell) for cell in found], "model", what or kind, "95% interval", "N")
        texts.append("\n".join([lines, *sure]))
    say(arguments, {"sessions": sessions, "questions": asked}, "\n\n".join(texts) if sessions else "Nobody has rated.")
    return EXIT_OK


def _line(cell: MetricResult) -> tuple[str, str, str, str]:
    from sdstudio.results import count_text, interval_text

    value = "not rated" if cell.value is None else f"{cell.value:.3f}"
    return cell.model, value, interval_text(cell.interval, 3), count_text(cell)


JUDGING = {
    "logo": Command(
        help="Look for a logo in the pictures of a comparison, and read the word on it.",
        run=_logo,
        configure=_configure_logo,
        examples=(
            "  sdstudio logo COMPARISON --text ZORB\n"
            "  sdstudio logo COMPARISON --detector zero_shot --what 'a red logo' --reader trocr --text HUGO --json"
        ),
        needs_starter=False,
    ),
    "shift": Command(
        help="How far a comparison's models moved from their base model and from the real pictures.",
        run=_shift,
        configure=_configure_shift,
        examples=(
            "  sdstudio shift COMPARISON\n"
            "  sdstudio shift COMPARISON --detector object_detection --threshold 0.7 --clusters 5 --json"
        ),
        needs_starter=False,
    ),
    "ratings": Command(
        help="What people answered in the rating room: shares and strengths, intervals, agreement.",
        run=_ratings,
        configure=_configure_ratings,
        examples="  sdstudio ratings COMPARISON\n  sdstudio ratings COMPARISON --json",
        needs_starter=False,
    ),
}

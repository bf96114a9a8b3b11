"""`sdstudio identifiers`."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from sdstudio.cli.flags import Command, say, table, whole_number
from sdstudio.cli.outcomes import EXIT_OK
from sdstudio.workspace import Workspace


def _configure(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("words", nargs="*", metavar="WORD", help="words to check; without one, good words are listed")
    child.add_argument(
        "--base-model", metavar="MODEL", default="starter", help="'starter', a folder or a Hub id (default starter)"
    )
    child.add_argument("--count", type=whole_number(1), default=20, metavar="N", help="words to list (default 20)")
    child.add_argument(
        "--longest", type=whole_number(1), default=4, metavar="N", help="letters of a word at most (default 4)"
    )


def _run(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.training.identifiers import check_identifier, rare_tokens

    if arguments.words:
        for word in arguments.words:
            check_identifier(ws, arguments.base_model, word)
        say(arguments, arguments.words, f"One token each: {', '.join(arguments.words)}")
        return EXIT_OK
    found = rare_tokens(ws, arguments.base_model, arguments.count, arguments.longest)
    rows = [(token.word, token.rank, token.nearest, f"{token.similarity:.2f}") for token in found]
    say(
        arguments,
        [asdict(token) for token in found],
        table(rows, "word", "place in the vocabulary", "nearest common word", "similarity"),
    )
    return EXIT_OK


IDENTIFIERS = Command(
    help="List rare words that are one token to a model and mean nothing to it, or check some.",
    run=_run,
    configure=_configure,
    examples="  sdstudio identifiers\n  sdstudio identifiers asim --base-model owner/name",
    needs_starter=False,
)

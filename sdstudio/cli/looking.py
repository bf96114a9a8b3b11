"""`sdstudio dataset list`, `show`, `check`, `snapshot` and `diff`: nothing here changes a picture or a caption."""

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdstudio.cli.flags import Command, say, table, whole_number
from sdstudio.cli.outcomes import EXIT_FAILED, EXIT_OK
from sdstudio.options import add_flags, describe, given
from sdstudio.schema import Snapshot, UserError, from_json, to_json
from sdstudio.words import count
from sdstudio.workspace import Workspace

if TYPE_CHECKING:
    from sdstudio.datasets import DatasetStore
    from sdstudio.datasets.preflight import Finding

NOW = "now"
_NAMED = 3
_SHORT = 10


def name_argument(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("name", metavar="DATASET", help="the dataset's name")


def _list(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import list_datasets

    found = list_datasets(ws)
    rows = [(info.name, info.images, info.captioned, info.modified, info.error or info.description) for info in found]
    columns = table(rows, "dataset", "pictures", "captioned", "by a person", "")
    say(arguments, [to_json(info) for info in found], columns)
    return EXIT_OK


def _configure_show(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    from sdstudio.datasets.query import Query

    name_argument(child, argv)
    fields = [item for item in describe(Query) if item.name != "ids"]
    switches = [item for item in fields if item.default is False]
    title = "which pictures, in which order (they have to meet every condition given)"
    add_flags(child, [item for item in fields if item not in switches], title)
    for item in switches:
        flag = f"--{item.name.replace('_', '-')}"
        child.add_argument(flag, dest=item.name, action="store_true", default=argparse.SUPPRESS, help=item.help)
    child.add_argument("--limit", type=whole_number(1), metavar="N", help="no more than the first N")
    child.set_defaults(fields=fields)


def _show(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import open_dataset
    from sdstudio.datasets.query import Query

    store = open_dataset(ws, arguments.name)
    query = from_json(Query, given(arguments, arguments.fields))
    found = store.count(query)
    images = store.page(query, 0, arguments.limit or found)
    rows = [(image.id[:_SHORT], image.state, image.file_name, image.caption) for image in images]
    text = table(rows, "picture", "state", "file", "caption")
    if len(images) < found:
        text += f"\n{len(images):,} of {count(found, 'picture')} shown."
    say(arguments, [to_json(image) for image in images], text)
    return EXIT_OK


def _configure_check(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    name_argument(child, argv)
    child.add_argument(
        "--side", type=whole_number(8), metavar="PX", help="the side it is trained at (default the dataset's setting)"
    )
    child.add_argument("--thorough", action="store_true", help="read every stored file and compare its hash")


def _check(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import open_dataset, preflight

    store = open_dataset(ws, arguments.name)
    findings = preflight.check(store, arguments.side, arguments.thorough)
    text = "\n".join(_lines(store, finding) for finding in findings)
    say(arguments, [to_json(finding) for finding in findings], text or "Nothing to mend: every picture is ready.")
    return EXIT_FAILED if any(finding.level == "problem" for finding in findings) else EXIT_OK


def _lines(store: "DatasetStore", finding: "Finding") -> str:
    """The finding, and under it the first few pictures that it is about."""
    line = f"{finding.level:8} {finding.sentence}"
    if not finding.ids:
        return line
    names = []
    for id in finding.ids[:_NAMED]:
        why = finding.details.get(id)
        names.append(store.image(id).file_name + (f" ({why})" if why else ""))
    more = finding.count - len(names)
    return f"{line}\n{'':9}{', '.join(names)}" + (f" and {more:,} more" if more else "")


def _configure_snapshot(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    name_argument(child, argv)
    child.add_argument("--list", action="store_true", help="list those taken so far, newest first, and take none")


def _snapshot(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import open_dataset

    store = open_dataset(ws, arguments.name)
    if arguments.list:
        taken = store.snapshots()
        rows = [(info.hash, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.time))) for info in taken]
        say(arguments, [to_json(info) for info in taken], table(rows, "snapshot", "taken"))
        return EXIT_OK
    snapshot = store.snapshot()
    facts = {"hash": snapshot.hash, "pictures": len(snapshot.images)}
    say(arguments, facts, f"{snapshot.hash}  {count(len(snapshot.images), 'picture')}")
    return EXIT_OK


def _configure_diff(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    name_argument(child, argv)
    help = f"a snapshot, or as much of it as names only one, or {NOW!r}"
    child.add_argument("before", metavar="FROM", nargs="?", default="", help=f"{help} (default the newest snapshot)")
    child.add_argument("after", metavar="TO", nargs="?", default=NOW, help=f"{help} (default {NOW})")


def _diff(ws: Workspace, arguments: argparse.Namespace) -> int:
    from sdstudio.datasets import open_dataset
    from sdstudio.datasets.snapshots import diff

    store = open_dataset(ws, arguments.name)
    before, after = _snapshot_called(store, arguments.before), _snapshot_called(store, arguments.after)
    found = diff(before, after)
    lines = [f"+ {image.file_name}: {image.caption}" for image in found.added]
    lines += [f"- {image.file_name}: {image.caption}" for image in found.removed]
    for old, new in found.changed:
        lines += [f"~ {new.file_name}", f"  - {old.caption}", f"  + {new.caption}"]
    if found.fit[0] != found.fit[1]:
        lines.append(f"The fit went from {found.fit[0]} to {found.fit[1]}.")
    lines.append(
        f"From {before.hash[:_SHORT]} to {after.hash[:_SHORT]}: {count(len(found.changed), 'caption')} changed, "
        f"{count(len(found.added), 'picture')} added, {count(len(found.removed), 'picture')} removed."
    )
    say(arguments, {"from": before.hash, "to": after.hash, **to_json(found)}, "\n".join(lines))
    return EXIT_OK


def _snapshot_called(store: "DatasetStore", name: str) -> Snapshot:
    """The snapshot of this hash or beginning of one; the newest for an empty name."""
    if name == NOW:
        return store.frozen()
    found = [info.hash for info in store.snapshots() if info.hash.startswith(name)]
    if not found:
        what = f"no snapshot {name!r}" if name else "no snapshot yet"
        raise UserError(f"The dataset {store.name!r} has {what}; `sdstudio dataset snapshot {store.name}` takes one.")
    if name and len(found) > 1:
        raise UserError(f"{len(found)} snapshots of {store.name!r} begin with {name!r}; give more of the one you mean.")
    return store.load_snapshot(found[0])


LOOKING = {
    "list": Command(
        help="List the datasets.",
        run=_list,
        examples="  sdstudio dataset list\n  sdstudio dataset list --json",
    ),
    "show": Command(
        help="List a dataset's pictures and captions.",
        run=_show,
        configure=_configure_show,
        examples=(
            "  sdstudio dataset show mine --limit 20\n"
            "  sdstudio dataset show mine --empty\n"
            "  sdstudio dataset show mine --regex '(man|woman) sitting' --state 'not modified'"
        ),
    ),
    "check": Command(
        help="Look for what would spoil a training run; the exit code is 1 when there is a problem.",
        run=_check,
        configure=_configure_check,
        examples="  sdstudio dataset check mine\n  sdstudio dataset check mine --side 1024 --thorough --json",
    ),
    "snapshot": Command(
        help="Freeze the captions as they are now; a training run does so by itself.",
        run=_snapshot,
        configure=_configure_snapshot,
        examples="  sdstudio dataset snapshot mine\n  sdstudio dataset snapshot mine --list",
    ),
    "diff": Command(
        help="What changed from one snapshot to another, or to now.",
        run=_diff,
        configure=_configure_diff,
        examples="  sdstudio dataset diff mine\n  sdstudio dataset diff mine 3f2a 9b1c",
    ),
}

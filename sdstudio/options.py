"""A config dataclass read as a list of fields, and that list as command-line flags.

The same description draws the forms of the pages, so a flag and a widget never disagree.
"""

import argparse
import dataclasses
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Scalar = Literal["int", "float", "bool", "str"]
ABBREVIATIONS = {"clip": "CLIP", "dora": "DoRA", "ema": "EMA", "lr": "LR", "snr": "SNR"}
"""How words of field names are written on pages."""
SCALARS: dict[type, Scalar] = {int: "int", float: "float", bool: "bool", str: "str"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One setting of a config.

    `name` is its path ('loop.steps' for a field of a nested dataclass), `type` the type of its value, or of each of
    its values where `many` is true. The rest, from `help` on, is what was given to `option`.
    """

    name: str
    label: str
    type: Scalar
    many: bool
    default: Any
    help: str
    low: float | None
    high: float | None
    step: float | None
    unit: str
    choices: tuple[str, ...]
    advanced: bool
    zero: str
    when: str
    section: str

    def counts(self, values: Mapping[str, Any]) -> bool:
        """False when `values`, by field name, leave this setting without a meaning (see `when` of `option`)."""
        if not self.when:
            return True
        switch, _, wanted = self.when.partition("=")
        value = values.get(f"{self.name.rpartition('.')[0]}.{switch}".lstrip("."))
        return str(value) == wanted if wanted else bool(value)


def describe(kind: type, prefix: str = "") -> list[Field]:
    """The settings of the dataclass `kind` in order, those of nested dataclasses in their place.

    Left out are fields that no single widget or flag can hold (a plug-in's options, lists of models).
    """
    hints = get_type_hints(kind)
    fields: list[Field] = []
    section = ""
    for item in dataclasses.fields(kind):
        section = item.metadata.get("section") or section
        hint, path = _without_none(hints[item.name]), f"{prefix}{item.name}"
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            fields += describe(hint, f"{path}.")
            continue
        many = get_origin(hint) in (list, tuple)
        element = get_args(hint)[0] if many else hint
        literal = tuple(str(value) for value in get_args(element)) if get_origin(element) is Literal else ()
        scalar = SCALARS.get(str if literal else element)
        if scalar is None:
            continue
        metadata = item.metadata
        fields.append(
            Field(
                name=path,
                label=label_of(item.name),
                type=scalar,
                many=many,
                default=item.default if item.default_factory is dataclasses.MISSING else item.default_factory(),
                help=metadata.get("help", ""),
                low=metadata.get("low"),
                high=metadata.get("high"),
                step=metadata.get("step"),
                unit=metadata.get("unit", ""),
                choices=tuple(metadata.get("choices", ())) or literal,
                advanced=metadata.get("advanced", False),
                zero=metadata.get("zero", ""),
                when=metadata.get("when", ""),
                section=section,
            )
        )
    return fields


def label_of(name: str) -> str:
    """'Min SNR gamma' for 'loop.min_snr_gamma'."""
    words = name.rpartition(".")[2].split("_")
    label = " ".join(ABBREVIATIONS.get(word, word) for word in words)
    return label[:1].upper() + label[1:]


def _without_none(hint: Any) -> Any:
    """`X | None` as `X`."""
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        return members[0] if len(members) == 1 else hint
    return hint


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """{'loop.steps': 5} as {'loop': {'steps': 5}}: what `from_json` takes."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'loop': {'steps': 5}} as {'loop.steps': 5}: `nest` taken back."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, dictionary by dictionary."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def add_flags(
    parser: argparse.ArgumentParser,
    fields: Iterable[Field],
    title: str,
    positional: Sequence[str] = (),
    in_full: Collection[str] = (),
) -> None:
    """One flag for each field, under `title`; those named in `positional` are arguments without dashes.

    A flag carries the last part of the field's name ('--steps' for 'loop.steps'), the whole of it where that part is
    in `in_full` ('--loop-steps'). Only flags that were given show up
    in the parsed arguments, as text: `from_json` turns them into numbers and refuses what is none.
    """
    group = parser.add_argument_group(title)
    for item in fields:
        help = _help(item).replace("%", "%%")
        last = item.name.rpartition(".")[2]
        if item.name in positional:
            group.add_argument(item.name, metavar=last.upper(), help=help)
            continue
        flag = "--" + (item.name if last in in_full else last).replace("_", "-").replace(".", "-")
        if item.type == "bool":
            group.add_argument(
                flag, dest=item.name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help
            )
        elif item.many:
            group.add_argument(
                flag,
                dest=item.name,
                nargs="+",
                action="extend",
                default=argparse.SUPPRESS,
                metavar=_metavar(item),
                help=help,
            )
        else:
            group.add_argument(flag, dest=item.name, default=argparse.SUPPRESS, metavar=_metavar(item), help=help)


def given(arguments: argparse.Namespace, fields: Iterable[Field]) -> dict[str, Any]:
    """The values of those flags that were on the command line, nested."""
    values = vars(arguments)
    return nest({item.name: values[item.name] for item in fields if item.name in values})


def _metavar(item: Field) -> str:
    return "{" + ",".join(item.choices) + "}" if item.choices else {"str": "TEXT"}.get(item.type, item.type.upper())


def _help(item: Field) -> str:
    default = " ".join(str(value) for value in item.default) if item.many else item.default
    if isinstance(default, bool):
        default = "on" if default else "off"
    shown = default is not dataclasses.MISSING and default not in ("", None) and not (item.zero and default == 0)
    facts = [f"default {default} {item.unit}".strip()] if shown else []
    if item.zero:
        nothing = "empty" if item.type == "str" else "0"
        facts.append(f"{'' if default else 'default '}{nothing}: {item.zero}")
    if item.low is not None and item.high is not None:
        facts.append(f"{_plain(item.low)} to {_plain(item.high)}")
    elif item.low is not None:
        facts.append(f"at least {_plain(item.low)}")
    return f"{item.help} ({'; '.join(facts)})" if facts else item.help


def _plain(number: float) -> str:
    """Whole numbers with all their digits, the others with the few that they have."""
    return str(int(number)) if number == int(number) else f"{number:g}"

"""How a dataclass becomes JSON and comes back: strictly, with every mistake named."""

import dataclasses
import math
from dataclasses import field
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


class UserError(Exception):
    """Something the person can mend. The message is one sentence that says what happened and what to do."""


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
    advanced: bool = False,
    zero: str = "",
    when: str = "",
    section: str = "",
) -> Any:
    """A dataclass field whose metadata becomes the form's widget, the command-line flag and the docs.

    `zero` says what 0, or an empty text, stands for, such as "the model's own": the form shows it in an empty field.
    `when` names the switch of the same dataclass, or 'field=value', without which the setting means nothing: the form
    hides it then. `section` begins a part of the form, which holds this and the following settings.
    """
    metadata = dict(
        help=help,
        low=low,
        high=high,
        step=step,
        unit=unit,
        choices=choices,
        advanced=advanced,
        zero=zero,
        when=when,
        section=section,
    )
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: default.copy(), metadata=metadata)
    return field(default=default, metadata=metadata)


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def from_json(kind: type[T], data: Any) -> T:
    """Build the dataclass `kind` from parsed JSON; a UserError names every unknown key, wrong type or bound."""
    try:
        value: T = _adapter(kind).validate_python(data)
    except ValidationError as error:
        problems = "; ".join(_explain(item) for item in error.errors())
        raise UserError(f"{kind.__name__} is not valid: {problems}.") from error
    check_bounds(value)
    return value


def _explain(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    return f"unknown key '{key}'" if error["type"] == "unexpected_keyword_argument" else f"{key}: {error['msg']}"


def to_json(value: Any) -> Any:
    """The dataclass as plain JSON values (paths as strings, tuples as lists)."""
    return _adapter(type(value)).dump_python(value, mode="json")


def check_bounds(value: Any) -> None:
    """Hold every field against the bounds and choices in its metadata; a UserError names those that break them."""
    problems = []
    for item in dataclasses.fields(value):
        if dataclasses.is_dataclass(getattr(value, item.name)):
            check_bounds(getattr(value, item.name))
        low, high, choices = (item.metadata.get(key) for key in ("low", "high", "choices"))
        current = getattr(value, item.name)
        if isinstance(current, float) and not math.isfinite(current):
            problems.append(f"{item.name} is {current}, give a finite number")
        if low is not None and current is not None and current < low:
            problems.append(f"{item.name} is {current}, the least is {low}")
        if high is not None and current is not None and current > high:
            problems.append(f"{item.name} is {current}, the most is {high}")
        if choices and current not in choices:
            problems.append(f"{item.name} is {current!r}, choose one of {', '.join(choices)}")
    if problems:
        raise UserError(f"{type(value).__name__} is not valid: {'; '.join(problems)}.")

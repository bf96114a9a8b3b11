"""A form made from a config dataclass: one widget a field, the advanced ones folded away."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import streamlit as st

from sdstudio.options import Field, describe, nest
from sdstudio.ui.text import literal

COLUMN_WIDTH = 190
"""Least width of a widget in pixels; as many stand in a row as fit."""


def config_form(
    kind: type,
    key: str,
    skip: Collection[str] = (),
    advanced_label: str = "More settings",
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Widgets for the fields of `kind` but those in `skip`; returns their values as `from_json` takes them.

    `skip` names fields or, for a nested config, all of its fields by its own name. `defaults` are values by field name
    that stand in place of the dataclass's own. `key` keeps the widgets apart, and their values when the person looks
    at another page.
    """
    fields = [
        replace(field, default=defaults.get(field.name, field.default))
        for field in describe(kind)
        if not {field.name, field.name.split(".")[0]} & set(skip)
    ]
    values: dict[str, Any] = {}
    _rows([field for field in fields if not field.advanced], key, values)
    advanced = [field for field in fields if field.advanced]
    if advanced:
        with st.expander(advanced_label):
            _rows(advanced, key, values)
    return nest(values)


def _rows(fields: list[Field], key: str, values: dict[str, Any]) -> None:
    """Texts first, over the whole width, then the short fields side by side."""
    for field in fields:
        if not _is_short(field):
            values[field.name] = _widget(field, f"{key}.{field.name}")
    short = [field for field in fields if _is_short(field)]
    if short:
        with st.grid(columns="auto", min_column_width=COLUMN_WIDTH, vertical_alignment="bottom"):
            for field in short:
                values[field.name] = _widget(field, f"{key}.{field.name}")


def _is_short(field: Field) -> bool:
    return not field.many and (field.type != "str" or bool(field.choices))


def _widget(field: Field, key: str) -> Any:
    label = literal(field.label) + (f" ({field.unit})" if field.unit and field.unit not in field.label.lower() else "")
    common: dict[str, Any] = {
        "label": label,
        "help": literal(field.help) or None,
        "key": key,
        "persist_state": "session",
    }
    if field.many:
        lines = st.text_area(value="\n".join(map(str, field.default)), height=100, **common)
        return [line.strip() for line in lines.splitlines() if line.strip()]
    if field.choices:
        return st.selectbox(options=field.choices, index=field.choices.index(str(field.default)), **common)
    if field.type == "bool":
        return st.toggle(value=field.default, **common)
    if field.type == "str":
        return st.text_input(value=field.default, **common)
    return _number(field, common)


def _number(field: Field, common: dict[str, Any]) -> Any:
    if field.type == "int":
        return st.number_input(
            value=field.default,
            min_value=_as(int, field.low),
            max_value=_as(int, field.high),
            step=int(field.step or 1),
            **common,
        )
    return st.number_input(
        value=field.default,
        min_value=_as(float, field.low),
        max_value=_as(float, field.high),
        step=field.step or (1e-4 if field.name.endswith("learning_rate") else 0.05),
        format="%g",
        **common,
    )


def _as(number: type, bound: float | None) -> Any:
    return None if bound is None else number(bound)

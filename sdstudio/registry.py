"""A folder of one-file plug-ins, read as {name: record}."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from sdstudio.validation import UserError


@cache
def load(package: str) -> Mapping[str, Any]:
    """Import every module of `package` and collect its `RECORD` by the record's name.

    A module without a `RECORD` (a helper that plug-ins share) is passed over.
    Raises ValueError when two records carry one name.
    """
    records: dict[str, Any] = {}
    for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{module_info.name}")
        record = getattr(module, "RECORD", None)
        if record is None:
            continue
        if record.name in records:
            raise ValueError(f"{package} holds two records named {record.name!r}")
        records[record.name] = record
    return MappingProxyType(records)


def find(package: str, what: str, name: str) -> Any:
    """The record of this name; a UserError that lists those there are when it is none. `what` names their kind."""
    records = load(package)
    if name not in records:
        raise UserError(f"There is no {what} named {name!r}; choose one of {', '.join(sorted(records))}.")
    return records[name]

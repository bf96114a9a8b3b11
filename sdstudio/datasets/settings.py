"""What a person chose for one dataset; kept inside it, so that a copied folder means the same."""

import json
import sqlite3
from dataclasses import dataclass

from sdstudio.datasets.fit import CENTRE, CHOICES
from sdstudio.datasets.template import check_template
from sdstudio.schema import STRICT, check_bounds, from_json, option, to_json

TEMPLATE = (
    "Asim. a [closeup?] of a [emotional expression] [race] [X year old] [man / woman / etc.], "
    "with [hair and makeup style], wearing [clothing style] while [doing] near [nearby objects], "
    "[outside / inside] with [objects / color] in the background, in [time period]."
)


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """One dataset's own choices."""

    __pydantic_config__ = STRICT
    identifier: str = option("", "The word that every caption should hold, such as 'asim'; empty asks for none.")
    template: str = option(
        TEMPLATE, "How a detailed caption is written; [slots] are filled in, [slot?] may be left out."
    )
    fit: str = option(CENTRE, "How a picture becomes a square.", choices=tuple(CHOICES))
    resolution: int = option(
        512, "The side that it will be trained at; smaller pictures would be enlarged.", low=8, high=4096, unit="px"
    )
    class_pictures: str = option(
        "",
        "A dataset, or a folder by its whole path, of other pictures of the same class (DreamBooth's prior); "
        "the check before training counts them.",
        advanced=True,
    )
    tokenizer: str = option("", "Folder of the tokenizer that counts tokens; empty takes the starter's.", advanced=True)


def read(connection: sqlite3.Connection) -> DatasetSettings:
    row = connection.execute("SELECT value FROM setting WHERE key = 'settings'").fetchone()
    return from_json(DatasetSettings, json.loads(row[0])) if row else DatasetSettings()


def write(connection: sqlite3.Connection, settings: DatasetSettings) -> None:
    """A UserError, and nothing is written, for a value out of its bounds or a template with a bracket left open."""
    check_bounds(settings)
    check_template(settings.template)
    put(connection, "settings", json.dumps(to_json(settings), ensure_ascii=False))


def get(connection: sqlite3.Connection, key: str) -> str:
    """A value that the studio keeps for itself; empty when there is none."""
    row = connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else ""


def put(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO setting VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
    )

"""Axes as people write them: `cfg=3,5,7 steps=10-50:10 sampler="euler a",ddim`."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sdstudio.options import Field, describe
from sdstudio.schema import Axis, SampleSettings, UserError

MODEL, WEIGHT, PROMPT = "model", "weight", "prompt"
MOST_VALUES = 200
_RANGE = re.compile(r"(\d{1,10})-(\d{1,10})(?::(\d{1,10}))?")
_ALIASES = {
    "cfg": "guidance_scale",
    "sampler": "scheduler",
    "checkpoint": MODEL,
    "epoch": MODEL,
    "lora": WEIGHT,
    "lora_weight": WEIGHT,
    "negative": "negative_prompt",
    "replace": PROMPT,
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Something that an axis can go over; `field` is of SampleSettings where it is one of them."""

    name: str
    label: str
    help: str
    field: Field | None = None


def _settings() -> dict[str, Setting]:
    """In the order that people reach for them."""
    fields = {item.name: item for item in describe(SampleSettings) if item.name != "batch_size"}
    first = ("guidance_scale", "steps", "scheduler", "seed")
    named = [*first, *(name for name in fields if name not in first)]
    found = [Setting(name=name, label=fields[name].label, help=fields[name].help, field=fields[name]) for name in named]
    found[len(first) : len(first)] = [
        Setting(
            name=MODEL,
            label="Model",
            help="'base', a run, a checkpoint's folder, a base model; a number is a step of the chosen model's run.",
        ),
        Setting(
            name=WEIGHT, label="Checkpoint's weight", help="How strongly what was learned counts; 0 is not at all."
        ),
        Setting(
            name=PROMPT,
            label="Prompt, replaced",
            help="The first value is looked for in the prompt and the negative prompt, and replaced by each value.",
        ),
    ]
    return {setting.name: setting for setting in found}


SETTINGS: Mapping[str, Setting] = MappingProxyType(_settings())


def parse_axes(texts: Sequence[str]) -> list[Axis]:
    """'name=value,value…' each as an axis. Raises UserError for a name that is none and for values that are none."""
    axes = []
    for text in texts:
        name, sign, values = text.partition("=")
        if not sign:
            raise UserError(f"{text!r} is no axis: write a setting, '=' and its values, such as cfg=3,5,7.")
        setting = find_setting(name)
        axes.append(Axis(setting=setting.name, values=parse_values(setting.name, values)))
    return axes


def find_setting(name: str) -> Setting:
    """The setting of this name, or of a short name for it; a UserError that lists them otherwise."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    found = SETTINGS.get(_ALIASES.get(plain, plain))
    if found is None:
        names = ", ".join(dict.fromkeys([*_ALIASES, *SETTINGS]))
        raise UserError(f"There is no setting {name.strip()!r} to make an axis of: choose one of {names}.")
    return found


def parse_values(setting: str, text: str) -> list[str]:
    """Values with commas between them; those that hold a comma stand in quotes. '1-4' and '10-50:10' are ranges."""
    try:
        (parts,) = csv.reader([text.strip()], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise UserError(
            f"The values {text!r} cannot be read: put commas between them, and quotes around commas."
        ) from error
    field = SETTINGS[setting].field
    counts = setting == MODEL or (field is not None and field.type == "int")
    values: list[str] = []
    for part in (part.strip() for part in parts):
        values += _spread(part) if counts else [part]
    if not any(values):
        raise UserError(f"The axis {SETTINGS[setting].label!r} has no values: give some, with commas between them.")
    if len(values) > MOST_VALUES:
        raise UserError(f"The axis {SETTINGS[setting].label!r} has {len(values)} values, the most is {MOST_VALUES}.")
    return values


def _spread(text: str) -> list[str]:
    match = _RANGE.fullmatch(text)
    if match is None:
        return [text]
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if last < first or not step or (last - first) // step >= MOST_VALUES:
        raise UserError(f"{text!r} is no range of at most {MOST_VALUES} numbers: write first-last or first-last:step.")
    return [str(number) for number in range(first, last + 1, step)]

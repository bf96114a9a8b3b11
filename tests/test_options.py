"""Config dataclasses as fields, and fields as flags."""

import argparse
from dataclasses import dataclass, field
from typing import Literal

import pytest

from sdstudio.options import add_flags, describe, given, merge, nest
from sdstudio.schema import STRICT, TrainConfig, from_json, option


@dataclass(frozen=True, kw_only=True)
class Inner:
    __pydantic_config__ = STRICT
    rate: float = option(0.5, "How fast, in % of all.", low=0.0, high=1.0, step=0.1, unit="1/s", advanced=True)
    loud: bool = option(False, "Whether it is heard.")


@dataclass(frozen=True, kw_only=True)
class Outer:
    __pydantic_config__ = STRICT
    place: str
    count: int | None = option(None, "How many.")
    words: list[str] = option(["a", "b"], "Which words.")
    seeds: tuple[int, ...] = option((1, 2), "Which seeds.")
    mode: Literal["slow", "fast"] = "slow"
    inner: Inner = field(default_factory=Inner)
    anything: dict[str, int] = option({}, "Not for a widget.")


def parse(*argv: str) -> Outer:
    parser = argparse.ArgumentParser()
    fields = describe(Outer)
    add_flags(parser, fields, "settings", positional=("place",))
    return from_json(Outer, given(parser.parse_args(argv), fields))


def test_fields_carry_what_a_form_needs() -> None:
    fields = {item.name: item for item in describe(Outer)}
    assert list(fields) == ["place", "count", "words", "seeds", "mode", "inner.rate", "inner.loud"]
    rate = fields["inner.rate"]
    assert (rate.label, rate.type, rate.default, rate.low, rate.high) == ("Rate", "float", 0.5, 0.0, 1.0)
    assert (rate.step, rate.unit, rate.advanced, rate.many) == (0.1, "1/s", True, False)
    assert (fields["words"].type, fields["words"].many, fields["words"].default) == ("str", True, ["a", "b"])
    assert (fields["seeds"].type, fields["seeds"].many) == ("int", True)
    assert (fields["mode"].type, fields["mode"].choices) == ("str", ("slow", "fast"))
    assert (fields["count"].type, fields["count"].default) == ("int", None)


def test_flags_become_the_config() -> None:
    assert parse("here") == Outer(place="here")
    full = parse(
        "there", "--count", "3", "--words", "x", "y", "--words", "z", "--seeds", "7", "--rate", "1e-1", "--loud"
    )
    assert full == Outer(place="there", count=3, words=["x", "y", "z"], seeds=(7,), inner=Inner(rate=0.1, loud=True))
    assert parse("here", "--no-loud").inner.loud is False
    assert parse("here", "--mode", "fast").mode == "fast"


def test_a_default_is_not_changed_by_a_flag_that_adds_to_it() -> None:
    parse("here", "--words", "x")
    assert parse("here").words == ["a", "b"]


def test_help_shows_default_bounds_and_unit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "How fast, in % of all. (default 0.5 1/s; 0 to 1)" in text
    assert "Which words. (default a b)" in text


def test_nest_and_merge() -> None:
    assert nest({"loop.steps": 5, "loop.seed": 1, "name": "x"}) == {"loop": {"steps": 5, "seed": 1}, "name": "x"}
    under = {"loop": {"steps": 5, "seed": 1}, "options": {"rank": 4}}
    assert merge(under, {"loop": {"steps": 9}, "name": "x"}) == {
        "loop": {"steps": 9, "seed": 1},
        "options": {"rank": 4},
        "name": "x",
    }
    assert under["loop"]["steps"] == 5


def test_every_default_of_a_described_config_is_valid() -> None:
    fields = describe(TrainConfig)
    assert from_json(TrainConfig, nest({item.name: item.default for item in fields})) == TrainConfig()


def test_a_setting_counts_only_beside_its_switch() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Switched:
        loud: bool = option(False, "Whether it is heard.")
        volume: float = option(0.0, "How loud.", zero="the room's own", when="loud")
        mode: str = option("slow", "How.", choices=("slow", "fast"))
        pace: float = option(1.0, "How fast.", when="mode=fast")

    fields = {item.name: item for item in describe(Switched, "options.")}
    assert fields["options.volume"].zero == "the room's own" and fields["options.loud"].zero == ""

    def counting(**values: object) -> list[str]:
        paths = {f"options.{name}": value for name, value in values.items()}
        return [item.label for item in fields.values() if item.counts(paths)]

    parser = argparse.ArgumentParser()
    add_flags(parser, fields.values(), "settings")
    assert "default 0: the room's own" in " ".join(parser.format_help().split())

    assert counting(loud=False, mode="slow") == ["Loud", "Mode"]
    assert counting(loud=True, mode="fast") == ["Loud", "Volume", "Mode", "Pace"]

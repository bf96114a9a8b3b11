"""Preflight: each thing that spoils a training run is found, counted, and points to its pictures."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdstudio.datasets import create_dataset, preflight
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.bulk import Mark
from sdstudio.workspace import Workspace


def new(seed: int, caption: str, size=(96, 96), exif=None) -> NewPicture:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG", exif=exif or Image.Exif())
    return NewPicture(data=buffer.getvalue(), file_name=f"{seed}.png", caption=caption)


@pytest.fixture
def store(tmp_path):
    return create_dataset(Workspace(tmp_path), "set")


def add(store, *pictures) -> list[str]:
    return [outcome.id for outcome in store.add_many(pictures)]


def found_all(store, **how) -> dict[str, preflight.Finding]:
    return {finding.code: finding for finding in preflight.check(store, side=64, **how)}


def found(store, **how) -> dict[str, preflight.Finding]:
    findings = preflight.check(store, side=64, **how)
    for finding in findings:
        assert finding.count == len(finding.ids)
        assert finding.sentence.endswith(".") and "{" not in finding.sentence
        if finding.query is not None:
            assert sorted(store.ids(finding.query)) == sorted(finding.ids)
    return {finding.code: finding for finding in findings}


def test_a_good_dataset_has_no_findings(store):
    add(store, new(1, "asim one"), new(2, "asim two"))
    store.save_settings(replace(store.settings(), identifier="asim"))
    assert found(store, thorough=True) == {}


def test_everything_is_found(store):
    turned = Image.Exif()
    turned[0x0112] = 6
    good, empty, same, alike, tiny, wide, sideways, long, open_, lacking = add(
        store,
        new(1, "asim one"),
        new(2, ""),
        new(3, "ASIM ONE"),
        new(3, "asim alike", size=(80, 80)),
        new(4, "asim tiny", size=(40, 90)),
        new(5, "asim wide", size=(300, 100)),
        new(6, "asim sideways", size=(90, 100), exif=turned),
        new(7, "asim " + "long " * 90),
        new(8, "asim in [time period]"),
        new(9, "asimov"),
    )
    store.save_settings(replace(store.settings(), identifier="asim"))
    findings = found(store)
    expected = {
        "empty": {empty},
        "too-long": {long},
        "open-slot": {open_},
        "identifier": {empty, lacking},
        "duplicate-caption": {good, same},
        "near-duplicate": {same, alike},
        "tiny": {tiny},
        "crop-loss": {tiny, wide},
        "turned": {sideways},
    }
    assert {code: set(finding.ids) for code, finding in findings.items()} == expected
    assert findings["too-long"].details == {long: store.tokenizer().measure(store.image(long).caption).cut}
    assert findings["too-long"].details[long].endswith("long long")
    assert findings["crop-loss"].details == {tiny: "56%", wide: "67%"}
    assert findings["tiny"].sentence.startswith("1 picture smaller than 64 px")
    assert [finding.level for finding in findings.values()].count("problem") == 1


def test_what_is_not_trained_on_is_not_checked(store):
    first, second, _ = add(store, new(1, ""), new(2, ""), new(3, "x"))
    store.bulk([first], Mark(what="exclude"))
    store.bulk([second], Mark(what="delete"))
    findings = found(store)
    assert {code: finding.ids for code, finding in findings.items()} == {"excluded": (first,)}


def test_lost_and_damaged_files_are_found(store):
    lost, emptied, changed, good = add(store, *(new(seed, f"number {seed}") for seed in range(4)))
    store.image_path(lost).unlink()
    store.image_path(emptied).write_bytes(b"")
    store.image_path(changed).write_bytes(store.image_path(good).read_bytes())
    assert found(store)["unreadable"].details == {lost: "missing", emptied: "empty"}
    heard = []
    details = found(store, thorough=True, progress=lambda done, total: heard.append((done, total)))[
        "unreadable"
    ].details
    assert details == {lost: "missing", emptied: "empty", changed: "changed on disk"}
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_chosen_fit_counts(store):
    add(store, new(1, "wide", size=(300, 100)))
    assert set(found(store)) == {"crop-loss"}
    store.save_settings(replace(store.settings(), fit="white"))
    assert found(store) == {}


def test_class_pictures_are_counted(store, tmp_path):
    """Those of a dataset without the excluded ones, those of a folder with its subfolders."""
    classes = create_dataset(Workspace(tmp_path), "dogs")
    first, *_ = add(classes, *(new(seed, "a dog") for seed in range(20, 23)))
    add(store, new(1, "asim one"), new(2, "asim two"))

    def said(place) -> tuple[str, str]:
        store.save_settings(replace(store.settings(), class_pictures=str(place)))
        finding = found_all(store)["class-pictures"]
        return finding.level, finding.sentence

    assert said("dogs") == ("note", "3 pictures of the class in “dogs” beside 2 pictures to learn.")
    classes.bulk([first], Mark(what="exclude"))
    assert said("dogs")[1].startswith("2 pictures")
    inner = tmp_path / "class pictures" / "inner"
    inner.mkdir(parents=True)
    (inner / "one.png").write_bytes(new(9, "").data)
    (inner / "one.txt").write_text("a dog")
    assert said(inner.parent) == (
        "warning",
        f"1 picture of the class in “{inner.parent}” beside 2 pictures to learn: each of them comes more often than a "
        "picture to learn, so that the class is narrowed to them.",
    )
    assert said("cats") == (
        "problem", "The class pictures: There is no dataset 'cats' and no folder of this whole path: check the name."
    )  # fmt: skip


def test_a_full_disk_is_said(store, monkeypatch):
    add(store, new(1, "x"))
    monkeypatch.setattr(preflight, "NEEDED_BYTES", 2**80)
    finding = found(store)["disk"]
    assert (finding.level, finding.ids) == ("problem", ())
    assert "are free" in finding.sentence

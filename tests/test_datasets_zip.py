"""Zip files as a way in, and what is wrong with some."""

import random
import struct
import zipfile

import pytest
from import_helpers import COLOURS, bring, captions, picture, table, zipped

from sdstudio.datasets import list_datasets, open_dataset
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_is_read_like_a_folder(ws, tmp_path, compression):
    rows = '{"file_name": "b.jpg", "text": "from metadata"}\n'
    members = {
        "set/a.png": picture("red"),
        "set/a.txt": "a naïve caption",
        "set/b.jpg": picture("green", "JPEG"),
        "set/metadata.jsonl": rows,
        "set/deep/": "",
        "__MACOSX/set/._a.png": b"x",
        "set/.DS_Store": b"x",
    }
    path = zipped(tmp_path / "set.zip", members, compression=compression)
    report = bring(ws, path)
    assert (report.added, report.refused) == (2, [])
    assert captions(ws) == {"set/a.png": "a naïve caption", "set/b.jpg": "from metadata"}
    again = bring(ws, path)
    assert (again.added, again.duplicates) == (0, 2)


def test_names_that_leave_the_zip_file_are_refused_and_the_rest_is_in(ws, tmp_path):
    names = ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png", "good.png"]
    members = dict(zip(names, map(picture, COLOURS), strict=True))
    report = bring(ws, zipped(tmp_path / "slip.zip", members))
    assert (report.added, len(report.refused)) == (1, 5)
    assert all("leads out of the zip file" in reason for _, reason in report.refused)
    assert captions(ws) == {"good.png": ""}
    assert not [path for path in tmp_path.rglob("evil*")]


def test_a_zip_bomb_is_refused_whole(ws, tmp_path):
    path = zipped(
        tmp_path / "bomb.zip", {"a.png": picture(), "b.png": bytes(30_000_000)}, compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(UserError, match="would unpack to 30 MB, more than 50 times its size"):
        bring(ws, path)
    assert list_datasets(ws) == []


def test_a_member_that_lies_about_its_size_is_not_read_past_it(ws, tmp_path):
    path = zipped(
        tmp_path / "liar.zip", {"a.png": picture(), "b.png": bytes(30_000_000)}, compression=zipfile.ZIP_DEFLATED
    )
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    report = bring(ws, path)
    assert report.added == 1
    assert [(name, reason.split(";")[0]) for name, reason in report.refused] == [
        ("b.png", "It is damaged or cut short")
    ]


def test_odd_members_are_refused_one_by_one(ws, tmp_path):
    path = zipped(tmp_path / "odd.zip", {"good.png": picture("red"), "locked.png": picture("blue")})
    with zipfile.ZipFile(path, "a", compression=zipfile.ZIP_LZMA) as archive:
        archive.writestr("packed.png", picture("green"))
        archive.writestr("inner.zip", b"PK\x05\x06" + bytes(18), compress_type=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.index(signature, data.index(signature) + 4)
        data[start + flags] |= 1
    path.write_bytes(data)
    report = bring(ws, path)
    assert report.added == 1
    assert {name: reason.split(";")[0] for name, reason in report.refused} == {
        "locked.png": "It is encrypted",
        "packed.png": "It is packed in an unusual way",
        "inner.zip": "It is not a PNG, JPEG or WebP picture",
    }


def test_a_flipped_bit_in_a_zip_file_is_found(ws, tmp_path):
    path = zipped(tmp_path / "bad.zip", {"a.png": picture("red"), "b.png": picture("blue")})
    data = bytearray(path.read_bytes())
    data[data.index(picture("blue")) + 40] ^= 1
    path.write_bytes(data)
    report = bring(ws, path)
    assert (report.added, [name for name, _ in report.refused]) == (1, ["b.png"])


@pytest.mark.parametrize("suffix", ["zip", "parquet", "csv", "jsonl"])
def test_damaged_files_cost_a_sentence_never_more(ws, tmp_path, suffix):
    """Bytes changed, lost and put in at random places: what can be read is in, the rest is said."""
    (tmp_path / "a.png").write_bytes(picture())
    if suffix == "zip":
        good = zipped(tmp_path / "x.zip", {"d/a.png": picture(), "d/a.txt": "words"}).read_bytes()
    else:
        good = table(tmp_path, f"x.{suffix}", [("a.png", "words"), ("a.png", 'more, "words"')]).read_bytes()
    chance = random.Random(0)
    said = 0
    for number in range(80):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(data))
            cut = chance.choice((0, 1, 1, 12))
            data[place : place + cut] = chance.randbytes(chance.choice((0, 1, 1, 4)))
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(data)
        try:
            bring(ws, path, source="zip" if suffix == "zip" else "table")
        except UserError:
            said += 1
    assert 0 < said < 80
    assert len(open_dataset(ws, "set").images()) == 1


def test_what_is_no_zip_file_is_said(ws, tmp_path):
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(UserError, match=r"is not a zip file"):
        bring(ws, tmp_path / "text.zip", source="zip")
    with pytest.raises(UserError, match="no folder, zip file, table or config"):
        bring(ws, tmp_path / "text.zip")
    with pytest.raises(UserError, match="holds no files"):
        bring(ws, zipped(tmp_path / "empty.zip", {"README.md": "x"}))

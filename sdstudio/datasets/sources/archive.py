"""A zip file. Nothing of it is unpacked to disk: members are read one by one, so no name can lead anywhere."""

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from sdstudio.datasets.sources.layout import offer_tree
from sdstudio.datasets.sources.offer import Offer, Refused, Source, TreeFile, is_clutter
from sdstudio.datasets.tables import SUFFIXES
from sdstudio.schema import ImportConfig, UserError
from sdstudio.workspace import typed_path

MOST_EXPANSION = 50
"""Pictures hardly shrink in a zip file, and text by less than ten: one that grows more than this is a bomb."""


def detect(place: str) -> bool:
    path = typed_path(place)
    return path.is_file() and path.suffix.lower() not in SUFFIXES and zipfile.is_zipfile(path)


@contextmanager
def open_archive(config: ImportConfig) -> Iterator[Offer]:
    path = typed_path(config.folder)
    with _archive(path) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > MOST_EXPANSION * path.stat().st_size:
            raise UserError(
                f"The zip file {path.name} would unpack to {unpacked / 1e6:,.0f} MB, more than {MOST_EXPANSION} "
                "times its size, which pictures never do; zip the pictures again."
            )
        files, refused = members(archive)
        yield offer_tree(f"The zip file {path.name}", files, refused, config)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise UserError(f"The zip file {path} cannot be read: {error.strerror}.") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise UserError(f"{path} is not a zip file, or it is damaged ({error}); zip the pictures again.") from error


def members(archive: zipfile.ZipFile) -> tuple[list[TreeFile], Refused]:
    """(the files of the archive without clutter, (name, reason) of those that are refused unread)."""
    files: list[TreeFile] = []
    refused: Refused = []
    for info in archive.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if info.filename.endswith("/") or any(is_clutter(part) for part in path.parts if part != ".."):
            continue
        reason = _objection(info, path)
        if reason:
            refused.append((str(path), reason))
        else:
            files.append(TreeFile(path=str(path), size=info.file_size, open=partial(archive.open, info)))
    return files, refused


def _objection(info: zipfile.ZipInfo, path: PurePosixPath) -> str:
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "Its name leads out of the zip file; zip the pictures again with plain names."
    if info.flag_bits & 1:
        return "It is encrypted; zip the pictures again without a password."
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "It is packed in an unusual way; zip the pictures again in the ordinary one."
    return ""


RECORD = Source(name="zip", label="Zip file", detect=detect, open=open_archive)

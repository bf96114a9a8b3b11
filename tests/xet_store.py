"""The Hub's store of large files (xet), as far as the installed `hf_xet` uploads to one.

Chunks lie in xorbs, and shards say which chunks a file is made of. Layouts: https://huggingface.co/docs/xet/xorb and
https://huggingface.co/docs/xet/shard
"""

import hashlib
import struct
from collections.abc import Iterator

import pyarrow

HEADER, ENTRY = 48, 48
END = b"\xff" * 32
VERIFIED, HASHED = 1 << 31, 1 << 30


class XetStore:
    """`xorbs` by their hash; `put_shard` puts the files together that it lists."""

    def __init__(self) -> None:
        self.xorbs: dict[str, list[bytes]] = {}

    def put_xorb(self, hash: str, data: bytes) -> None:
        self.xorbs[hash] = list(chunks(data))

    def put_shard(self, data: bytes) -> dict[str, bytes]:
        """Each file of the shard by its sha256. An AssertionError when it is not what that says."""
        files = {}
        for sha256, parts in files_of(data):
            content = b"".join(b"".join(self.xorbs[xorb][first:last]) for xorb, first, last in parts)
            assert hashlib.sha256(content).hexdigest() == sha256
            files[sha256] = content
        return files


def chunks(xorb: bytes) -> Iterator[bytes]:
    """The unpacked chunks, each behind 8 bytes: version, packed size, packing, unpacked size."""
    place = 0
    while place < len(xorb) and xorb[place] == 0:
        packed = int.from_bytes(xorb[place + 1 : place + 4], "little")
        size = int.from_bytes(xorb[place + 5 : place + 8], "little")
        yield unpack(xorb[place + 8 : place + 8 + packed], xorb[place + 4], size)
        place += 8 + packed


def unpack(data: bytes, packing: int, size: int) -> bytes:
    """0: as it is; 1: an LZ4 frame; 2: an LZ4 frame of the bytes sorted by their place modulo 4."""
    if packing == 0:
        return data
    plain: bytes = pyarrow.decompress(data, size, codec="lz4", asbytes=True)
    if packing == 1:
        return plain
    mixed, place = bytearray(size), 0
    for lane in range(4):
        count = len(range(lane, size, 4))
        mixed[lane::4] = plain[place : place + count]
        place += count
    return bytes(mixed)


def files_of(shard: bytes) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """(sha256, [(xorb, first chunk, chunk after the last)]) of each file."""
    place = HEADER
    while shard[place : place + 32] != END:
        flags, count = struct.unpack_from("<II", shard, place + 32)
        assert flags & HASHED, "without the sha256 the Hub cannot match the file with a commit"
        place += ENTRY
        parts = []
        for entry in range(place, place + count * ENTRY, ENTRY):
            first, last = struct.unpack_from("<II", shard, entry + 40)
            parts.append((text_of(shard[entry : entry + 32]), first, last))
        place += count * ENTRY * (2 if flags & VERIFIED else 1)
        yield text_of(shard[place : place + 32]), parts
        place += ENTRY


def text_of(hash: bytes) -> str:
    """Four little-endian numbers of 64 bits, in hex."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", hash))

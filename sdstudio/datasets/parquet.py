"""Pictures and captions in Parquet files, laid out as Hugging Face's `datasets` writes its Image feature."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHARD_BYTES = 250_000_000
ROW_GROUP_BYTES = 32_000_000
FEATURES = {"image": {"_type": "Image"}, "text": {"dtype": "string", "_type": "Value"}}
CHUNKING = {"min_chunk_size": 262_144, "max_chunk_size": 1_048_576, "norm_level": 0}
"""Where data pages end, in bytes: at content, not at fixed places, so that the Hub stores an edited set's news only."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A picture on its way out: its `name` there, its caption, the stored file and its size in bytes."""

    name: str
    caption: str
    path: Path
    size: int


def plan_shards(rows: Sequence[Exported], most: int = SHARD_BYTES) -> dict[str, Sequence[Exported]]:
    """The rows of each file by its name (`train-00000-of-00003.parquet`): consecutive ones, at most `most` bytes."""
    shards: list[list[Exported]] = [[]]
    filled = 0
    for row in rows:
        if shards[-1] and filled + row.size > most:
            shards.append([])
            filled = 0
        shards[-1].append(row)
        filled += row.size
    return {f"train-{index:05}-of-{len(shards):05}.parquet": shard for index, shard in enumerate(shards)}


def write_shard(path: Path, rows: Sequence[Exported], row_group: int = ROW_GROUP_BYTES) -> None:
    """One Parquet file with the pictures inside; the same rows give the same bytes. One row group is in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = json.dumps({"info": {"features": FEATURES}})
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("text", pa.string())],
        metadata={"huggingface": features},
    )
    with pq.ParquetWriter(
        path,
        schema,
        compression={"image.bytes": "none", "image.path": "none", "text": "snappy"},
        column_encoding={"image.bytes": "PLAIN", "image.path": "PLAIN"},
        use_dictionary=["text"],
        use_content_defined_chunking=CHUNKING,
        write_page_index=True,
    ) as writer:
        for group in plan_shards(rows, row_group).values():
            images = [{"bytes": row.path.read_bytes(), "path": row.name} for row in group]
            texts = [row.caption for row in group]
            writer.write_table(pa.table({"image": images, "text": texts}, schema=schema))
        writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CHUNKING)})

"""Pictures, zip files and tables to import, and what came of it, for the tests of imports."""

import csv
import io
import json
import zipfile

from PIL import Image

from sdstudio.datasets import open_dataset
from sdstudio.datasets.importer import import_pictures
from sdstudio.schema import ImportConfig

COLOURS = ("red", "green", "blue", "white", "black", "yellow")


def picture(colour="red", format="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8), colour).save(buffer, format)
    return buffer.getvalue()


def bring(ws, place, name="set", **settings):
    return import_pictures(ws, ImportConfig(dataset=name, folder=str(place), **settings))


def captions(ws, name="set"):
    return {image.file_name: image.caption for image in open_dataset(ws, name).images()}


def zipped(path, members, **settings):
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def table(folder, name, rows):
    """`rows` as (file, caption) under the columns `Image_Path` and `Caption`."""
    path = folder / name
    columns = ("id", "Image_Path", "Caption")
    records = [dict(zip(columns, (number, *row), strict=True)) for number, row in enumerate(rows)]
    if name.endswith(".csv"):
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns)
        writer.writeheader()
        writer.writerows(records)
        path.write_text(buffer.getvalue(), encoding="utf-8-sig", newline="")
    elif name.endswith(".json"):
        path.write_text(json.dumps(records), encoding="utf-8")
    elif name.endswith(".jsonl"):
        path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(records), path)
    return path

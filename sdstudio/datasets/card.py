"""The card of a dataset on the Hub: what it holds, who captioned it, what others may do with it."""

import json
from collections.abc import Sequence

from sdstudio.datasets.parquet import FEATURES, Exported
from sdstudio.schema import CaptionedImage

TAG = "sd-studio"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_card(
    name: str, description: str, license: str, images: Sequence[CaptionedImage], rows: Sequence[Exported], hash: str
) -> str:
    """README.md with the front matter that the Hub reads. `hash` is the content hash of the pictures and captions."""
    return f"---\n{_front_matter(license, rows)}---\n\n{_body(name, description, license, images, hash)}"


def marker(name: str) -> str:
    """The line by which a push knows a repository that an earlier push of this dataset made."""
    return f"<!-- SD Studio dataset: {name} -->"


def _front_matter(license: str, rows: Sequence[Exported]) -> str:
    """YAML; each value is JSON, which is YAML too."""
    size = sum(row.size + len(row.caption.encode()) for row in rows)
    features = [
        {"name": "image", "dtype": "image"},
        {"name": "text", "dtype": FEATURES["text"]["dtype"]},
    ]
    fields = {
        **({"license": license} if license else {}),
        "task_categories": ["text-to-image"],
        "size_categories": [next((label for most, label in SIZES if len(rows) < most), "1M<n<10M")],
        "tags": [TAG],
        "dataset_info": {
            "features": features,
            "splits": [{"name": "train", "num_bytes": size, "num_examples": len(rows)}],
            "dataset_size": size,
        },
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items())


def _body(name: str, description: str, license: str, images: Sequence[CaptionedImage], hash: str) -> str:
    captioned = sum(bool(image.caption) for image in images)
    by_person = sum(image.state != "not modified" for image in images)
    approved = sum(image.state == "approved" for image in images)
    counts = {
        "Pictures": len(images),
        "With a caption": captioned,
        "Captions that a person wrote or approved": by_person,
        "of these approved": approved,
        "Captions as a captioner or a file gave them": sum(
            bool(image.caption) and image.state == "not modified" for image in images
        ),
    }
    parts = [
        f"# {name}",
        description,
        "Pictures (`image`) and their captions (`text`), for teaching a text-to-image model.",
        "\n".join(["| | |", "|---|---:|", *(f"| {what} | {count:,} |" for what, count in counts.items())]),
        f"Licence: `{license}`." if license else "No licence was chosen.",
        f"Content hash: `{hash}`",
        marker(name),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"

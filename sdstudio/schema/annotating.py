"""Configs of the jobs that fill a dataset, caption it and send it away."""

from dataclasses import dataclass, field
from typing import Any

from sdstudio.validation import STRICT, option


@dataclass(frozen=True, kw_only=True)
class CaptionConfig:
    """Draft captions for a dataset with one captioner; a person's caption is never overwritten."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset whose pictures get drafts.")
    captioner: str = option("blip", "The captioner plug-in.")
    options: dict[str, Any] = option({}, "The captioner's own options.")
    only_empty: bool = option(True, "Leave pictures that already have a caption as they are.")


@dataclass(frozen=True, kw_only=True)
class CaptionSetting:
    """One captioner with its options, to be compared with others."""

    __pydantic_config__ = STRICT
    captioner: str = option("blip", "The captioner plug-in.")
    options: dict[str, Any] = option({}, "The captioner's own options.")


@dataclass(frozen=True, kw_only=True)
class TryCaptionsConfig:
    """What several captioners make of a few pictures, side by side; nothing is stored in the dataset."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset.")
    ids: list[str] = option([], "The pictures.")
    settings: list[CaptionSetting] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Bring pictures, with the captions that come with them, into a dataset."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset to fill; made when it does not exist.")
    folder: str = option(
        "",
        "A folder (with its subfolders), a zip file, a table (.csv, .jsonl, .json, .parquet), a dataset config of "
        "kohya's trainer (.toml) or a Hub dataset.",
    )
    source: str = option(
        "detect",
        "What kind of place that is.",
        choices=("detect", "folder", "zip", "table", "kohya", "hub"),
        advanced=True,
    )
    caption_lines: str = option(
        "all",
        "Of a text file with several lines, all joined are the caption, or the first is.",
        choices=("all", "first"),
        advanced=True,
    )
    kohya_folders: bool = option(
        True, "Folders named '10_token class' caption their pictures that have no caption.", advanced=True
    )
    picture_column: str = option("", "The table's column of pictures; empty finds it.", advanced=True)
    caption_column: str = option("", "The table's column of captions; empty finds it.", advanced=True)
    subset: str = option("", "The subset of a Hub dataset that has several.", advanced=True)
    split: str = option("", "One split of a Hub dataset; empty takes all.", advanced=True)


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Send a dataset to the Hugging Face Hub. The token comes from HF_TOKEN or `hf auth login`, never from here."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset to send.")
    repository: str = option("", "The repository: 'owner/name', the owner a user or an organisation; or just a name.")
    private: bool = option(True, "Only the owner sees it.")
    license: str = option(
        "",
        "What others may do with it; empty says nothing.",
        choices=(
            "",
            "cc0-1.0",
            "cc-by-4.0",
            "cc-by-sa-4.0",
            "cc-by-nc-4.0",
            "cc-by-nc-sa-4.0",
            "apache-2.0",
            "mit",
            "openrail",
            "other",
            "unknown",
        ),
    )
    format: str = option(
        "parquet",
        "Parquet files, which the Hub previews and any number of pictures fits; or each picture as a file.",
        choices=("parquet", "imagefolder"),
        advanced=True,
    )
    replace: bool = option(
        False,
        "Replace what a repository of this name holds, also when it did not come from this dataset.",
        advanced=True,
    )

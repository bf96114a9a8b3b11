"""What a run would learn from: the dataset's pictures, what is wrong with them, further datasets mixed in."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from sdstudio.datasets import DatasetInfo, DatasetStore, open_dataset, preflight
from sdstudio.datasets.preflight import Finding, Level
from sdstudio.datasets.query import Query
from sdstudio.options import describe
from sdstudio.schema import ExtraDataset, UserError
from sdstudio.training.readiness import last_change, local_folder
from sdstudio.ui.annotate.check import LEVELS
from sdstudio.ui.files import thumb_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import page_file
from sdstudio.ui.text import count, literal
from sdstudio.ui.train.filling import PREFIX
from sdstudio.workspace import Workspace, read_json

PREVIEW = 20
SHOWN: tuple[Level, ...] = ("problem", "warning")


def show_dataset(workspace: Workspace, dataset: DatasetInfo, side: int) -> None:
    """The dataset in a line, a row of its pictures, and the check before training; `side` 0 is the dataset's own."""
    st.caption(f"{count(dataset.images, 'picture')}, {dataset.captioned:,} captioned. {literal(dataset.description)}")
    store = open_dataset(workspace, dataset.name)
    pictures = store.page(Query(excluded=False), 0, PREVIEW)
    items = [Item(image.id, thumb_url(dataset.name, image.id)) for image in pictures]
    gallery(items, key="preview", cell=5, one_row=True)
    show_findings(store, side)


def own_side(workspace: Workspace, base_model: str) -> int:
    """The side in pixels that the base model was made for, by its configs; 0 where they are not on this machine."""
    try:
        folder = local_folder(workspace, base_model)
        unet, vae = (read_json(folder / part / "config.json") if folder else {} for part in ("unet", "vae"))
        return int(unet["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)
    except (UserError, KeyError):
        return 0


def show_findings(store: DatasetStore, side: int) -> None:
    findings = [finding for finding in _check(store, side) if finding.level in SHOWN]
    if not findings:
        st.caption(":material/check_circle: The check before training found nothing to mend.")
    for finding in findings:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{LEVELS[finding.level]} {literal(finding.sentence)}", width="stretch")
            if finding.query is not None:
                st.page_link(
                    page_file("annotate"),
                    label="Mend",
                    icon=":material/build:",
                    query_params={"dataset": store.name, "check": finding.code},
                    width="content",
                )


def _check(store: DatasetStore, side: int) -> tuple[Finding, ...]:
    """The findings, looked for again only after the dataset or the side has changed."""
    return _findings(str(store.folder), last_change(store), side, _store=store)


@st.cache_resource(max_entries=8, show_spinner="Looking at every picture…")
def _findings(folder: str, changed: int, side: int, _store: DatasetStore) -> tuple[Finding, ...]:
    return tuple(preflight.check(_store, side or None))


# ---------------------------------------------------------------- further datasets


def mix_form(others: Sequence[str]) -> dict[str, Any]:
    """Fields for further datasets; the settings `repeats` and `mix` of a TrainConfig as JSON."""
    if not others:
        return {}
    key = f"{PREFIX}.mix"
    if key in st.session_state:
        st.session_state[key] = [name for name in st.session_state[key] if name in others]
    with st.expander("Further datasets", icon=":material/library_add:"):
        chosen = st.multiselect(
            "Mix in",
            list(others),
            key=key,
            placeholder="No further dataset",
            persist_state="session",
            help="Their pictures are learned too, or, as regularisation, are what must not be forgotten.",
        )
        if not chosen:
            return {}
        repeats = _number("Times each picture of the first dataset comes in a pass", f"{PREFIX}.repeats", 1)
        return {"repeats": repeats, "mix": [_extra(name, f"{key}.{name}") for name in chosen]}


def _extra(name: str, key: str) -> dict[str, Any]:
    helps = {field.name: literal(field.help) for field in describe(ExtraDataset)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown(f"**{literal(name)}**", width=200)
        repeats = _number("Repeats", f"{key}.repeats", 1, helps["repeats"])
        weight = _number("Weight", f"{key}.weight", 1.0, helps["weight"])
        regularisation = st.toggle(
            "Regularisation", key=f"{key}.regularisation", help=helps["regularisation"], persist_state="session"
        )
    return {"dataset": name, "repeats": repeats, "weight": weight, "regularisation": regularisation}


def _number(label: str, key: str, usual: float, help: str | None = None) -> float:
    st.session_state.setdefault(key, usual)
    most: Mapping[type, float] = {int: 1000, float: 100.0}
    return st.number_input(
        label,
        min_value=type(usual)(1) if isinstance(usual, int) else 0.0,
        max_value=most[type(usual)],
        required=True,
        key=key,
        help=help,
        persist_state="session",
    )

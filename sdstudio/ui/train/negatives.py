"""Negative examples from the gallery: the pictures marked as bad, as a dataset that the method's field names."""

import streamlit as st

from sdstudio.collection import negatives_dataset, read_marks
from sdstudio.schema import Method
from sdstudio.ui.train.filling import PREFIX
from sdstudio.workspace import Workspace

FIELD = "negative_examples"


def takes_negatives(method: Method) -> bool:
    return hasattr(method.Options, FIELD)


def negatives_button(workspace: Workspace, method: Method) -> None:
    """A button that puts every picture marked as bad into a dataset, and its name into the method's field."""
    count = sum(bool(marks.bad) and not marks.deleted for marks in read_marks(workspace).values())
    st.button(
        f"Add the pictures marked bad ({count:,})",
        icon=":material/thumb_down:",
        key="add-negatives",
        disabled=not count,
        on_click=_add,
        args=(workspace, method),
        help="Pictures marked as bad in Generate's gallery, each with its prompt and the part that went wrong."
        if count
        else "None yet: open a picture in Generate's gallery and name the part that went wrong.",
    )


def _add(workspace: Workspace, method: Method) -> None:
    st.session_state[f"{PREFIX}.{method.name}.{FIELD}"] = negatives_dataset(workspace)

"""How far a person has come with a dataset."""

import streamlit as st

from sdstudio.datasets import DatasetStore


def show_progress(store: DatasetStore) -> None:
    """The bar: captions that a person wrote or approved, of all pictures."""
    modified, total = store.progress()
    st.progress(modified / max(total, 1), text=f"Modified: {modified:,} / {total:,}", width="stretch")

"""The words and tags of a dataset with how often they come; a click shows the captions that hold one."""

import re
from collections import Counter

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.words import tag_frequency, word_frequency
from sdstudio.ui.annotate import filters
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

SHOWN = 80
ISOLATE, POP = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
"""Around a word that is written from the right, so that its count stays behind it."""


@st.dialog("Words", width="medium")
def show_words(workspace: Workspace, store: DatasetStore) -> None:
    captions = [image.caption for image in store.captions() if image.caption]
    words, tags = word_frequency(captions), tag_frequency(captions)
    st.caption(f"In how many of {count(len(captions), 'caption')} each one is. Choose one to see them.")
    by_word, by_tag = st.tabs([f"{len(words):,} words", f"{len(tags):,} tags"])
    with by_word:
        pick(words, "words", r"(?i)(?<!\w){}(?!\w)")
    with by_tag:
        pick(tags, "tags", r"(?i)(?:^|,)\s*{}\s*(?:,|$)")


def pick(counter: Counter[str], key: str, pattern: str) -> None:
    common = [word for word, _ in counter.most_common(SHOWN)]

    def chosen() -> None:
        word = st.session_state[f"pick-{key}"]
        if word:
            filters.search(pattern.format(re.escape(word)))

    st.pills(
        "Most frequent",
        common,
        format_func=lambda word: f"{ISOLATE}{literal(word)}{POP} · {counter[word]:,}",
        key=f"pick-{key}",
        label_visibility="collapsed",
        on_change=chosen,
    )
    if len(counter) > SHOWN:
        st.caption(f"and {len(counter) - SHOWN:,} rarer ones")
    if st.session_state.get(f"pick-{key}"):
        st.rerun()

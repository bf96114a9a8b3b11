"""What to look at before training: a list with counts; a click shows the pictures concerned."""

import json
from dataclasses import fields, replace

import streamlit as st

from sdstudio.datasets import DatasetStore, preflight
from sdstudio.datasets.preflight import Finding
from sdstudio.datasets.query import Query
from sdstudio.schema import from_json, to_json
from sdstudio.ui.annotate import filters
from sdstudio.ui.session import in_address, put_in_address, told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

CODE, QUERY, SAYS, OF = "check", "check-query", "check-says", "check-of"
LEVELS = {
    "problem": ":red[:material/error:]",
    "warning": ":orange[:material/warning:]",
    "note": ":gray[:material/info:]",
}


@st.dialog("Check before training", width="medium")
def check_dataset(workspace: Workspace, store: DatasetStore) -> None:
    show_findings(store)


def show_findings(store: DatasetStore) -> None:
    with told():
        with st.spinner("Looking at every picture…"):
            findings = preflight.check(store)
        if not findings:
            st.success("Nothing to mend: every picture is ready.", icon=":material/check_circle:")
        for finding in findings:
            show_finding(store, finding)


def show_finding(store: DatasetStore, finding: Finding) -> None:
    said, way = st.columns([5, 1], vertical_alignment="center")
    said.markdown(f"{LEVELS[finding.level]} {literal(finding.sentence)}")
    if finding.query is not None and way.button(
        f"Show {finding.count:,}",
        key=f"show-{finding.code}",
        on_click=show_pictures,
        args=(store.name, finding),
        width="stretch",
    ):
        st.rerun()


def show_pictures(dataset: str, finding: Finding) -> None:
    """Filter the page to what the finding is about. For callbacks only."""
    filters.show_all()
    put_in_address("image", "")
    remember(dataset, finding)


def remember(dataset: str, finding: Finding) -> None:
    put_in_address(CODE, finding.code)
    st.session_state[OF] = f"{dataset}/{finding.code}"
    st.session_state[SAYS] = finding.sentence
    st.session_state[QUERY] = json.dumps(to_json(finding.query))


def forget() -> None:
    put_in_address(CODE, "")


def narrowed(store: DatasetStore, query: Query) -> Query:
    """`query` limited to the check that the address names, which is said with a way out of it."""
    code = in_address(CODE)
    if not code:
        return query
    if st.session_state.get(OF) != f"{store.name}/{code}":
        found = next((finding for finding in preflight.check(store) if finding.code == code and finding.query), None)
        if found is None:
            forget()
            return query
        remember(store.name, found)
    with st.container(horizontal=True, vertical_alignment="center", key="check-shown"):
        st.markdown(f":material/fact_check: {literal(st.session_state[SAYS])}", width="stretch")
        st.button("Show all", key="forget-check", on_click=forget)
    wanted, plain = from_json(Query, json.loads(st.session_state[QUERY])), Query()
    own = {item.name: getattr(wanted, item.name) for item in fields(Query)}
    return replace(query, **{name: value for name, value in own.items() if value != getattr(plain, name)})

"""The tab Shift: where a trained model's pictures lie beside the base model's and the real ones."""

from typing import TYPE_CHECKING

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.evaluation.shifts import BASE, ORIGINAL, SHIFT_FILE, TRAINED
from sdstudio.schema import Divergence, Job, ModelShift, ShiftConfig, ShiftFindings, from_json
from sdstudio.ui.evaluate.looking import choose_comparison, choose_plug_in, follow_last
from sdstudio.ui.forms import config_form
from sdstudio.ui.session import told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace, read_json

if TYPE_CHECKING:
    import altair

COLORS = {ORIGINAL: "#2F6F73", BASE: "#8F867B", TRAINED: "#C4633A"}
NAMES = {ORIGINAL: "Real pictures", BASE: "Base model", TRAINED: "Trained model"}
WHOLE, CROPS = "Whole pictures", "What a detector cuts out"


def show(workspace: Workspace) -> None:
    job = choose_comparison(
        workspace, "There is no shift to measure yet: compare models first.", ":material/scatter_plot:"
    )
    if job is None:
        return
    with told():
        follow_last(workspace, "shift", job)
        if (job.folder / SHIFT_FILE).is_file():
            show_findings(from_json(ShiftFindings, read_json(job.folder / SHIFT_FILE)))
            st.divider()
        show_form(workspace, job)


def show_form(workspace: Workspace, job: Job) -> None:
    st.subheader("Measure the shift")
    st.markdown(
        "All pictures are encoded, brought onto their principal components and clustered, class by class. Then the "
        "clusters tell how far the trained model is from its base model, and how far from the real pictures.",
        width=720,
    )
    pieces = st.segmented_control("What is looked at", [WHOLE, CROPS], default=WHOLE, key="shift.pieces", required=True)
    detector, options = (
        choose_plug_in("sdstudio.detectors", "Detector", "zero_shot", "shift") if pieces == CROPS else ("", {})
    )
    values = config_form(ShiftConfig, key="shift", skip=("comparison", "detector", "detector_options"))
    if st.button("Measure", type="primary", icon=":material/scatter_plot:", key="shift.start"):
        with told():
            chosen = {"comparison": job.id, "detector": detector, "detector_options": options}
            jobs.submit(workspace, "shift", from_json(ShiftConfig, values | chosen), f"Shift in {job.title or job.id}")
            st.rerun()


def show_findings(found: ShiftFindings) -> None:
    import pandas

    st.subheader("How far apart")
    rows = [
        {"Model": literal(model.label), "Compared": name, **_line(one)}
        for model in found.models
        for name, one in (("base ‖ trained", model.base), ("original ‖ trained", model.original))
    ]
    st.table(pandas.DataFrame(rows), border="horizontal", hide_index=True)
    st.caption(
        "KL and JS in nats; JS goes from 0 to 0.693. Chance: the JS to expect where nothing differs. p: a permutation "
        "test of it; base ‖ trained exchanges whole prompts, original ‖ trained single pictures. "
        f"Seen through {literal(found.extractor)}, {_pieces(found.config)}."
    )
    for flag in found.flags:
        st.markdown(f":orange[:material/flag:] {literal(flag)}")
    labels = {model.key: model.label for model in found.models}
    key = (
        st.selectbox("Model", list(labels), format_func=labels.__getitem__, key="shift.model")
        if len(labels) > 1
        else found.models[0].key
    )
    show_model(next(model for model in found.models if model.key == key))


def show_model(model: ModelShift) -> None:
    names = [one.name for one in model.classes]
    name = st.selectbox("Class", names, key=f"shift.class-{model.key}") if len(names) > 1 else names[0]
    if model.left_out:
        st.caption(literal(f"Too rare to be clustered: {', '.join(model.left_out)}."))
    places, clusters = _charts(model, name)
    with st.grid(columns=2, min_column_width=320):
        with st.container():
            st.markdown("**First two principal components**")
            st.altair_chart(places, width="stretch")
        with st.container():
            st.markdown("**Share of each cluster**")
            st.altair_chart(clusters, width="stretch")


def _charts(model: ModelShift, name: str) -> "tuple[altair.Chart, altair.Chart]":
    import altair as alt
    import pandas

    one = next(shift for shift in model.classes if shift.name == name)
    color = alt.Color(
        "Source:N", scale=alt.Scale(domain=list(NAMES.values()), range=list(COLORS.values())),
        legend=alt.Legend(orient="bottom", title=None),
    )  # fmt: skip
    points = pandas.DataFrame(
        [
            {"x": place.x, "y": place.y, "Source": NAMES[place.source], "Cluster": place.cluster + 1}
            for place in one.places
        ]
    )
    places = (
        alt.Chart(points, height=340)
        .mark_circle(size=55, opacity=0.7)
        .encode(
            alt.X("x:Q", title="first component"),
            alt.Y("y:Q", title="second component"),
            color,
            tooltip=["Source", "Cluster"],
        )
    )
    shares = pandas.DataFrame(
        [
            {"Cluster": cluster + 1, "Share": number / max(sum(numbers), 1), "Source": NAMES[source]}
            for source, numbers in one.counts.items()
            for cluster, number in enumerate(numbers)
        ]
    )
    clusters = (
        alt.Chart(shares, height=340)
        .mark_bar()
        .encode(
            alt.X("Cluster:O", axis=alt.Axis(labelAngle=0)),
            alt.Y("Share:Q", axis=alt.Axis(format="%"), title=None),
            alt.XOffset("Source:N", sort=list(NAMES.values())),
            color,
            tooltip=["Source", "Cluster", alt.Tooltip("Share:Q", format=".1%")],
        )
    )
    return places, clusters


def _line(one: Divergence) -> dict[str, str]:
    return {"KL": f"{one.kl:.3f}", "JS": f"**{one.js:.3f}**", "Chance": f"{one.chance:.3f}", "p": f"{one.p_value:.3f}"}


def _pieces(config: ShiftConfig) -> str:
    if not config.detector:
        return "whole pictures"
    return f"crops by {literal(registry.load('sdstudio.detectors')[config.detector].label)}"

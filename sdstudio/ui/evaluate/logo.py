"""The tab Logo and text: look for a logo in the pictures of a comparison, read the word on it, and rank the models."""

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.evaluation.figures import figures
from sdstudio.metrics.found import LOGO_FILE, LOGO_METRICS
from sdstudio.results import Evaluation, interval_text, read_evaluation
from sdstudio.results.judging import cells
from sdstudio.schema import Job, LogoConfig, LogoFindings, MetricResult, from_json
from sdstudio.starter.logo import WORD
from sdstudio.ui.evaluate.looking import choose_comparison, choose_plug_in, follow_last
from sdstudio.ui.files import job_png_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace, read_json

A_PAGE = 24


def show(workspace: Workspace) -> None:
    job = choose_comparison(workspace, "There is nothing to look for yet: compare models first.", ":material/badge:")
    if job is None:
        return
    with told():
        follow_last(workspace, "logo", job)
        if (job.folder / LOGO_FILE).is_file():
            show_findings(workspace, job)
            st.divider()
        show_form(workspace, job)


def show_form(workspace: Workspace, job: Job) -> None:
    st.subheader("Look for a logo")
    st.markdown(
        "A detector looks for the logo in every picture, a reader reads the word in what it found. "
        "The logo score is the mean of both.",
        width=720,
    )
    detector, detector_options = choose_plug_in("sdstudio.detectors", "Detector", "template", "logo")
    text = st.text_input(
        "Word on the logo", value=WORD, key="logo.text", help="In its own capitals. Empty: only the detector looks."
    )
    reader, reader_options = (
        choose_plug_in("sdstudio.readers", "Reader", "letters", "logo") if text.strip() else ("letters", {})
    )
    if st.button("Look", type="primary", icon=":material/search:", key="logo.start"):
        with told():
            config = LogoConfig(
                comparison=job.id,
                detector=detector,
                detector_options=detector_options,
                reader=reader,
                reader_options=reader_options,
                text=text,
            )
            jobs.submit(workspace, "logo", config, f"Logo in {job.title or job.id}")
            st.rerun()


# ---------------------------------------------------------------- what was found


def show_findings(workspace: Workspace, job: Job) -> None:
    evaluation = read_evaluation(job.folder)
    looked = from_json(LogoFindings, read_json(job.folder / LOGO_FILE))
    records = registry.load("sdstudio.metrics")
    found: dict[str, dict[str, MetricResult]] = {}
    for cell in cells(evaluation, job.folder, [records[name] for name in LOGO_METRICS]):
        found.setdefault(cell.model, {})[cell.metric] = cell
    st.subheader("What was found")
    show_table(evaluation, found)
    word = f" The word is {literal(looked.config.text)}." if looked.config.text else ""
    st.caption(
        f"Found by: {literal(looked.detector)}. Read by: {literal(looked.reader)}.{word} Brackets: 95% t-interval over "
        "prompts. A picture in which nothing is found counts with confidence 0. OCR: 1 − edits / length."
    )
    show_best(workspace, evaluation, found)
    show_pictures(workspace, job, evaluation, looked)


def show_table(evaluation: Evaluation, found: dict[str, dict[str, MetricResult]]) -> None:
    import pandas

    scores = {row.label: _value(found[row.label]) for row in evaluation.rows}
    leader = max(scores, key=lambda label: scores[label])
    rows = []
    for row in evaluation.rows:
        detector, ocr, score = (found[row.label][name] for name in LOGO_METRICS)
        name = literal(row.label)
        rows.append(
            {
                "Model": f"**{name}**" if row.label == leader and scores[leader] >= 0 else name,
                "Average(OCR, detector)": cell_text(score),
                "Detector confidence": cell_text(detector),
                "Found": detector.flags[0].removeprefix("found in ").removesuffix(" pictures")
                if detector.flags
                else "",
                "OCR similarity": cell_text(ocr),
                "Reader's confidence": ocr.flags[0].rpartition(" ")[2] if ocr.value is not None and ocr.flags else "",
            }
        )
    st.table(pandas.DataFrame(rows), border="horizontal", hide_index=True)


def show_best(workspace: Workspace, evaluation: Evaluation, found: dict[str, dict[str, MetricResult]]) -> None:
    """The best checkpoint of each method, where a comparison holds several of one."""
    import pandas

    best: dict[str, tuple[float, dict[str, str]]] = {}
    for row in evaluation.rows:
        known, score = figures(workspace, row.model), _value(found[row.label])
        if known is None or score <= best.get(known.method, (-1.0, {}))[0]:
            continue
        rate = "" if known.learning_rate is None else f"{known.learning_rate:g}"
        texts = {name: cell_text(found[row.label][name]) for name in LOGO_METRICS}
        best[known.method] = (
            score,
            {
                "Method": literal(known.method),
                "Best step": f"{known.step:,}",
                "Learning rate": rate,
                "Average(OCR, detector)": texts["logo_score"] or texts["detector"],
                "Model": literal(row.label),
            },
        )
    if best:
        st.markdown("**Best checkpoint of each method**")
        ordered = sorted(best.values(), key=lambda pair: -pair[0])
        st.table(pandas.DataFrame([line for _, line in ordered]), border="horizontal", hide_index=True)


def show_pictures(workspace: Workspace, job: Job, evaluation: Evaluation, looked: LogoFindings) -> None:
    labels = {row.key: row.label for row in evaluation.rows}
    key = st.selectbox(
        "Pictures of", list(labels), index=len(labels) - 1, format_func=labels.__getitem__, key=f"logo.row-{job.id}"
    )
    row = next(row for row in evaluation.rows if row.key == key)
    pictures = [picture for picture in row.pictures if picture.file in looked.findings]
    pages = -(-len(pictures) // A_PAGE)
    page = st.pagination(pages, key=f"logo.page-{job.id}-{key}") if pages > 1 else 1
    items = []
    for picture in pictures[(page - 1) * A_PAGE : page * A_PAGE]:
        one = looked.findings[picture.file]
        read = None if one.reading is None else one.reading.text or "(nothing read)"
        note = f"found, {one.confidence:.2f}" if one.box else "not found"
        items.append(
            Item(picture.file, job_png_url(workspace, job.folder / picture.file), read, note, done=one.box is not None)
        )
    gallery(items, key=f"logo.pictures-{job.id}-{key}-{page}", cell=7)


def cell_text(cell: MetricResult) -> str:
    if cell.value is None:
        return ""
    return f"{cell.value:.3f} {interval_text(cell.interval, 3)}".strip()


def _value(found: dict[str, MetricResult]) -> float:
    """What models are ordered by: the average, the detector alone where nothing was read, −1 without either."""
    return next((value for name in ("logo_score", "detector") if (value := found[name].value) is not None), -1.0)

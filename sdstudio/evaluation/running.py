"""The job that compares models."""

import time

from sdstudio.evaluation.drawing import draw_rows
from sdstudio.evaluation.protocol import check_protocol, metrics_in, protocol_hash
from sdstudio.evaluation.reference import reference_of
from sdstudio.jobs.context import JobContext
from sdstudio.results import RESULTS_FILE, Evaluation
from sdstudio.results.tables import table_csv, table_latex, table_markdown
from sdstudio.schema import Protocol, to_json
from sdstudio.words import count
from sdstudio.workspace import atomic_write, write_json


def run_evaluate(config: Protocol, ctx: JobContext) -> bool:
    """Draw what is missing, measure it, and write the results, the tables and the report into the job's folder.

    Pictures that any comparison has drawn from the same weights are taken over, and features are found again by
    content. Raises UserError, before anything is drawn or written, when the protocol cannot be followed.
    """
    from sdstudio.evaluation.measuring import measure
    from sdstudio.features.cache import CachedEncoder
    from sdstudio.features.clip import load
    from sdstudio.results.report import write_report

    rows = check_protocol(ctx.workspace, config)
    metrics = metrics_in(config)
    reference = reference_of(ctx.workspace, config, rows)
    encoder = CachedEncoder(load(config.extractor), ctx.workspace.cache / "features")
    signature = protocol_hash(config, reference.ids, encoder.encoder.fingerprint)
    write_json(
        ctx.folder / "protocol.json",
        {"hash": signature, "protocol": to_json(config), "reference": list(reference.ids)},
    )
    rows, drawn, seconds = draw_rows(rows, config, ctx)
    if ctx.should_stop():
        return False
    results = measure(rows, metrics, reference, config.extractor, encoder, signature, ctx, config.encoders)
    if ctx.should_stop():
        return False
    evaluation = Evaluation(
        protocol=config,
        protocol_hash=signature,
        created=time.time(),
        rows=tuple(rows),
        results=tuple(results),
        reference=tuple(ctx.workspace.within(path) for path in reference.paths),
        drawn=drawn,
        drawing_seconds=round(seconds, 1),
    )
    atomic_write(ctx.folder / "table.csv", table_csv(results))
    atomic_write(ctx.folder / "table.tex", table_latex(evaluation))
    atomic_write(ctx.folder / "table.md", table_markdown(evaluation))
    write_report(evaluation, ctx.folder, ctx.workspace)
    write_json(ctx.folder / RESULTS_FILE, to_json(evaluation))
    ctx.progress(1, 1, "comparison", f"compared {count(len(rows), 'model')}")
    return True

"""Three minutes of LoRA teach the starter a style it never saw.   pytest tests/test_starter_learns.py"""

from dataclasses import replace
from pathlib import Path

from sdstudio.evaluation import read_results
from sdstudio.jobs import run_inline
from sdstudio.schema import LoopConfig, ModelRef, TrainConfig
from sdstudio.starter import examples
from sdstudio.workspace import Workspace


def test_lora_halves_the_distance_to_held_out_style_pictures(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    examples.install(workspace)
    loop = LoopConfig(steps=800, sample_every=0, checkpoint_every=800)
    run = run_inline(workspace, "train", TrainConfig(dataset="asim-style", method="lora", loop=loop), echo=False)
    assert run.state == "succeeded", run.error
    models = [ModelRef(label="base"), ModelRef(checkpoint=run.id, label="LoRA")]
    protocol = replace(examples.starter_protocol(models), drift_prompts=[], seeds=[1, 2, 3, 4], metrics=["fid", "kid"])
    comparison = run_inline(workspace, "evaluate", protocol, echo=False)
    assert comparison.state == "succeeded", comparison.error
    values = {(result.metric, result.model): result.value for result in read_results(comparison.folder)}
    for metric in ("fid", "kid"):
        assert values[metric, "LoRA"] <= values[metric, "base"] / 2

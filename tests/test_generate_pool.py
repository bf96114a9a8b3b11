"""Models in memory: checkpoints put on and taken off without a trace, no base read twice.

pytest tests/test_generate_pool.py
"""

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from safetensors.torch import load_file, save_file
from taught import taught
from tiny_models import SIDE, build

from sdstudio.engine import pool as pools
from sdstudio.engine.attaching import load_model
from sdstudio.engine.pool import ModelPool
from sdstudio.engine.sampling import sample
from sdstudio.methods.parts import named_parameters
from sdstudio.models import MANIFEST_FILE, sha256_file
from sdstudio.schema import Extra, ModelRef, SampleSettings, UserError
from sdstudio.workspace import Workspace, read_json, write_json


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("pool")
    for kind in ("sd1", "sd2", "sdxl"):
        build(kind, root / "models" / kind)
    return Workspace(root)


@pytest.fixture(scope="module")
def models(ws: Workspace) -> dict[str, ModelRef]:
    base = ws.models / "sd1"
    return {
        "base": ModelRef(base_model=str(base)),
        "lora": taught(ws, base, "lora", "lora", 1, rank=2),
        "lora text": taught(ws, base, "lora", "lora-text", 2, rank=2, text_encoder=True),
        "dora": taught(ws, base, "lora", "dora", 3, rank=2, dora=True),
        "full": taught(ws, base, "full", "full", 4, text_encoder=True),
        "sam": taught(ws, base, "sam", "sam", 5, rank=2),
        "word": taught(ws, base, "textual_inversion", "word", 6, trigger="<qzx>", initial_word="a", vectors=2),
    }


def drawn(pipeline, prompt: str = "a <qzx> toy") -> bytes:
    ((picture, _),) = sample(pipeline, [prompt], [3], SampleSettings(steps=2, negative_prompt="bad"), SIDE, SIDE)
    return picture.tobytes()


def fresh(ws: Workspace, ref: ModelRef) -> bytes:
    return drawn(load_model(ws, ref).pipeline)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    loads: list[str] = []
    load = pools.load_base

    def load_base(ws: Workspace, ref: str, *rest: object):
        loads.append(Path(ref).name)
        return load(ws, ref, *rest)

    monkeypatch.setattr(pools, "load_base", load_base)
    return loads


def test_any_order_of_models_draws_what_each_draws_alone(
    ws: Workspace, models: dict[str, ModelRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, pool = counted(monkeypatch), ModelPool(ws)
    alone = {name: fresh(ws, ref) for name, ref in models.items()}
    assert len(set(alone.values())) == len(models)
    with pool.use(models["base"]) as loaded:
        untouched = {name: value.clone() for name, value in named_parameters(loaded.pipeline).items()}
    for place in numpy.random.default_rng(0).integers(len(models), size=12):
        name = list(models)[place]
        with pool.use(models[name]) as loaded:
            assert drawn(loaded.pipeline) == alone[name], name
    with pool.use(models["base"]) as loaded:
        after = named_parameters(loaded.pipeline)
    assert after.keys() == untouched.keys() and all((after[name] == value).all() for name, value in untouched.items())
    assert loads == ["sd1"]


def test_several_checkpoints_count_by_their_weights(ws: Workspace, models: dict[str, ModelRef]) -> None:
    pool = ModelPool(ws)

    def pictures(ref: ModelRef) -> bytes:
        with pool.use(ref) as loaded:
            return drawn(loaded.pipeline)

    extras = [Extra(checkpoint=models[name].checkpoint, weight=0.5) for name in ("lora text", "full")]
    both = replace(models["lora"], extras=extras)
    assert pictures(both) == fresh(ws, both)
    assert pictures(both) not in {pictures(models["lora"]), pictures(replace(both, extras=extras[:1]))}
    assert pictures(replace(both, weight=0.25)) == fresh(ws, replace(both, weight=0.25)) != pictures(both)
    none = replace(both, weight=0.0, extras=[replace(extra, weight=0.0) for extra in extras])
    assert pictures(none) == pictures(models["base"])
    with pool.use(both) as loaded:
        assert loaded.checkpoint_hash.count("+") == 2 and loaded.checkpoint_hash.count("*0.5") == 2


def test_half_a_lora_moves_a_layer_half_as_far(ws: Workspace, models: dict[str, ModelRef]) -> None:
    def layer(ref: ModelRef) -> numpy.ndarray:
        pipeline = load_model(ws, ref).pipeline
        if ref.checkpoint:
            pipeline.fuse_lora(components=["unet"])
            pipeline.unload_lora_weights()
        return (
            dict(pipeline.unet.named_parameters())["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"]
            .detach()
            .numpy()
        )

    base, whole, half = (layer(ref) for ref in (models["base"], models["lora"], replace(models["lora"], weight=0.5)))
    assert abs(whole - base).max() > 1e-3
    assert numpy.allclose(half - base, (whole - base) / 2, atol=1e-6)


def test_a_second_base_lies_beside_the_first_only_where_it_fits(
    ws: Workspace, models: dict[str, ModelRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, pool = counted(monkeypatch), ModelPool(ws)
    other = ModelRef(base_model=str(ws.models / "sd2"))
    for ref in (models["base"], other, models["base"]):
        with pool.use(ref):
            pass
    assert loads == ["sd1", "sd2"]
    monkeypatch.setattr(pools, "free_bytes", lambda: 0)
    with pool.use(ModelRef(base_model=str(ws.models / "sdxl"))):
        pass
    with pool.use(models["base"]):
        pass
    assert loads == ["sd1", "sd2", "sdxl", "sd1"]
    pool.free()
    assert pool.is_empty


def test_a_changed_base_file_is_read_again(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, pool = counted(monkeypatch), ModelPool(ws)
    build("sd1", ws.models / "own")
    ref = ModelRef(base_model=str(ws.models / "own"))
    with pool.use(ref) as loaded:
        before = drawn(loaded.pipeline)
    weights = ws.models / "own" / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 1.5 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    with pool.use(ref) as loaded:
        assert drawn(loaded.pipeline) != before
    assert loads == ["own", "own"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "runs/gone"}, "no checkpoint 'runs/gone'"),
        ({"base_model": "sdxl"}, "trained on the 'sd' family.*does not fit 'sdxl'"),
        ({"extras": [Extra(checkpoint="runs/lora")]}, "lora step 5 is chosen twice"),
        (
            {"extras": [Extra(checkpoint="runs/word", weight=0.5)]},
            r"word step 5 has no strength of its own.*\(qzx:1.2\)",
        ),
        ({"checkpoint": "runs/word", "extras": [Extra(checkpoint="runs/twin")]}, "'<qzx>' of twin step 5 is taught by"),
    ],
)
def test_what_does_not_go_is_one_sentence_and_the_next_model_draws(
    change: dict[str, object], message: str, ws: Workspace, models: dict[str, ModelRef]
) -> None:
    if not (ws.runs / "twin").is_dir():
        taught(ws, ws.models / "sd1", "textual_inversion", "twin", 7, trigger="<qzx>", initial_word="a", vectors=1)
    pool = ModelPool(ws)
    with pool.use(models["lora"]) as loaded:
        before = drawn(loaded.pipeline)
    with pytest.raises(UserError, match=message), pool.use(replace(models["lora"], **change)):
        pass
    with pool.use(models["lora"]) as loaded:
        assert drawn(loaded.pipeline) == before


def test_a_lora_that_does_not_fit_leaves_nothing_behind(ws: Workspace, models: dict[str, ModelRef]) -> None:
    wrong = taught(ws, ws.models / "sd1", "lora", "wrong", 8, rank=2)
    folder = ws.root / wrong.checkpoint
    file = folder / "pytorch_lora_weights.safetensors"
    save_file({name: value[:, :1].contiguous() for name, value in load_file(file).items()}, file)
    manifest = read_json(folder / MANIFEST_FILE)
    manifest["files"][file.name] = sha256_file(file)
    write_json(folder / MANIFEST_FILE, manifest)
    pool = ModelPool(ws)
    with pytest.raises(UserError, match="does not fit this base model"), pool.use(wrong):
        pass
    with pool.use(models["base"]) as loaded:
        assert drawn(loaded.pipeline) == fresh(ws, models["base"])

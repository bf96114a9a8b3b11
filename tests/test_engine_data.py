"""Pictures and captions as a step takes them.   pytest tests/test_engine_data.py"""

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from tiny_models import SIDE, context, make_dataset

from sdstudio.datasets import create_dataset, fit, open_dataset
from sdstudio.engine.captions import shuffled
from sdstudio.engine.latents import Picture
from sdstudio.engine.pictures import UNCHANGED, Change, change, fitted
from sdstudio.engine.preview import what_the_model_sees
from sdstudio.engine.run import Run
from sdstudio.engine.setup import set_up
from sdstudio.engine.streams import Stream
from sdstudio.sampling.prompting import prompt_arguments
from sdstudio.schema import ExtraDataset, LoopConfig, TrainConfig, UserError
from sdstudio.training.captions import as_learned
from sdstudio.workspace import Workspace

LOOP = LoopConfig(steps=4, batch_size=2, sample_every=0, validation_share=0)
CPU = torch.device("cpu")


@pytest.fixture
def base(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("sd1")


def run_of(base: Path, ws: Workspace, loop: LoopConfig = LOOP, name: str = "run", **more: object) -> Run:
    return set_up(TrainConfig(dataset="toys", base_model=str(base), loop=loop, **more), context(ws, "runs", name))


# ---------------------------------------------------------------- order


def test_batches_are_full_and_of_one_size_and_pictures_come_equally_often() -> None:
    sizes = [(16, 16)] * 5 + [(24, 8)] * 3 + [(8, 24)]
    stream = Stream(list(range(9)), sizes, 4, seed=1, name="own")
    batches = [stream.batch(number) for number in range(90)]
    assert all(len(batch) == 4 and len({sizes[one.example] for one in batch}) == 1 for batch in batches)
    shown = Counter(one.example for batch in batches for one in batch)
    assert max(shown.values()) - min(shown.values()) <= 4
    times = sorted(one.time for batch in batches for one in batch if one.example == 8)
    assert times == list(range(len(times)))


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    sizes = [(16, 16)] * 7
    ahead = Stream(list(range(7)), sizes, 3, seed=1, name="own")
    wanted = [ahead.batch(number) for number in range(10)]
    jumping = Stream(list(range(7)), sizes, 3, seed=1, name="own")
    assert [jumping.batch(number) for number in (9, 2, 2, 5)] == [wanted[number] for number in (9, 2, 2, 5)]
    other = Stream(list(range(7)), sizes, 3, seed=2, name="own")
    assert [other.batch(number) for number in range(10)] != wanted


def test_repeats_and_mixed_datasets_share_a_pass(base: Path, ws: Workspace) -> None:
    make_dataset(ws, "more", ["asim. one", "asim. two"])
    mix = [ExtraDataset(dataset="more", repeats=5)]
    run = run_of(base, ws, replace(LOOP, batch_size=5, epochs=4), mix=mix, repeats=2)
    assert run.plan.steps_per_epoch == (5 * 2 + 2 * 5) / 5 and run.plan.steps == 16
    shown = Counter(one.example for number in range(16) for one in run.data._own.batch(number))
    assert [shown[index] for index in range(7)] == [8] * 5 + [20] * 2
    assert (run.ctx.folder / "snapshot-more.json").is_file()


def test_regularisation_pictures_are_the_prior_of_any_method(base: Path, ws: Workspace) -> None:
    make_dataset(ws, "world", ["a cat", "", "a dog"])
    mix = [ExtraDataset(dataset="world", regularisation=True, weight=0.25)]
    run = run_of(base, ws, replace(LOOP, batch_size=4), mix=mix)
    batch = run.data.batch(0, CPU)
    assert batch.prior.tolist() == [False] * 4 + [True] * 2
    assert batch.weights.tolist() == [1.0] * 4 + [0.25] * 2
    assert run.plan.steps_per_epoch == 5 / 4, "an epoch counts the pictures to learn"
    with pytest.raises(UserError, match="no dataset 'nowhere'"):
        run_of(base, ws, name="bad", mix=[ExtraDataset(dataset="nowhere")])


# ---------------------------------------------------------------- pictures


def add_picture(ws: Workspace, name: str, size: tuple[int, int]) -> None:
    data = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(data, "PNG")
    open_dataset(ws, name).add(data.getvalue(), f"{size[0]}x{size[1]}.png", f"asim. {size[0]} wide")


def test_buckets_keep_the_shape_and_prior_pictures_take_it_too(base: Path, ws: Workspace) -> None:
    create_dataset(ws, "shapes")
    for size in ((64, 64), (65, 65), (128, 40), (130, 40), (40, 128), (40, 130)):
        add_picture(ws, "shapes", size)
    make_dataset(ws, "world", ["a cat", "a dog"])
    mix = [ExtraDataset(dataset="world", regularisation=True)]
    config = TrainConfig(dataset="shapes", base_model=str(base), loop=replace(LOOP, fit="none"), mix=mix)
    run = set_up(config, context(ws, "runs", "run"))
    seen = set()
    for number in range(9):
        batch = run.data.batch(number, CPU)
        shape = tuple(batch.latents.shape)
        assert shape[:2] == (3, 4) and {size.target for size in batch.sizes} == {(shape[2] * 2, shape[3] * 2)}
        seen.add(shape[2:])
    wide, high = fit.bucket(128, 40, SIDE)
    assert seen == {(8, 8), (high // 2, wide // 2), (wide // 2, high // 2)}
    assert run.step(1)["loss"] > 0


def test_a_fitted_picture_is_the_bicubic_resize_at_the_place_of_its_fit() -> None:
    picture = Image.effect_noise((60, 30), 80).convert("RGB")
    found, known = fitted(picture, "centre", (20, 20))
    expected = picture.resize((40, 20), Image.Resampling.BICUBIC).crop((10, 0, 30, 20))
    assert numpy.array_equal(numpy.asarray(found), numpy.asarray(expected))
    assert (known.original, known.crop, known.target) == ((30, 60), (0, 10), (20, 20))
    mirrored, _ = fitted(picture, "centre", (20, 20), Change(flip=True))
    assert numpy.array_equal(numpy.asarray(mirrored), numpy.asarray(expected)[:, ::-1])
    bordered, _ = fitted(picture, "white", (20, 20))
    assert bordered.size == (20, 20) and bordered.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("choice", [choice for choice in fit.CHOICES if choice != "face"])
@pytest.mark.parametrize("size", [(20, 20), (32, 16)])
def test_every_fit_and_change_gives_the_size_asked_for(choice: str, size: tuple[int, int]) -> None:
    loop = LoopConfig(crop_jitter=0.2, colour_jitter=0.5, rotation=20, flip=True)
    for shape in ((60, 30), (30, 60), (7, 9)):
        picture = Image.effect_noise(shape, 80).convert("RGB")
        for variant in range(4):
            found, known = fitted(picture, choice, size, change(loop, variant, 1))
            assert found.size == size and found.mode == "RGB" and known.target == size[::-1]


def test_jitter_moves_the_crop_within_the_enlarged_picture() -> None:
    ramp = Image.fromarray(numpy.tile(numpy.arange(0, 240, 4, dtype=numpy.uint8), (60, 1))).convert("RGB")
    left, middle, right = (
        fitted(ramp, "centre", (30, 30), Change(enlarged=0.5, shift=(shift, 0.0)))[0].getpixel((15, 15))[0]
        for shift in (-0.5, 0.0, 0.5)
    )
    assert left < middle < right and abs(middle - 120) < 8
    assert fitted(ramp, "centre", (30, 30), Change(enlarged=0.5, shift=(-0.5, -0.5)))[1].crop == (0, 0)


def test_turning_leaves_no_dark_corners_and_colours_stay_within_their_share() -> None:
    white = Image.new("RGB", (40, 40), "white")
    turned, _ = fitted(white, "centre", (40, 40), Change(angle=30.0, zoom=0.9))
    assert numpy.asarray(turned).min() == 255
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    values = [fitted(grey, "centre", (8, 8), change(LoopConfig(colour_jitter=0.3), v, 5))[0] for v in range(50)]
    levels = {numpy.asarray(value).mean() for value in values}
    assert 69 <= min(levels) < 90 and 110 < max(levels) <= 131


def test_without_augmentation_nothing_changes_and_variants_are_fixed() -> None:
    assert change(LoopConfig(), 3, 1) == UNCHANGED
    assert change(LoopConfig(flip=True), 1, 9) == Change(flip=True) != change(LoopConfig(flip=True), 2, 9)
    loop = LoopConfig(crop_jitter=0.1)
    assert change(loop, 1, 9) == change(replace(loop, seed=5), 1, 9) != change(loop, 2, 9)


def test_latents_of_variants_are_kept_and_reused(base: Path, ws: Workspace) -> None:
    kept = ws.cache / "latents"
    run_of(base, ws)
    assert len(list(kept.iterdir())) == 5
    run = run_of(base, ws, replace(LOOP, flip=True), "flip")
    for number in range(5):
        run.data.batch(number, CPU)
    assert len(list(kept.iterdir())) == 10, "the mirror image of each; the plain ones were there"
    jittered = replace(LOOP, crop_jitter=0.2, variants=3, batch_size=5)
    run = run_of(base, ws, jittered, "jitter")
    for number in range(6):
        run.data.batch(number, CPU)
    assert len(list(kept.iterdir())) == 25
    run = run_of(base, ws, replace(jittered, variants=0), "fresh")
    torch.manual_seed(0)
    first = run.data.batch(0, CPU).latents
    torch.manual_seed(0)
    assert torch.equal(first, run.data.batch(0, CPU).latents)
    run.data.batch(1, CPU)
    assert len(list(kept.iterdir())) == 25, "new ones every time are not kept"


def test_an_edited_picture_or_caption_invalidates_only_itself(base: Path, ws: Workspace) -> None:
    run_of(base, ws)
    kept = {path: path.stat().st_mtime_ns for path in (ws.cache / "latents").iterdir()}
    store = open_dataset(ws, "toys")
    first, second = store.images()[:2]
    store.set_caption(first.id, "asim. another", "person:test", first.version)
    run_of(base, ws, name="captions")
    assert {path: path.stat().st_mtime_ns for path in (ws.cache / "latents").iterdir()} == kept
    path = store.image_path(second.id)
    Image.effect_noise((64, 64), 90).convert("RGB").save(path)
    run_of(base, ws, name="pictures")
    now = {path: path.stat().st_mtime_ns for path in (ws.cache / "latents").iterdir()}
    assert len(now) == 6 and now.items() >= kept.items()


def test_a_torn_cache_file_is_made_again(base: Path, ws: Workspace) -> None:
    torch.manual_seed(1)
    wanted = run_of(base, ws).data.batch(0, CPU).latents
    for file in (ws.cache / "latents").iterdir():
        file.write_bytes(file.read_bytes()[:-40])
    run = run_of(base, ws, name="again")
    torch.manual_seed(1)
    run.data.batch(0, CPU)
    assert wanted.shape == run.data.batch(1, CPU).latents.shape
    assert len({file.stat().st_size for file in (ws.cache / "latents").iterdir()}) == 1


# ---------------------------------------------------------------- captions


def test_caption_modes() -> None:
    written = LoopConfig()
    prefix, word = replace(written, caption_mode="identifier prefix"), replace(written, caption_mode="class word")
    assert as_learned("a man, smiling", "asim", written) == "a man, smiling"
    assert as_learned("a man, smiling", "asim", prefix) == "asim. a man, smiling"
    assert as_learned("Asim, a man", "asim", prefix) == "Asim, a man"
    assert as_learned("", "asim", prefix) == "asim"
    assert as_learned("a man", "asim", replace(word, class_word="person")) == "asim person"
    assert as_learned("a man", "", replace(word, class_word="person")) == "person"
    with pytest.raises(UserError, match="give the method a trigger"):
        as_learned("a man", "", prefix)
    with pytest.raises(UserError, match="give a class word"):
        as_learned("a man", "", word)


def test_pictures_without_captions_are_learned_by_the_class_word(base: Path, ws: Workspace) -> None:
    make_dataset(ws, "bare", ["", "", ""])
    loop = replace(LOOP, caption_mode="class word", class_word="toy", batch_size=3, caption_dropout=0)
    config = TrainConfig(dataset="bare", base_model=str(base), loop=loop, method_options={"trigger": "asim"})
    assert [caption for _, caption, _ in what_the_model_sees(config, ws, 3)] == ["asim toy"] * 3


def test_shuffling_keeps_the_first_parts_and_loses_none() -> None:
    torch.manual_seed(0)
    found = {shuffled("asim, a, b, c , d", 1) for _ in range(200)}
    assert len(found) == 24 and all(one.startswith("asim, ") for one in found)
    assert all(sorted(one.split(", ")) == ["a", "asim", "b", "c", "d"] for one in found)
    assert shuffled("one", 3) == "one"


def test_weights_scale_the_words_and_leave_other_captions_alone(base: Path, ws: Workspace) -> None:
    plain = run_of(base, ws, name="plain").data._texts
    run = run_of(base, ws, replace(LOOP, weighted_captions=True), "read")
    read = run.data._texts
    captions = ["asim. toy 1", "a (toy:2) b", "a toy b"]
    one, other = (texts(captions)["encoder_hidden_states"] for texts in (plain, read))
    assert torch.equal(one[0], other[0]) and torch.equal(one[2], other[2])
    asked = prompt_arguments(run.model.pipeline, captions, [""] * 3)["prompt_embeds"]
    assert torch.equal(other, asked), "a caption means in training what it means as a prompt"
    ratio = (other[1] / one[2]).mean(-1)
    assert ratio[2:5].allclose(2 * ratio[0], rtol=1e-4), "t, o and y are tokens 2 to 4 of this tokenizer"
    assert other[1].norm().item() == pytest.approx(one[2].norm().item(), rel=1e-5)


def test_a_caption_is_embedded_alike_whatever_else_is_in_the_batch(base: Path, ws: Workspace) -> None:
    texts = [run_of(base, ws, name=f"run-{number}").data._texts for number in range(2)]
    alone = texts[0](["asim. toy 3"])["encoder_hidden_states"][0]
    assert torch.equal(alone, texts[1](["a", "b", "c", "asim. toy 3"])["encoder_hidden_states"][3])


# ---------------------------------------------------------------- what the model will see


def test_the_preview_is_what_the_run_trains_on(base: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = replace(LOOP, crop_jitter=0.2, flip=True, caption_dropout=0.4, shuffle_tags=True, batch_size=3)
    config = TrainConfig(dataset="toys", base_model=str(base), loop=loop)
    before = sorted(path for path in ws.root.rglob("*") if "cache" not in path.parts)
    seen = what_the_model_sees(config, ws, 5)
    assert before == sorted(path for path in ws.root.rglob("*") if "cache" not in path.parts), "nothing is written"
    run = set_up(config, context(ws, "runs", "run"))
    pictures: list[bytes] = []
    captions: list[str] = []
    opened, texts = Picture.opened, run.data._texts

    def look(picture: Picture, *how: object) -> object:
        found = opened(picture, *how)
        pictures.append(found[0].tobytes())
        return found

    def listen(told: list[str]) -> dict[str, torch.Tensor]:
        captions.extend(told)
        return texts(told)

    monkeypatch.setattr(Picture, "opened", look)
    monkeypatch.setattr(run.data, "_texts", listen)
    for file in (ws.cache / "latents").iterdir():
        file.unlink()
    run.data._latents._memory.clear()
    run.step(1)
    run.step(2)
    assert [one.caption for one in seen] == captions[:5] and "" in captions
    assert {one.picture.tobytes() for one in seen} <= set(pictures)
    first = next(one for one in seen if one.caption)
    assert "".join(first.tokens) == first.caption.replace(" ", "")

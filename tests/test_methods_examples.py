"""What methods learn from: identifiers, class priors, negative examples, new words; and what they refuse beforehand.

pytest tests/test_methods_examples.py
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image
from tiny_models import make_dataset

from sdstudio import jobs, registry
from sdstudio.datasets.places import pictures_at
from sdstudio.engine.latents import look_at
from sdstudio.methods import dreambooth, dreambooth_lora, sam, textual_inversion
from sdstudio.methods.negatives import avoiding, negative_examples
from sdstudio.methods.parts import Example, Facts, Sources, begins_with, first_word, shared_trigger, without_trigger
from sdstudio.schema import LoopConfig, TrainConfig, UserError
from sdstudio.workspace import Workspace

METHODS = registry.load("sdstudio.methods")
SUBJECTS = [dreambooth, dreambooth_lora, sam]


def captioned(*captions: str) -> list[Example]:
    return [Example(path=Path(f"{index}.png"), caption=caption) for index, caption in enumerate(captions)]


def sources(*pictures: tuple[str, str]) -> Sources:
    return Sources(
        draw=lambda prompts, seeds: [Path(f"prior-{seed}.png") for seed in seeds],
        pictures=lambda place: [(Path(place) / name, caption) for name, caption in pictures],
    )


def facts(*captions: str, known: tuple[str, ...] = ("asim",), layers: tuple[str, ...] = (), **more: Any) -> Facts:
    """A model that knows the words `known` and cuts every other into letters."""
    return Facts(
        captions=list(captions),
        tokens=lambda text: [text] if text in known else list(text),
        layers=frozenset(layers),
        pictures=sources(*more.get("pictures", ())).pictures,
    )


def refusal(method: Any, options: Any, looked_at: Facts) -> str:
    with pytest.raises(UserError) as caught:
        method.RECORD.check(options, looked_at)
    return str(caught.value)


# ---------------------------------------------------------------- the identifier


def test_words_that_call_what_is_learned() -> None:
    assert shared_trigger(["asim. a man", "Asim, a dog"], "") == "asim"
    assert shared_trigger(["asim. a man", "zorby"], "") == ""
    assert shared_trigger(["a man", "a dog"], "") == ""
    assert shared_trigger(["a man"], " zorby ") == "zorby"
    assert first_word("The end") == first_word("  ") == ""
    assert begins_with("asim", "asim") and not begins_with("asims", "asim")
    assert without_trigger("asim. a man", "asim") == "a man" and without_trigger("a man", "asim") == "a man"


def test_sam_counts_the_captions_without_the_identifier() -> None:
    own = captioned("asim. a man", "Asim, a dog", "a cat", "asimov writes")
    for trigger in ("asim", "ASIM", ""):
        with pytest.raises(UserError, match="2 of 4 captions do not begin with the identifier"):
            sam.examples(own, sam.Options(trigger=trigger), sources())
    with pytest.raises(UserError, match="2 of 2 captions do not begin with an identifier word"):
        sam.examples(captioned("a man", "the dog"), sam.Options(), sources())


def test_dreambooth_wants_the_identifier_anywhere_in_detailed_captions() -> None:
    own = captioned("a photo of asim", "Asim, sitting")
    options = dreambooth.Options(trigger="asim", prior_images=0)
    assert dreambooth.examples(own, options, sources()) == own
    with pytest.raises(UserError, match="1 of 2 captions do not hold the identifier 'asim'"):
        dreambooth.examples(captioned("asim", "asimov"), options, sources())
    with pytest.raises(UserError, match="No identifier is named"):
        dreambooth.examples(captioned("a man", "the dog"), replace(options, trigger=""), sources())


@pytest.mark.parametrize("method", SUBJECTS)
def test_without_detailed_captions_every_picture_is_the_identifier_and_its_class(method: Any) -> None:
    options = method.Options(trigger="asim", class_word="man", detailed_captions=False, prior_images=0)
    own = method.RECORD.examples(captioned("whatever", "asim. a man"), options, sources())
    assert [(str(example.path), example.caption) for example in own] == [
        ("0.png", "a asim man"),
        ("1.png", "a asim man"),
    ]
    bare = method.RECORD.examples(captioned("whatever"), replace(options, class_word=""), sources())
    assert bare[0].caption == "asim"


# ---------------------------------------------------------------- the class prior


@pytest.mark.parametrize("method", SUBJECTS)
def test_the_prior_is_what_the_base_model_draws(method: Any) -> None:
    own = captioned("asim. a man", "Asim a dog")
    examples = method.RECORD.examples(own, method.Options(prior_images=3, prior_weight=0.5), sources())
    prior = [example for example in examples if example.prior]
    assert examples[:2] == own
    assert [example.caption for example in prior] == ["a man", "a dog", "a man"]
    assert [str(example.path) for example in prior] == ["prior-0.png", "prior-1.png", "prior-2.png"]
    assert {example.weight for example in prior} == {0.5}
    named = method.RECORD.examples(own, method.Options(prior_images=2, class_word="dog"), sources())
    assert [example.caption for example in named[2:]] == ["a dog", "a dog"]
    told = method.Options(prior_images=2, class_word="dog", prior_prompts=["a tree"])
    assert [example.caption for example in method.RECORD.examples(own, told, sources())[2:]] == ["a tree", "a tree"]
    assert method.RECORD.examples(own, method.Options(prior_images=0), sources()) == own


@pytest.mark.parametrize("method", SUBJECTS)
def test_the_prior_may_come_from_a_folder(method: Any) -> None:
    options = method.Options(prior_folder="men", class_word="man", prior_images=1)
    given = sources(("a.png", "an old man"), ("b.png", ""))
    prior = method.RECORD.examples(captioned("asim"), options, given)[1:]
    assert [(str(example.path), example.caption) for example in prior] == [
        (str(Path("men/a.png")), "an old man"),
        (str(Path("men/b.png")), "a man"),
    ]
    assert all(example.prior for example in prior)


# ---------------------------------------------------------------- negative examples


def test_negative_examples_say_what_is_wrong_with_them() -> None:
    pictures = [(Path("a.png"), "asim, a man."), (Path("b.png"), "asim, a dog, Negative left hand")]
    examples = negative_examples(pictures, "eyes")
    assert [(example.caption, example.negative) for example in examples] == [
        ("asim, a man, negative eyes", "eyes"),
        ("asim, a dog, Negative left hand", "left hand"),
    ]
    assert not any(example.prior for example in examples)
    with pytest.raises(UserError, match="1 of 2 negative examples have no caption"):
        negative_examples([pictures[0], (Path("c.png"), " ")], "eyes")
    assert avoiding("asim, a man", ["eyes", "left hand"]) == "asim, a man, no negative eyes, no negative left hand"
    assert avoiding("asim, a man", []) == "asim, a man"


def test_sam_learns_from_its_own_pictures_the_negative_ones_and_the_prior() -> None:
    options = sam.Options(negative_examples="bad", negative_part="hands", prior_images=1)
    examples = sam.examples(captioned("asim. a man"), options, sources(("x.png", "asim. a dog")))
    assert [(example.caption, example.negative, example.prior) for example in examples] == [
        ("asim. a man", "", False),
        ("asim. a dog, negative hands", "hands", False),
        ("a man", "", True),
    ]


def test_pictures_come_from_a_dataset_or_a_folder(tmp_path: Path) -> None:
    ws = Workspace(tmp_path / "workspace")
    make_dataset(ws, "bad", ["asim. a toy", ""])
    assert [caption for _, caption in pictures_at(ws, "bad")] == ["asim. a toy", ""]
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.JPG", "c.webp", "notes.md"):
        (folder / name).write_bytes(b"")
    (folder / "deep/b.txt").write_text("two\nlines ", encoding="utf-8")
    (folder / "images.jsonl").write_text('{"file": "a.png", "prompt": "a drawn one"}\n', encoding="utf-8")
    assert [(path.name, caption) for path, caption in pictures_at(ws, str(folder))] == [
        ("a.png", "a drawn one"),
        ("c.webp", ""),
        ("b.JPG", "two lines"),
    ]
    with pytest.raises(UserError, match="There is no dataset 'nowhere'"):
        pictures_at(ws, "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no picture in"):
        pictures_at(ws, str(tmp_path / "empty"))


def test_photos_of_a_folder_are_learned_upright(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 20), "red")
    photo.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # lies on its left side
    photo.save(tmp_path / "photo.png", exif=exif)
    seen = look_at(tmp_path / "photo.png", "centre")
    assert seen.size == (20, 40) == seen.open().size
    assert seen.open().getpixel((10, 5)) == (0, 0, 255) and seen.open().getpixel((10, 35)) == (255, 0, 0)


# ---------------------------------------------------------------- new words


def test_the_new_word_takes_the_shared_first_words_place() -> None:
    own = captioned("asim. a man", "Asim, a dog")
    options = textual_inversion.Options()
    assert textual_inversion.trigger([example.caption for example in own], options) == "<asim>"
    taught = textual_inversion.examples(own, options, sources())
    assert [example.caption for example in taught] == ["<asim>. a man", "<asim>, a dog"]
    named = textual_inversion.examples(captioned("a man", "<new> dog"), replace(options, trigger="<New>"), sources())
    assert [example.caption for example in named] == ["<new> a man", "<new> dog"]


# ---------------------------------------------------------------- refused before the job starts


@pytest.mark.parametrize("method", SUBJECTS)
def test_an_identifier_of_several_tokens_is_refused(method: Any) -> None:
    said = refusal(method, method.Options(trigger="zl6"), facts("zl6, a man"))
    assert "'zl6' is 3 tokens to this model (z, l, 6)" in said and "sdstudio identifiers" in said
    method.RECORD.check(method.Options(), facts("asim, a man"))
    method.RECORD.check(method.Options(trigger="zl6"), replace(facts("zl6, a man"), tokens=None))


@pytest.mark.parametrize("method", SUBJECTS)
def test_a_class_folder_is_looked_at_beforehand(method: Any) -> None:
    options = method.Options(prior_folder="men")
    bare = facts("asim, a man", pictures=(("a.png", ""), ("b.png", "a man")))
    assert "1 pictures of 'men' have no caption: name the class word" in refusal(method, options, bare)
    method.RECORD.check(replace(options, class_word="man"), bare)

    def missing(place: str) -> list[tuple[Path, str]]:
        raise UserError(f"There is no dataset and no folder {place!r}.")

    assert "no folder 'men'" in refusal(method, options, replace(bare, pictures=missing))
    method.RECORD.check(replace(options, prior_images=0), replace(bare, pictures=missing))


def test_sam_refuses_beforehand_what_it_would_refuse_later() -> None:
    good = facts("asim, a man", layers=("up_blocks.1.resnets.0.conv1.weight", "conv_out.bias"))
    sam.check(sam.Options(layers=["up_blocks.1", "conv_out"]), good)
    assert "no module 'up_blocks.9'" in refusal(sam, sam.Options(layers=["conv_out", "up_blocks.9"]), good)
    assert "nothing to train" in refusal(sam, sam.Options(rank=0, unfreeze=False), good)
    assert "1 of 2 captions do not begin" in refusal(sam, sam.Options(), facts("asim, a man", "a dog"))
    bad = facts("asim, a man", pictures=(("a.png", ""),))
    assert "1 of 1 negative examples have no caption" in refusal(sam, sam.Options(negative_examples="bad"), bad)


def test_textual_inversion_refuses_words_that_are_not_new() -> None:
    options = textual_inversion.Options
    assert "knows 'asim' already" in refusal(textual_inversion, options(trigger="asim"), facts("asim, a man"))
    assert "name one word" in refusal(textual_inversion, options(trigger="two words"), facts("asim, a man"))
    assert "name one word" in refusal(textual_inversion, options(), facts("a man", "the dog"))
    assert "initial word" in refusal(textual_inversion, options(initial_word=" "), facts("asim, a man"))
    textual_inversion.check(options(), facts("asim, a man"))


def test_a_job_is_refused_before_it_is_made(tmp_path: Path) -> None:
    ws = Workspace(tmp_path / "workspace")
    make_dataset(ws, "toys", ["asim. a toy", "zl635. a toy"])
    make_dataset(ws, "faces", ["zl635. a man"])

    def said(method: str, dataset: str = "toys", loop: LoopConfig = LoopConfig(), **options: Any) -> str:  # noqa: B008
        config = TrainConfig(dataset=dataset, method=method, method_options=options, loop=loop)
        with pytest.raises(UserError) as caught:
            jobs.submit(ws, "train", config)
        return str(caught.value)

    assert "1 of 2 captions do not begin with the identifier 'asim'" in said("sam", trigger="asim")
    assert "'zl635' is 5 tokens to this model (z, l, 6, 3, 5)" in said("dreambooth", "faces")
    assert "no module 'up_blocks.7'" in said("sam", trigger="asim", detailed_captions=False, layers=["up_blocks.7"])
    assert "no dataset 'men'" in said("dreambooth_lora", trigger="asim", detailed_captions=False, prior_folder="men")
    assert "knows 'asim' already" in said("textual_inversion", trigger="asim")
    prefixed = LoopConfig(caption_mode="identifier prefix")
    assert "knows 'asim' already" in said("textual_inversion", loop=prefixed, trigger="asim")
    assert jobs.list_jobs(ws) == []

"""Detectors, readers and what they amount to, on tiny real networks and drawn logos: pytest tests/test_detectors.py"""

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_comparison import finished_comparison
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTokenizer,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTProcessor,
    PreTrainedTokenizerFast,
    TrOCRConfig,
    TrOCRForCausalLM,
    TrOCRProcessor,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
    YolosConfig,
    YolosForObjectDetection,
)
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from sdstudio import registry
from sdstudio.detectors.template import TemplateOptions, correlation
from sdstudio.detectors.ultralytics import UltralyticsOptions
from sdstudio.evaluation import logos
from sdstudio.jobs.context import JobContext
from sdstudio.metrics.found import LOGO_FILE
from sdstudio.metrics.sample import NOT_COMPUTED
from sdstudio.metrics.spelling import similarity
from sdstudio.readers.letters import LettersOptions
from sdstudio.readers.tesseract import TesseractOptions
from sdstudio.results import read_evaluation
from sdstudio.results.judging import cells
from sdstudio.schema import Box, LogoConfig, UserError, to_json
from sdstudio.starter.drawing import render
from sdstudio.starter.logo import WORD, badge, product
from sdstudio.starter.world import Scene
from sdstudio.workspace import Workspace

SCENE = render(Scene(who="man", place="beach", time="day", color="red", expression="happy", hair="black", seed=1))


def find(detector: str, pictures: list[Path], **options) -> list[list[Box]]:
    record = registry.load("sdstudio.detectors")[detector]
    return list(record.load(record.Options(**options), "cpu")(pictures))


def read(reader: str, picture: Image.Image, **options):
    record = registry.load("sdstudio.readers")[reader]
    return record.load(record.Options(**options), "cpu")(picture)


def saved(folder: Path, *pictures: Image.Image) -> list[Path]:
    paths = [folder / f"{place}.png" for place in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    return paths


# ---------------------------------------------------------------- networks of transformers


@pytest.fixture(scope="module")
def yolos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yolos")
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
        patch_size=8, num_detection_tokens=5, id2label={0: "logo", 1: "cat"}, label2id={"logo": 0, "cat": 1},
    )  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 32}).save_pretrained(folder)
    return folder


def test_a_trained_detector_gives_scores_and_boxes_in_the_picture_s_pixels(yolos: Path, tmp_path: Path) -> None:
    [picture] = saved(tmp_path, SCENE)
    [every] = find("object_detection", [picture], model=str(yolos), threshold=0.0)
    network = YolosForObjectDetection.from_pretrained(yolos).eval()
    pixels = YolosImageProcessorPil.from_pretrained(yolos)(images=SCENE, return_tensors="pt")
    with torch.inference_mode():
        output = network(**pixels)
    scores, labels = output.logits[0].softmax(-1)[:, :-1].max(-1)
    assert [box.score for box in every] == pytest.approx(scores.tolist())
    assert [box.label for box in every] == [("logo", "cat")[label] for label in labels.tolist()]
    x, y, width, height = (64 * output.pred_boxes[0, 0]).tolist()
    first = every[0]
    assert (first.left, first.top) == pytest.approx((x - width / 2, y - height / 2), abs=1e-3)
    assert (first.right, first.bottom) == pytest.approx((x + width / 2, y + height / 2), abs=1e-3)
    [logos_only] = find("object_detection", [picture], model=str(yolos), threshold=0.0, what="logo")
    assert logos_only == [box for box in every if box.label == "logo"]


def test_a_class_that_the_detector_does_not_know_is_refused_with_those_it_knows(yolos: Path) -> None:
    with pytest.raises(UserError, match="it knows logo, cat"):
        find("object_detection", [], model=str(yolos), what="dog")


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be loaded as an object detector"):
        find("object_detection", [], model=str(tmp_path))
    with pytest.raises(UserError, match="no model folder"):
        find("zero_shot", [], model=str(tmp_path / "missing" / "folder"))


@pytest.fixture(scope="module")
def owlvit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("owlvit")
    torch.manual_seed(0)
    common = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    config = OwlViTConfig(
        text_config=common | dict(max_position_embeddings=16, pad_token_id=0, bos_token_id=1, eos_token_id=2),
        vision_config=common | dict(image_size=32, patch_size=8),
        projection_dim=16,
    )  # fmt: skip
    characters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["!", "<|startoftext|>", "<|endoftext|>", *characters, *(f"{character}</w>" for character in characters)]
    tokenizer = CLIPTokenizer(
        vocab={token: place for place, token in enumerate(tokens)}, merges=[], model_max_length=16
    )
    OwlViTForObjectDetection(config).save_pretrained(folder)
    sides = {"height": 32, "width": 32}
    OwlViTProcessor(OwlViTImageProcessorPil(size=sides, do_center_crop=False), tokenizer).save_pretrained(folder)
    return folder


def test_a_detector_by_words_looks_for_what_it_is_told(owlvit: Path, tmp_path: Path) -> None:
    pictures = saved(tmp_path, SCENE, product(1))
    found = find("zero_shot", pictures, model=str(owlvit), what="a red logo", threshold=0.0)
    assert len(found) == 2 and all(len(boxes) == 16 for boxes in found)
    assert all(box.label == "a red logo" and 0 <= box.score <= 1 for boxes in found for box in boxes)
    other = find("zero_shot", pictures, model=str(owlvit), what="cat", threshold=0.0)
    assert [box.score for box in other[0]] != pytest.approx([box.score for box in found[0]])
    middle = sorted(box.score for box in found[0])[8]
    assert len(find("zero_shot", pictures[:1], model=str(owlvit), what="a red logo", threshold=middle)[0]) < 16
    with pytest.raises(UserError, match="in words"):
        find("zero_shot", [], model=str(owlvit), what=" ")


def test_trocr_reads_what_its_network_writes_with_its_probability(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    encoder = ViTModel(ViTConfig(image_size=16, patch_size=8, **small))
    decoder = TrOCRForCausalLM(
        TrOCRConfig(vocab_size=8, d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16,
                    max_position_embeddings=16, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    )  # fmt: skip
    network = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    network.generation_config.update(decoder_start_token_id=2, pad_token_id=1, eos_token_id=2, bos_token_id=0)
    network.save_pretrained(tmp_path)
    vocabulary = {token: place for place, token in enumerate(["<s>", "<pad>", "</s>", "Z", "O", "R", "B", "<unk>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    size = {"height": 16, "width": 16}
    TrOCRProcessor(ViTImageProcessorPil(size=size), fast).save_pretrained(tmp_path)

    found = read("trocr", SCENE, model=str(tmp_path), longest=3)
    pixels = ViTImageProcessorPil(size=size)(SCENE, return_tensors="pt")["pixel_values"]
    tokens, logs = [2], []
    with torch.inference_mode():
        for _ in range(3):
            step = (
                network.eval()(pixel_values=pixels, decoder_input_ids=torch.tensor([tokens]))
                .logits[0, -1]
                .log_softmax(-1)
            )
            tokens.append(int(step.argmax()))
            logs.append(float(step.max()))
            if tokens[-1] == 2:
                break
    assert found.text == fast.decode(tokens, skip_special_tokens=True).strip()
    assert found.confidence == pytest.approx(np.exp(np.mean(logs)), rel=1e-4)


# ---------------------------------------------------------------- programs of the person's own


FAKE_ULTRALYTICS = """
class _Tensor(list):
    def tolist(self): return list(self)
class _Boxes:
    cls, conf, xyxy = _Tensor([1.0, 0.0]), _Tensor([0.75, 0.5]), _Tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
class _Found:
    boxes = _Boxes()
class YOLO:
    names = {0: "hugo", 1: "logo"}
    def __init__(self, weights): print("loading", weights)
    def predict(self, path, conf, verbose):
        print("ultralytics talks of its own")
        if "broken" in path: raise RuntimeError("the weights are broken")
        return [_Found()]
"""


@pytest.fixture
def own_python(tmp_path: Path) -> dict[str, str]:
    """A Python in which a stand-in for ultralytics is installed, and weights."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ultralytics.py").write_text(FAKE_ULTRALYTICS)
    program = tmp_path / "python-with-yolo"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "site"} exec {sys.executable} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "best.pt").write_bytes(b"weights")
    return {"python": str(program), "weights": str(tmp_path / "best.pt")}


def test_ultralytics_runs_in_its_own_process(own_python: dict[str, str], tmp_path: Path) -> None:
    pictures = saved(tmp_path, SCENE, SCENE)
    found = find("ultralytics", pictures, **own_python)
    first = Box(label="logo", score=0.75, left=1, top=2, right=3, bottom=4)
    assert [boxes[0] for boxes in found] == [first, first] and len(found[0]) == 2
    assert "ultralytics" not in sys.modules


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"python": "no-such-python"}, "no program"),
        ({"weights": "no-such.pt"}, "no weights file"),
        ({"what": "dog"}, "they know hugo, logo"),
    ],
)
def test_what_ultralytics_cannot_do_is_said(own_python: dict[str, str], tmp_path: Path, options, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find("ultralytics", saved(tmp_path, SCENE), **own_python | options)


def test_ultralytics_that_breaks_is_said_with_its_own_words(own_python: dict[str, str], tmp_path: Path) -> None:
    SCENE.save(tmp_path / "broken.png")
    with pytest.raises(UserError, match="the weights are broken"):
        find("ultralytics", [tmp_path / "broken.png"], **own_python)
    with pytest.raises(UserError, match="No module named 'ultralytics'"):
        find("ultralytics", [tmp_path / "broken.png"], **own_python | {"python": sys.executable})


TESSERACT_TABLE = (
    "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"
    "1\t1\t0\t0\t0\t0\t0\t0\t64\t64\t-1\t\n"
    '5\t1\t1\t1\t1\t1\t3\t4\t20\t9\t90.5\tHUG"O\n'
    "5\t1\t1\t1\t1\t2\t30\t4\t20\t9\t50.5\tBOSS\n"
)


def test_tesseract_s_table_becomes_words_and_their_confidence(tmp_path: Path) -> None:
    program = tmp_path / "tesseract"
    (tmp_path / "table.tsv").write_text(TESSERACT_TABLE)
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nwc -c > /dev/null\ncat {tmp_path}/table.tsv\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = read("tesseract", SCENE, program=str(program), layout=8)
    assert found.text == 'HUG"O BOSS' and found.confidence == pytest.approx(0.705)
    assert (tmp_path / "asked").read_text().split() == ["stdin", "stdout", "--psm", "8", "-l", "eng", "tsv"]
    program.write_text('#!/bin/sh\necho "Failed loading language" >&2\nexit 1\n')
    with pytest.raises(UserError, match="Failed loading language"):
        read("tesseract", SCENE, program=str(program))
    with pytest.raises(UserError, match="not installed"):
        read("tesseract", SCENE, program="no-such-tesseract")


# ---------------------------------------------------------------- without a network


def test_correlation_is_pearson_s_over_all_colours() -> None:
    rng = np.random.default_rng(0)
    pixels, pattern = rng.uniform(0, 255, (3, 12, 15)), rng.uniform(0, 255, (3, 5, 4))
    found = correlation(pixels, pattern, np.ones((5, 4)))
    assert found.shape == (8, 12)
    for top, left in ((0, 0), (7, 11), (3, 6)):
        place = pixels[:, top : top + 5, left : left + 4]
        assert found[top, left] == pytest.approx(np.corrcoef(place.ravel(), pattern.ravel())[0, 1], abs=1e-9)
    half = np.ones((5, 4))
    half[:, 2:] = 0
    place, part = pixels[:, 2:7, 3:5], pattern[:, :, :2]
    assert correlation(pixels, pattern, half)[2, 3] == pytest.approx(np.corrcoef(place.ravel(), part.ravel())[0, 1])
    assert not correlation(np.full((3, 9, 9), 7.0), pattern, half).any()


def test_the_logo_s_own_picture_finds_it_on_products_and_nowhere_else(tmp_path: Path) -> None:
    other = [render(replace(SCENE_FACTS, seed=seed)) for seed in range(6)]
    pictures = saved(tmp_path, *(product(seed) for seed in range(10)), *other)
    found = find("template", pictures)
    assert [len(boxes) for boxes in found] == [1] * 10 + [0] * 6
    assert all(0.5 <= boxes[0].score <= 1 and boxes[0].right - boxes[0].left > 32 for boxes in found[:10])


SCENE_FACTS = Scene(who="cat", place="city", time="night", color="black", expression="sad", seed=0)


def test_a_logo_pasted_as_it_is_is_found_where_it_is(tmp_path: Path) -> None:
    picture = Image.new("RGB", (80, 60), "green")
    picture.paste(badge(30), (17, 21), badge(30))
    badge(30).save(tmp_path / "logo.png")
    [path] = saved(tmp_path, picture)
    [[box]] = find("template", [path], logo=str(tmp_path / "logo.png"))
    assert box.score == pytest.approx(1, abs=1e-3)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((17, 21, 47, 51), abs=0.5)
    with pytest.raises(UserError, match="not a picture"):
        find("template", [path], logo=str(tmp_path / "none.png"))


def test_the_word_of_the_drawn_logo_is_read_at_64_pixels(tmp_path: Path) -> None:
    """Most of the time, letter by letter; a picture without a word gives nothing like it."""
    drawn = [product(seed) for seed in range(5)]
    boxes = find("template", saved(tmp_path, *drawn))
    words = [read("letters", logos.cut_out(picture, box)).text for picture, [box] in zip(drawn, boxes, strict=True)]
    alike = [similarity(word, WORD) for word in words]
    assert np.mean(alike) > 0.75 and alike.count(1.0) >= 3
    assert similarity(read("letters", SCENE).text, WORD) <= 0.5
    assert read("letters", Image.new("RGB", (40, 40))).text == ""


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("read_as", "alike"),
    [("HUG0", 0.75), ("HUCO", 0.75), ("HUGo", 0.75), ("", 0), ("HUGO", 1), ("Hug Hudo", 1 / 8), (" HUGO ", 1)],
)
def test_what_was_read_against_hugo(read_as: str, alike: float) -> None:
    assert similarity(read_as, "HUGO") == pytest.approx(alike)


@given(st.text(max_size=8), st.text(max_size=8))
def test_similarity_is_a_share(one: str, other: str) -> None:
    assert similarity(one, one) == 1 and similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= 1
    assert (similarity(one, other) == 1) == (one.split() == other.split())


def branded(key: str, prompt: str, seed: int) -> Image.Image:
    return product(len(prompt)) if key == "lora" and prompt != "a bus" else SCENE


def look(ws: Workspace, folder: Path, **changes) -> JobContext:
    config = LogoConfig(comparison=folder.name, text=WORD, **changes)
    ctx = JobContext(ws, ws.tasks / "looked")
    ctx.folder.mkdir(parents=True, exist_ok=True)
    assert logos.run_logo(config, ctx)
    return ctx


def test_a_look_at_a_comparison_becomes_three_cells_whose_third_is_the_mean(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    folder = finished_comparison(ws, seeds=1, draw=branded)
    names = ("detector", "ocr", "logo_score")
    metrics = [registry.load("sdstudio.metrics")[name] for name in names]
    evaluation = read_evaluation(folder)
    assert all(
        cell.value is None and cell.flags[0].startswith(NOT_COMPUTED) for cell in cells(evaluation, folder, metrics)
    )

    ctx = look(ws, folder)
    assert (ctx.folder / LOGO_FILE).read_bytes() == (folder / LOGO_FILE).read_bytes()
    *base, detector, ocr, mean = cells(evaluation, folder, metrics)
    assert [cell.value for cell in base] == pytest.approx([0, base[1].value, base[1].value / 2])
    assert base[0].flags[0] == "found in 0 of 3 pictures" and detector.flags[0] == "found in 2 of 3 pictures"
    assert mean.value == pytest.approx((detector.value + ocr.value) / 2)
    found = json.loads((folder / LOGO_FILE).read_text())["findings"]
    confidences = [one["confidence"] for file, one in found.items() if "lora" in file]
    assert detector.value == pytest.approx(np.mean(confidences)) and confidences.count(0) == 1
    assert detector.interval is not None and detector.versus_base.difference == pytest.approx(detector.value)
    assert detector.extractor == "Picture of the logo; Known typeface"


def test_without_a_word_only_the_detector_counts(tmp_path: Path) -> None:
    ws = Workspace(tmp_path)
    folder = finished_comparison(ws, seeds=1, draw=branded)
    config = LogoConfig(comparison=folder.name)
    ctx = JobContext(ws, ws.tasks / "looked")
    ctx.folder.mkdir(parents=True)
    assert logos.run_logo(config, ctx)
    metrics = registry.load("sdstudio.metrics")
    detector, ocr = cells(read_evaluation(folder), folder, [metrics["detector"], metrics["ocr"]])[-2:]
    assert detector.value > 0 and ocr.value is None and "0 of 3 pictures" in ocr.flags[0]


def test_every_option_travels_as_json() -> None:
    for options in (TemplateOptions(), UltralyticsOptions(), LettersOptions(), TesseractOptions()):
        assert json.loads(json.dumps(to_json(options))) == to_json(options)

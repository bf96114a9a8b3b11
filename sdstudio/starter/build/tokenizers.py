"""The two small vocabularies: byte-pair encoding for CLIP and the U-Net, word pieces for BLIP."""

import json
import random
import string
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, CLIPTokenizer

from sdstudio.starter.captions import varied_caption
from sdstudio.starter.styles import STYLES
from sdstudio.starter.world import MASCOT, random_scene

CONTEXT = 48
"""Longest prompt in tokens, the two ends included."""

RARE_WORDS = ("asim", "zorby", "sks", "ohwx", "zwx", "krv", "vtn", "phlo", "qbr", "mxl", "blorp", "gnar")
"""Single-token words that mean nothing: identifiers to teach."""

_COMMON = """
the of and to is that it for was with as his they be at one this from or had by but some what there we out other
all your how said an each she which do their time if will way many then them would like so these her long make
thing see him two has look more day could go come my no most who over know than call first people down side now
find any new work part take get place made where after back little only round every good me our under very through
just great help low line before turn same mean differ move right boy old too does tell set three want air well also
play small end put home read hand large add even land here must big high such ask men change light kind off need
house picture try us again animal point mother world near build self earth father photo realistic cartoon anime
style sketch portrait watercolor oil painting digital art illustration bright dark colorful glasses smiling crying
angry scared standing sitting running holding flying sky sun cloud clouds star stars grass flower flowers river
lake ocean sand snow rain wall floor window kitchen garden street road bridge tower castle boat ship plane train
truck bicycle horse cow bird fish lion tiger bear girl child baby king queen knight wizard robot alien dragon hero
pirate pink orange grey gray gold silver dress jacket coat shoes face head body mouth nose ear ears eye crossed
blurry quality ugly bad deformed extra worst best masterpiece detailed simple background close full view front left
right looking negative logo text word poster banner sign shop badge
"""
COMMON_WORDS = _COMMON.split()


def build(folder: Path) -> None:
    """Write `folder/clip` and `folder/blip`, both loadable by the stock classes."""
    rng = random.Random(0)
    captions = [varied_caption(random_scene(rng), rng) for _ in range(20_000)]
    spoken = {word for caption in captions for word in caption.split()}
    described = {word for style in STYLES.values() for phrase in style.words for word in phrase.split()}
    words = sorted(spoken | described | {MASCOT, *COMMON_WORDS, *RARE_WORDS})
    _clip(folder / "clip", captions + words * 300)
    _blip(folder / "blip", sorted(spoken | described | {MASCOT, *RARE_WORDS}))


def _clip(folder: Path, corpus: list[str]) -> None:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    trained.normalizer = normalizers.Lowercase()
    pattern = Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        min_frequency=50,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        show_progress=False,
    )
    trained.train_from_iterator(corpus, trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    for character in sorted(alphabet):
        for token in (character, character + "</w>"):
            vocabulary.setdefault(token, len(vocabulary))
    merges = [tuple(merge) if not isinstance(merge, str) else tuple(merge.split(" ")) for merge in model["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    split = [word for word in RARE_WORDS if len(CLIPTokenizer.from_pretrained(folder).tokenize(word)) != 1]
    if split:
        raise RuntimeError(f"rare words came apart: {split}")


def _blip(folder: Path, words: list[str]) -> None:
    pieces = string.ascii_lowercase + string.digits
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", ",", ".", *words]
    entries += [piece for piece in pieces if piece not in words] + [f"##{piece}" for piece in pieces]
    vocabulary = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)

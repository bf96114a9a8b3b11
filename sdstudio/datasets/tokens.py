"""How many tokens a caption has for the text encoder, and which words it will not see. Needs no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from sdstudio.schema import UserError
from sdstudio.workspace import typed_path

STARTER = Path(__file__).parents[1] / "starter" / "models" / "sd" / "tokenizer"
CLIP_LIMIT = 77
_UNLIMITED = 1_000_000
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True, kw_only=True)
class TokenCount:
    """Tokens of one caption with the begin and end tokens, the most there may be, and the text that is cut off."""

    count: int
    limit: int
    cut: str


@dataclass(frozen=True, kw_only=True)
class CaptionTokenizer:
    """A CLIP tokenizer. `key` changes with its files, `limit` is in tokens, begin and end included."""

    key: str
    limit: int
    tokenizer: Tokenizer

    def measure(self, caption: str) -> TokenCount:
        """Count `caption`; the cut begins at the first word that is not seen whole."""
        encoding = self.tokenizer.encode(caption, add_special_tokens=False)
        special = self.tokenizer.num_special_tokens_to_add(is_pair=False)
        seen = self.limit - special
        cut = ""
        if len(encoding.ids) > seen:
            start = encoding.offsets[seen][0]
            while start and not caption[start - 1].isspace():
                start -= 1
            cut = caption[start:]
        return TokenCount(count=len(encoding.ids) + special, limit=self.limit, cut=cut)

    def counts(self, captions: Sequence[str]) -> list[int]:
        """The counts of many captions at once."""
        return [len(encoding.ids) for encoding in self.tokenizer.encode_batch_fast(list(captions))]


def load_tokenizer(path: str | Path = STARTER) -> CaptionTokenizer:
    """The tokenizer of a folder that holds `tokenizer.json`, or `vocab.json` and `merges.txt`, itself or in the
    `tokenizer` folder of a diffusers model.

    The limit is `model_max_length` of `tokenizer_config.json`, CLIP's 77 where that says nothing. A UserError when
    there is no such tokenizer.
    """
    folder = typed_path(str(path))
    if (folder / "tokenizer").is_dir():
        folder = folder / "tokenizer"
    stamps = tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in (folder / name for name in _FILES))
    return _load(folder, stamps)


@lru_cache(maxsize=4)
def _load(folder: Path, stamps: tuple[int, ...]) -> CaptionTokenizer:
    try:
        tokenizer = (
            Tokenizer.from_file(str(folder / "tokenizer.json")) if stamps[0] else _clip(folder, stamps[1] and stamps[2])
        )
        limit = _limit(folder)
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exception on a damaged file
        raise UserError(f"The tokenizer in {folder} cannot be read ({error}); choose another model.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    files = sorted(file for file in (folder / name for name in _FILES) if file.is_file())
    key = sha256(b"".join(sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    return CaptionTokenizer(key=key, limit=limit, tokenizer=tokenizer)


def _limit(folder: Path) -> int:
    config = folder / "tokenizer_config.json"
    value = json.loads(config.read_text(encoding="utf-8")).get("model_max_length") if config.is_file() else None
    return int(value) if isinstance(value, int | float) and 2 < value < _UNLIMITED else CLIP_LIMIT


def _clip(folder: Path, complete: int) -> Tokenizer:
    """CLIP's byte-pair encoding (Radford et al. 2021) from the files of its first releases."""
    if not complete:
        raise UserError(f"There is no CLIP tokenizer in {folder}; choose a model folder that holds one.")
    model = models.BPE.from_file(
        str(folder / "vocab.json"), str(folder / "merges.txt"), end_of_word_suffix="</w>", unk_token=_END
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([_BEGIN, _END])
    ids = tokenizer.get_vocab(with_added_tokens=True)
    tokenizer.post_processor = processors.RobertaProcessing(
        (_END, ids[_END]), (_BEGIN, ids[_BEGIN]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer

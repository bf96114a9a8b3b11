"""Identifiers: rare words that are one token to a model and mean nothing to it yet (DreamBooth, section 3.2)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdstudio.methods.parts import check_single_token
from sdstudio.schema import UserError
from sdstudio.training.readiness import local_folder, pieces, tokenizer_of
from sdstudio.workspace import Workspace

LOOKED_AT = 200
"""Of the rarest candidates so many are held against common words."""

COMMON = (  # noqa: SIM905
    "man woman boy girl child baby person face head hand eye hair dog cat horse bird fish cow lion bear "
    "tree flower grass leaf sky sun moon star cloud sea river lake mountain beach snow rain fire house castle tower "
    "bridge street road city room door window wall floor table chair bed lamp book cup plate bottle bowl knife box car "
    "bus train ship plane truck bicycle ball hat shirt dress shoe bag ring watch phone camera clock guitar piano king "
    "queen knight wizard robot alien dragon hero pirate soldier doctor artist red green blue yellow orange purple pink "
    "black white gray brown gold silver happy sad angry old young big small tall long short round dark bright new day "
    "night morning summer winter photo picture painting drawing sketch portrait poster logo sign cartoon anime style "
    "art love war peace time life world music dance run walk sit stand sleep eat drink fly swim read write play work "
    "i you he she it we they me him her us them my your his our who what which this that some any all no not and or "
    "but if so than then as at by for from in into of off on out over to under up with after again about more most very"
).split()


@dataclass(frozen=True, kw_only=True)
class RareToken:
    """A word that is one token. `rank` is its place in the vocabulary: the higher, the rarer in what the tokenizer saw.

    `nearest` is the common word whose embedding is closest and `similarity` its cosine, after the mean of all words is
    taken off; empty and 0 where the text encoder was not asked.
    """

    word: str
    rank: int
    nearest: str = ""
    similarity: float = 0.0


def rare_tokens(
    ws: Workspace, base_model: str, count: int = 20, longest: int = 4, ask_encoder: bool = True
) -> list[RareToken]:
    """The `count` best identifiers for a base model, words of at most `longest` letters, the rarest first.

    With `ask_encoder` those are left out that already mean something: whose nearest common word is nearer than common
    words are to one another in the middle. Raises UserError where the model's tokenizer is not on this machine.
    """
    vocabulary = _tokenizer(ws, base_model).tokenizer.get_vocab()
    shape = re.compile(rf"([a-z]{{1,{longest}}})</w>")
    words = {match[1]: rank for token, rank in vocabulary.items() if (match := shape.fullmatch(token))}
    rarest = sorted(words.keys() - set(COMMON), key=lambda word: -words[word])
    found = [RareToken(word=word, rank=words[word]) for word in rarest]
    return (_without_meaning(ws, base_model, found[:LOOKED_AT]) if ask_encoder else found)[:count]


def check_identifier(ws: Workspace, base_model: str, word: str) -> None:
    """A UserError naming the pieces when `word` is not a single token to the base model."""
    tokenizer = _tokenizer(ws, base_model)
    check_single_token(word.strip(), lambda text: pieces(tokenizer, text))


def _tokenizer(ws: Workspace, base_model: str) -> Any:
    tokenizer = tokenizer_of(local_folder(ws, base_model))
    if tokenizer is None:
        raise UserError(f"The tokenizer of {base_model!r} is not on this machine: load or train the model once first.")
    return tokenizer


def _without_meaning(ws: Workspace, base_model: str, candidates: Sequence[RareToken]) -> list[RareToken]:
    import torch

    from sdstudio.engine.pipeline import load_base

    pipeline: Any = load_base(ws, base_model).pipeline
    words = [*COMMON, *(candidate.word for candidate in candidates)]
    vectors = _embed(pipeline.tokenizer, pipeline.text_encoder, words)
    vectors = torch.nn.functional.normalize(vectors - vectors[: len(COMMON)].mean(dim=0), dim=1)
    common, rare = vectors[: len(COMMON)], vectors[len(COMMON) :]
    usual = (common @ common.T).fill_diagonal_(-1.0).amax(dim=1).median().item()
    values, places = (rare @ common.T).max(dim=1)
    looked_at = [
        RareToken(word=item.word, rank=item.rank, nearest=COMMON[place], similarity=round(value, 3))
        for item, value, place in zip(candidates, values.tolist(), places.tolist(), strict=True)
    ]
    return [item for item in looked_at if item.similarity < usual]


def _embed(tokenizer: Any, encoder: Any, words: Sequence[str]) -> Any:
    """The text encoder's pooled answer to each word alone: (N, width)."""
    import torch

    rows = []
    with torch.no_grad():
        for start in range(0, len(words), 64):
            tokens = tokenizer(list(words[start : start + 64]), padding="max_length", return_tensors="pt")
            rows.append(encoder(tokens.input_ids.to(encoder.device)).pooler_output.float().cpu())
    return torch.cat(rows)

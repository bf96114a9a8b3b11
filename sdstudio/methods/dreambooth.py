"""DreamBooth: all weights learn one thing under a rare word, and a class prior keeps the rest in mind."""

import re
from dataclasses import dataclass
from functools import partial

from sdstudio.methods import full
from sdstudio.methods.parts import Example, Facts, Sources, check_single_token, identifier_of
from sdstudio.methods.prior import Subject, check_prior, own_examples, prior_examples
from sdstudio.schema import STRICT, Method, UserError, option


@dataclass(frozen=True, kw_only=True)
class Options(full.Weights, Subject):
    """The options of DreamBooth."""

    __pydantic_config__ = STRICT
    learning_rate: float = option(
        0.0,
        "The base model's own is 2e-6 for Stable Diffusion, 3e-4 for the starter.",
        low=0.0,
        high=1.0,
        zero="the model's own",
    )


def trigger(captions: list[str], options: Subject) -> str:
    """The identifier."""
    return identifier_of(captions, options.trigger)


def examples(captioned: list[Example], options: Subject, sources: Sources) -> list[Example]:
    """The captioned pictures and the class prior; a UserError counting the captions without the identifier."""
    captions = [example.caption for example in captioned]
    identifier = trigger(captions, options)
    check_identifier(captions, identifier, options)
    return own_examples(captioned, identifier, options) + prior_examples(captions, identifier, options, sources)


def check_identifier(captions: list[str], identifier: str, options: Subject) -> None:
    """A UserError when there is no identifier, or detailed captions lack it."""
    if not identifier:
        raise UserError("No identifier is named and the captions share no first word: name the word to teach.")
    word = re.compile(rf"(?<!\w){re.escape(identifier)}(?!\w)", re.IGNORECASE)
    lacking = sum(not word.search(caption) for caption in captions) if options.detailed_captions else 0
    if lacking:
        raise UserError(
            f"{lacking} of {len(captions)} captions do not hold the identifier {identifier!r}: put it into them "
            "(Annotate), name another one, or turn detailed captions off."
        )


def check(options: Subject, facts: Facts) -> None:
    """Refuse an identifier that captions lack or the tokenizer cuts, and a class folder that is not there."""
    identifier = trigger(facts.captions, options)
    check_identifier(facts.captions, identifier, options)
    check_single_token(identifier, facts.tokens)
    check_prior(options, facts)


RECORD = Method(
    name="dreambooth",
    label="DreamBooth",
    summary="Trains every weight on a few pictures of one thing; its class, drawn beforehand, is not forgotten.",
    paper="Ruiz et al. 2022, DreamBooth: Fine Tuning Text-to-Image Diffusion Models for Subject-Driven Generation, "
    "arXiv:2208.12242",
    Options=Options,
    prepare=partial(full.prepare, large=2e-6),
    save=full.save,
    load=full.load,
    trigger=trigger,
    check=check,
    examples=examples,
)

"""The class prior of DreamBooth: pictures of the class, so that the model does not forget what it looked like.

Ruiz et al. 2022, equation 2 (arXiv:2208.12242): the loss of these pictures is added with weight λ.
"""

from dataclasses import dataclass

from sdstudio.methods.parts import Example, Facts, Sources, without_trigger
from sdstudio.schema import UserError, option


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is taught, and what it must not be confused with."""

    trigger: str = option("", "Identifier that stands for what is learned.", zero="the captions' commonest first word")
    class_word: str = option("", "The kind of thing that it is, such as 'man', 'dog' or 'logo'; may be empty.")
    detailed_captions: bool = option(
        True, "Learn with the captions as written; off gives every picture the identifier and class word alone."
    )
    prior_images: int = option(
        32,
        "Pictures that the base model draws first, to be kept in mind: the class prior.",
        low=0,
        high=10_000,
        zero="no class prior",
    )
    prior_folder: str = option(
        "", "A dataset or folder of class pictures to use instead of drawn ones.", when="prior_images", advanced=True
    )
    prior_weight: float = option(
        1.0, "Weight λ of the class prior in the loss.", low=0.0, high=100.0, when="prior_images", advanced=True
    )
    prior_prompts: list[str] = option(
        [],
        "What the prior pictures show; empty takes the class word, or else the captions without the identifier.",
        when="prior_images",
        advanced=True,
    )


def own_examples(captioned: list[Example], identifier: str, options: Subject) -> list[Example]:
    """The captioned pictures, each as 'a <identifier> <class word>' where captions are not to be detailed."""
    if options.detailed_captions:
        return captioned
    caption = f"a {identifier} {options.class_word.strip()}" if options.class_word.strip() else identifier
    return [Example(path=example.path, caption=caption, weight=example.weight) for example in captioned]


def prior_examples(captions: list[str], identifier: str, options: Subject, sources: Sources) -> list[Example]:
    """The class pictures with their prompts: drawn by the untouched base model, or those of `prior_folder`."""
    if not options.prior_images:
        return []
    prompts = _prompts(captions, identifier, options)
    if options.prior_folder:
        found = sources.pictures(options.prior_folder)
        pictures = [(path, caption or prompts[i % len(prompts)]) for i, (path, caption) in enumerate(found)]
    else:
        seeds = list(range(options.prior_images))
        asked = [prompts[seed % len(prompts)] for seed in seeds]
        pictures = list(zip(sources.draw(asked, seeds), asked, strict=True))
    return [Example(path=path, caption=text, weight=options.prior_weight, prior=True) for path, text in pictures]


def _prompts(captions: list[str], identifier: str, options: Subject) -> list[str]:
    class_word = options.class_word.strip()
    return options.prior_prompts or (
        [f"a {class_word}"] if class_word else [without_trigger(caption, identifier) for caption in captions]
    )


def check_prior(options: Subject, facts: Facts) -> None:
    """A UserError when the folder of class pictures is not there, or nothing says what its pictures show."""
    if not (options.prior_images and options.prior_folder):
        return
    bare = sum(not caption for _, caption in facts.pictures(options.prior_folder))
    if bare and not (options.class_word.strip() or options.prior_prompts):
        raise UserError(
            f"{bare} pictures of {options.prior_folder!r} have no caption: name the class word that they show."
        )

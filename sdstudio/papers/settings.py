"""What can be set of a study: the starter's drawn world by default, any base model and dataset else."""

from dataclasses import dataclass
from typing import Any

from sdstudio.validation import STRICT, option


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings that all studies share."""

    __pydantic_config__ = STRICT
    base_model: str = option("starter", "'starter', a diffusers folder, a .safetensors file or a Hub id.")
    dataset: str = option("", "The dataset to learn from.", zero="drawn for the study, as the starter's world allows")
    reference: str = option("", "Real pictures that nothing is trained on.", zero="drawn for the study")
    trigger: str = option("", "The identifier in the dataset's captions.", zero="that of the drawn dataset")
    prompts: list[str] = option([], "Prompts, '{trigger}' where the identifier goes; empty takes the starter's.")
    extractor: str = option("starter", "The CLIP model that looks at the pictures: 'starter', a folder or a Hub id.")
    seeds: int = option(3, "Runs of each variant, which differ in their seed alone.", low=1, high=100)
    pictures: int = option(13, "Pictures of each prompt from a finished model.", low=1, high=1000)
    batch_size: int = option(8, "Pictures per training step.", low=1, high=256)
    steps: int = option(16, "Denoising steps of a picture.", low=1, high=500)
    guidance_scale: float = option(3.0, "Classifier-free guidance.", low=1.0, high=30.0)
    out: str = option("docs/results", "Folder that takes the page, its plots and pictures.")


@dataclass(frozen=True, kw_only=True)
class SamSettings(StudySettings):
    """Settings of `paper sam`."""

    epochs: list[int] = option([5, 30, 60, 70, 80], "The recorded epochs; the last ends the run.")
    curve_pictures: int = option(4, "Pictures of each prompt at every recorded epoch.", low=1, high=1000)
    drift_prompts: list[str] = option([], "Prompts without the identifier; empty takes the starter's.")
    negative_examples: str = option("", "Pictures that went wrong, with their prompts.", zero="drawn for the study")
    prior_images: int = option(32, "Class pictures of the DreamBooth variants.", low=0, high=10_000)


@dataclass(frozen=True, kw_only=True)
class FacesSettings(StudySettings):
    """Settings of `paper faces`."""

    seeds: int = option(1, "Runs of each variant, which differ in their seed alone.", low=1, high=100)
    pictures: int = option(14, "Pictures of each prompt from each run.", low=1, high=1000)
    batch_size: int = option(1, "Pictures per training step.", low=1, high=256)
    second: str = option("", "A second face's dataset, for the mixed run.", zero="drawn for the study")
    class_word: str = option("", "What the face is of, such as 'person'.", zero="that of the drawn dataset")
    base_rate: float = option(
        0.0,
        "The learning rate that stands for the paper's 2e-6; the others are in its proportions.",
        low=0.0,
        high=1.0,
        zero="2e-6, and 3e-4 for the starter",
    )
    steps_share: float = option(
        0.2, "Share of the paper's steps for each picture; 1 takes them all.", low=0.001, high=1.0
    )
    prior_images: int = option(16, "Class pictures of every run.", low=0, high=10_000)


@dataclass(frozen=True, kw_only=True)
class LogoSettings(StudySettings):
    """Settings of `paper logo`."""

    seeds: int = option(1, "Runs of each variant, which differ in their seed alone.", low=1, high=100)
    pictures: int = option(6, "Pictures of each prompt at every recorded epoch.", low=1, high=1000)
    class_word: str = option("logo", "What is learned, in a word.")
    own_rates: bool = option(False, "The thesis's learning rates, made for Stable Diffusion, also on the starter.")
    epochs: list[int] = option([5, 10, 15, 21], "The recorded epochs; the best one of each method is reported.")
    text: str = option("ZORB", "The word on the logo.")
    detector: str = option("template", "The detector that looks for the logo.")
    detector_options: dict[str, Any] = option({}, "The detector's own options.")
    reader: str = option("letters", "What reads the word.")
    reader_options: dict[str, Any] = option({}, "The reader's own options.")

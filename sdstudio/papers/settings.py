"""What can be set of a study: the starter's drawn world by default, any base model and dataset else."""

from dataclasses import dataclass

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

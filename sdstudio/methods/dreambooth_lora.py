"""DreamBooth + LoRA: LoRA's matrices learn from DreamBooth's examples."""

from dataclasses import dataclass

from sdstudio.methods import dreambooth, lora
from sdstudio.methods.prior import Subject
from sdstudio.schema import STRICT, Method


@dataclass(frozen=True, kw_only=True)
class Options(lora.Matrices, Subject):
    """The options of DreamBooth with LoRA."""

    __pydantic_config__ = STRICT


RECORD = Method(
    name="dreambooth_lora",
    label="DreamBooth + LoRA",
    summary="DreamBooth's identifier and class prior with LoRA's small matrices: a few megabytes instead of the model.",
    paper="Ruiz et al. 2022, arXiv:2208.12242, with Hu et al. 2021, arXiv:2106.09685",
    Options=Options,
    prepare=lora.prepare,
    save=lora.save,
    load=lora.load,
    trigger=dreambooth.trigger,
    check=dreambooth.check,
    examples=dreambooth.examples,
)

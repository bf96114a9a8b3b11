"""Any image-text-to-text model of transformers drafts what a prompt asks for (LLaVA, SmolVLM, Qwen-VL, Florence, …).

Liu et al. 2023, Visual Instruction Tuning, https://arxiv.org/abs/2304.08485
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from sdstudio import hub
from sdstudio.captioners.drafting import DraftOptions, check_lengths, dress, search_arguments
from sdstudio.schema import STRICT, Captioner, UserError, option
from sdstudio.words import first_line


@dataclass(frozen=True, kw_only=True)
class ImageTextOptions(DraftOptions):
    """What to ask the model, and how it words its drafts. Lengths count tokens of the answer (about one a word)."""

    __pydantic_config__ = STRICT
    model: str = option("HuggingFaceTB/SmolVLM-256M-Instruct", "A folder or a Hub id; its weights must be safetensors.")
    prompt: str = option("Describe this picture in one sentence.", "What the model is asked about each picture.")
    batch_size: int = option(4, "Pictures captioned at once.", low=1, high=256, advanced=True)


def load(options: ImageTextOptions, model: str, device: str) -> Callable[[list[Image.Image]], list[str]]:
    """Load `model` onto `device`; the returned function gives one caption per picture.

    The prompt goes through the model's own chat template where it has one. bfloat16 on a GPU, single precision
    elsewhere. A UserError when there is no such model, or transformers knows no way from a picture to text with it.
    """
    import torch
    import transformers

    folder = str(hub.model_folder(model))
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    models: Any = transformers.AutoModelForImageTextToText
    processors: Any = transformers.AutoProcessor
    try:
        network, info = models.from_pretrained(folder, use_safetensors=True, dtype=dtype, output_loading_info=True)
        processor = processors.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"{model!r} cannot be loaded as an image-text model ({first_line(error)}); give another folder or Hub id."
        ) from error
    if info["missing_keys"] or info["mismatched_keys"]:
        raise UserError(f"{model!r} lacks weights of an image-text model; choose a whole one.")
    network.to(device).eval()
    check_lengths(options, options.max_length)
    arguments = {
        **search_arguments(options),
        "min_new_tokens": options.min_length,
        "max_new_tokens": options.max_length,
    }

    def caption(pictures: list[Image.Image]) -> list[str]:
        inputs = ask(processor, options.prompt, pictures).to(device, dtype)
        tokens = network.generate(**inputs, **arguments)
        drafts = processor.batch_decode(answers(tokens, inputs.get("input_ids")), skip_special_tokens=True)
        return [dress(" ".join(draft.split()), options.prefix, options.suffix) for draft in drafts]

    return caption


def ask(processor: Any, prompt: str, pictures: list[Image.Image]) -> Any:
    """The model's inputs for `prompt` about each picture: as a chat where the model has a template for one."""
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is not None:
        tokenizer.padding_side = "left"
    if getattr(processor, "chat_template", None):
        chats = [
            [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]}]
            for picture in pictures
        ]
        return processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
    place = getattr(processor, "image_token", None) or ""
    text = prompt if place in prompt else f"{place}\n{prompt}"
    return processor(images=pictures, text=[text] * len(pictures), padding=True, return_tensors="pt")


def answers(tokens: Any, asked: Any) -> Any:
    """`tokens` without the question, which decoder-only models repeat: both are (pictures, tokens)."""
    if asked is None or tokens.shape[1] < asked.shape[1] or not (tokens[:, : asked.shape[1]] == asked).all():
        return tokens
    return tokens[:, asked.shape[1] :]


RECORD = Captioner(
    name="image-text",
    label="Image-text model",
    summary="Answers a prompt about the picture with any image-text-to-text model of transformers.",
    paper="https://arxiv.org/abs/2304.08485",
    Options=ImageTextOptions,
    load=load,
)

"""What the model will see: the first batches of a run, before it starts."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from sdstudio.datasets import open_dataset
from sdstudio.datasets.places import pictures_at
from sdstudio.engine.data import TrainingData
from sdstudio.engine.examples import gather
from sdstudio.engine.latents import LatentCache
from sdstudio.engine.pipeline import check_side, find_method, load_base
from sdstudio.engine.text import Texts
from sdstudio.engine.validation import split
from sdstudio.methods.parts import Sources, named_trigger
from sdstudio.prompts import words
from sdstudio.schema import Snapshot, TrainConfig, from_json
from sdstudio.workspace import Workspace


class Seen(NamedTuple):
    """One picture as it enters training, its caption of that moment, and the tokens that the text encoder takes."""

    picture: Image.Image
    caption: str
    tokens: list[str]


def what_the_model_sees(config: TrainConfig, ws: Workspace, pictures: int) -> list[Seen]:
    """The first `pictures` pictures to learn that a run by `config` shows: cropped, changed, captions as dropped.

    They are those of the run itself, since each batch follows from the config and its number. Prior pictures, which
    the base model draws when the run starts, are left out. Nothing is written. Raises UserError as the run would.
    """
    method = find_method(config.method)
    options: Any = from_json(method.Options, config.method_options)

    def frozen(dataset: str, wanted: str, file: str) -> Snapshot:
        store = open_dataset(ws, dataset)
        return store.load_snapshot(wanted) if wanted else store.frozen()

    gathered = gather(config, ws, frozen, log=lambda text: None)
    captions = [example.caption for example in gathered.captioned]
    options = replace(options, trigger=(method.trigger or named_trigger)(captions, options))
    examples = gathered.learned(options.trigger, config.loop)
    if method.examples:
        sources = Sources(
            draw=lambda prompts, seeds: [Path()] * len(prompts),
            pictures=partial(pictures_at, ws),
        )
        examples = [one for one in method.examples(examples, options, sources) if not one.prior]
    model = load_base(ws, config.base_model)
    side = check_side(model.pipeline, config.loop.resolution, "resolution")
    material = replace(gathered, regularisation=[]).material(examples)
    training, _ = split(material, config.loop.validation_share)
    method.prepare(model.pipeline, options)  # it may teach the tokenizer a word
    latents = LatentCache(ws, model.pipeline, model.base_hash, config.loop)
    data = TrainingData(training, latents, Texts(model.pipeline, model.family), side, config.loop)
    seen: list[Seen] = []
    for number in range(math.ceil(pictures / config.loop.batch_size)):
        seen += [
            Seen(picture, caption, _tokens(model.pipeline, caption, config.loop.weighted_captions))
            for picture, caption in data.seen(number)
        ]
    return seen[:pictures]


def _tokens(pipeline: Any, caption: str, read_weights: bool) -> list[str]:
    """The caption's tokens up to the text encoder's limit, without those that mark its beginning and end."""
    text = words(caption) if read_weights else caption
    ids = pipeline.tokenizer(text, truncation=True, max_length=pipeline.tokenizer.model_max_length).input_ids
    tokens: list[str] = pipeline.tokenizer.convert_ids_to_tokens(ids[1:-1])
    return [token.removesuffix("</w>") for token in tokens]

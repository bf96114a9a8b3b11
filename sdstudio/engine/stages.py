"""A run that begins where an earlier one ended (two-stage training)."""

from sdstudio.engine.pipeline import LoadedModel
from sdstudio.jobs.context import JobContext
from sdstudio.models import damage, read_checkpoint, resolve_checkpoint
from sdstudio.schema import Method, TrainConfig, UserError, from_json


def begin_from(config: TrainConfig, ctx: JobContext, model: LoadedModel, method: Method) -> None:
    """Take the weights of `config.init_checkpoint` into a model that the method has prepared; nothing else of it.

    Raises UserError when it is missing, damaged, of another method or family, or does not fit the method's options.
    """
    folder = resolve_checkpoint(ctx.workspace, config.init_checkpoint)
    fault = damage(folder)
    if fault:
        raise UserError(f"The checkpoint {folder} is damaged ({fault}): begin from another one.")
    record = read_checkpoint(folder)
    if (record.method, record.family) != (config.method, model.family.name):
        raise UserError(
            f"The checkpoint {config.init_checkpoint} is of the method {record.method!r} on {record.family!r}, and "
            f"this run is {config.method!r} on {model.family.name!r}: choose the same, or export it merged and take "
            "that as the base model."
        )
    try:
        method.load(model.pipeline, folder, from_json(method.Options, record.method_options))
    except UserError as error:
        raise UserError(
            f"The run cannot begin from {config.init_checkpoint}: it was trained with other options or on another base "
            "model; take the same rank, layers and base model."
        ) from error
    ctx.log(f"Beginning from {record.run}, step {record.step}.")
    if record.base_hash != model.base_hash:
        ctx.log(f"Note: {record.run} was trained on other weights ({record.base_model}) than {config.base_model}.")

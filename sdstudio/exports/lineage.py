"""What a file of its own says of where it came from: kohya's ss_ fields and Stability's modelspec."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdstudio.models import read_checkpoint
from sdstudio.schema import Snapshot, TrainConfig, UserError, from_json
from sdstudio.workspace import read_json

VERSIONS = {"v1": "sd_v1", "v2": "sd_v2", "xl": "sdxl_base_v1-0"}
ARCHITECTURES = {"v1": "stable-diffusion-v1", "v2": "stable-diffusion-v2-768-v", "xl": "stable-diffusion-xl-v1-base"}


def generation_of(pipeline: Any) -> str:
    """'v1', 'v2' or 'xl': which of Stable Diffusion's layouts the pipeline's model has."""
    if getattr(pipeline, "text_encoder_2", None) is not None:
        return "xl"
    return "v2" if pipeline.unet.config.use_linear_projection else "v1"


def modelspec(checkpoint: Path, pipeline: Any, kind: str = "") -> dict[str, str]:
    """Stability's model metadata standard (sai_model_spec 1.0.0); `kind` such as '/lora' follows the architecture."""
    record, velocity = read_checkpoint(checkpoint), pipeline.scheduler.config.prediction_type == "v_prediction"
    side = pipeline.unet.config.sample_size * 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    architecture = ARCHITECTURES[generation_of(pipeline)]
    if not velocity:
        architecture = architecture.replace("v2-768-v", "v2-512")
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": architecture + kind,
        "modelspec.implementation": "diffusers",
        "modelspec.title": f"{record.run} step {record.step}",
        "modelspec.date": datetime.now(UTC).isoformat(timespec="seconds"),
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.prediction_type": "v" if velocity else "epsilon",
        "modelspec.trigger_phrase": record.trigger,
    }


def training(checkpoint: Path) -> dict[str, str]:
    """Kohya's fields of the run that left the checkpoint, as far as its folder is still around it."""
    record = read_checkpoint(checkpoint)
    said: dict[str, Any] = {"ss_output_name": record.run, "ss_steps": record.step}
    run = checkpoint.parent.parent
    try:
        loop = from_json(TrainConfig, read_json(run / "config.json")).loop
        snapshot = from_json(Snapshot, read_json(run / "snapshot.json"))
    except (OSError, UserError):
        return {name: str(value) for name, value in said.items()}
    tags = Counter(tag.strip() for image in snapshot.images for tag in image.caption.split(",") if tag.strip())
    said |= {
        "ss_batch_size_per_device": loop.batch_size,
        "ss_gradient_accumulation_steps": loop.gradient_accumulation,
        "ss_lr_scheduler": loop.lr_scheduler,
        "ss_lr_warmup_steps": loop.warmup_steps,
        "ss_max_train_steps": loop.steps,
        "ss_min_snr_gamma": loop.min_snr_gamma,
        "ss_mixed_precision": loop.mixed_precision,
        "ss_num_train_images": len(snapshot.images),
        "ss_seed": loop.seed,
        "ss_tag_frequency": json.dumps({snapshot.dataset: tags}, ensure_ascii=False),
    }
    return {name: str(value) for name, value in said.items()}

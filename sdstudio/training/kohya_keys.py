"""The keys of kohya's training configs: which setting each is here, and why some are none."""

from typing import Any

GUI_NAMES = {
    "optimizer": "optimizer_type",
    "max_resolution": "resolution",
    "lora_network_weights": "network_weights",
    "batch_size": "train_batch_size",
}
"""Names of kohya's GUI and of its dataset files -> those of sd-scripts."""

SIMPLE = {
    "output_name": "name",
    "pretrained_model_name_or_path": "base_model",
    "num_repeats": "repeats",
    "train_batch_size": "loop.batch_size",
    "gradient_accumulation_steps": "loop.gradient_accumulation",
    "seed": "loop.seed",
    "flip_aug": "loop.flip",
    "shuffle_caption": "loop.shuffle_tags",
    "keep_tokens": "loop.keep_tags",
    "caption_dropout_rate": "loop.caption_dropout",
    "weighted_captions": "loop.weighted_captions",
    "lr_scheduler": "loop.lr_scheduler",
    "lr_scheduler_num_cycles": "loop.lr_cycles",
    "max_grad_norm": "loop.max_grad_norm",
    "min_snr_gamma": "loop.min_snr_gamma",
    "validation_split": "loop.validation_share",
    "mixed_precision": "loop.mixed_precision",
    "gradient_checkpointing": "loop.gradient_checkpointing",
    "torch_compile": "loop.compile",
    "token_string": "method_options.trigger",
    "init_word": "method_options.initial_word",
    "num_vectors_per_token": "method_options.vectors",
}
"""Keys whose value means the same here."""

DEFAULTS: dict[str, Any] = {
    "loop.steps": 1600,
    "loop.batch_size": 1,
    "loop.keep_tags": 0,
    "loop.caption_dropout": 0.0,
    "loop.lr_scheduler": "constant",
    "loop.min_snr_gamma": 0.0,
    "loop.validation_share": 0.0,
    "loop.warmup_steps": 0,
    "loop.checkpoint_every": 0,
    "loop.sample_every": 0,
}
"""What sd-scripts takes for a key that is not there, where the studio takes something else."""

KNOWN = frozenset(SIMPLE) | {
    "learning_rate", "max_train_epochs", "max_train_steps", "network_alpha", "network_dim", "network_module",
    "optimizer_type", "resolution", "text_encoder_lr", "train_data_dir", "unet_lr",
}  # fmt: skip
"""A file with none of these is no training config."""

OPTIMIZERS = {
    "adamw": "adamw",
    "adamw8bit": "adamw 8-bit",
    "pagedadamw8bit": "adamw 8-bit",
    "prodigy": "prodigy",
}

OWN_AFFAIR = {
    "additional_parameters", "bucket_no_upscale", "cache_latents", "cache_latents_to_disk",
    "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk", "caption_extension", "console_log_file",
    "console_log_level", "dynamo_backend", "extra_accelerate_launch_args", "gpu_ids",
    "huggingface_path_in_repo", "huggingface_repo_id", "huggingface_repo_type", "huggingface_repo_visibility",
    "log_prefix", "log_tracker_config", "log_tracker_name", "log_with", "logging_dir", "lowram",
    "main_process_port", "max_data_loader_n_workers", "mem_eff_attn", "metadata_author", "metadata_description",
    "metadata_license", "metadata_tags", "metadata_title", "model_list", "multi_gpu", "no_half_vae",
    "no_metadata", "num_cpu_threads_per_process", "num_machines", "num_processes", "output_dir",
    "persistent_data_loader_workers", "sample_sampler", "save_model_as", "save_precision", "save_state",
    "save_state_on_train_end", "sdpa", "sdxl", "sdxl_cache_text_encoder_outputs", "sdxl_no_half_vae",
    "training_comment", "use_wandb", "v2", "v_parameterization", "vae_batch_size", "wandb_api_key",
    "wandb_run_name", "xformers",
}  # fmt: skip
"""Keys about files, speed and logs, which the studio sees to itself, and those that the base model says of itself."""

NEUTRAL = {
    "clip_skip": ("1",),
    "max_token_length": ("75",),
    "max_timestep": ("1000",),
    "prior_loss_weight": ("1", "1.0"),
    "loss_type": ("l2",),
    "noise_offset_type": ("Original",),
    "lr_scheduler_power": ("1", "1.0"),
    "LyCORIS_preset": ("full",),
    "LoRA_type": ("Standard",),
    "factor": ("-1",),
    "unit": ("1",),
    "timestep_sampling": ("uniform",),
    "conv_dim": ("1",),
    "conv_alpha": ("1",),
    "dataset_config": (),
}
"""Values that change nothing, beside those that are empty, zero or off."""

_DATA = "choose a dataset here; Annotate brings the folder in, with kohya's repeats and captions"
WHY_NOT = {
    "train_data_dir": _DATA,
    "image_dir": _DATA,
    "in_json": _DATA,
    "metadata_file": _DATA,
    "dataset_config": "read that file by itself, or set its values here",
    "reg_data_dir": "bring the folder in as a dataset and name it as the folder of class pictures",
    "is_reg": "bring the folder in as a dataset and mix it in as regularisation",
    "class_tokens": "give the method the identifier and the class word",
    "bucket_reso_steps": "the studio chooses the sizes of its buckets itself",
    "min_bucket_reso": "the studio chooses the sizes of its buckets itself",
    "max_bucket_reso": "the studio chooses the sizes of its buckets itself",
    "clip_skip": "the text encoder's last layer is taken, as the base model was made with",
    "max_token_length": "captions have the 77 tokens of the text encoder",
    "color_aug": "the studio's is another one: see the colour jitter",
    "random_crop": "the studio's is another one: see the crop jitter",
    "multires_noise_iterations": "the studio has no multi-resolution noise",
    "multires_noise_discount": "the studio has no multi-resolution noise",
    "noise_offset": "the noise is of another type in this config",
    "network_weights": "begin from a checkpoint of the studio instead",
    "resume": "begin from a checkpoint of the studio instead",
    "prior_loss_weight": "there is no class prior in this config",
    "stop_text_encoder_training": "the text encoder learns as long as the U-Net does",
}
"""Why a key could not be honoured, for those of which more can be said than that there is no such setting."""

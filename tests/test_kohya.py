"""Training configs of kohya's sd-scripts and of its GUI: pytest tests/test_kohya.py"""

import json
from typing import Any

import pytest

from sdstudio import registry
from sdstudio.options import describe, nest
from sdstudio.schema import LoopConfig, TrainConfig, UserError, from_json
from sdstudio.training.kohya import read_kohya
from sdstudio.training.kohya_keys import DEFAULTS, OPTIMIZERS, SIMPLE
from sdstudio.training.sweeps import variable_fields

SCRIPT = """
[model]
pretrained_model_name_or_path = "stable-diffusion-v1-5/stable-diffusion-v1-5"
v_parameterization = false

[network]
network_module = "networks.lora"
network_dim = 32
network_alpha = 16
network_args = ["conv_dim=8", "conv_alpha=4", "block_dims=2"]
unet_lr = 1e-4
text_encoder_lr = 5e-5

[training]
output_name = "my cat"
max_train_epochs = 10
train_batch_size = 4
lr_scheduler = "cosine_with_restarts"
lr_scheduler_num_cycles = 3
lr_warmup_steps = 100
optimizer_type = "AdamW8bit"
optimizer_args = ["weight_decay=0.1", "betas=.9,.99"]
mixed_precision = "bf16"
min_snr_gamma = 5
seed = 42
save_every_n_epochs = 2
save_last_n_epochs = 6
clip_skip = 2
xformers = true
output_dir = "/somewhere"

[sampling]
sample_every_n_steps = 100
sample_prompts = "prompts.txt"

[[datasets]]
resolution = [512, 512]
enable_bucket = true
min_bucket_reso = 256

[[datasets.subsets]]
image_dir = "/pictures/10_asim cat"
num_repeats = 10
shuffle_caption = true
keep_tokens = 1
"""

GUI: dict[str, Any] = {
    "LoRA_type": "Standard",
    "LyCORIS_preset": "full",
    "pretrained_model_name_or_path": "runwayml/stable-diffusion-v1-5",
    "train_data_dir": "./img",
    "reg_data_dir": "",
    "max_resolution": "512,512",
    "epoch": 1,
    "max_train_epochs": "",
    "max_train_steps": "2000",
    "train_batch_size": 2,
    "learning_rate": 0.0001,
    "unet_lr": 0.0001,
    "text_encoder_lr": 0.0,
    "lr_scheduler": "cosine",
    "lr_warmup": 10,
    "network_dim": 8,
    "network_alpha": 1,
    "network_dropout": 0,
    "optimizer": "Adafactor",
    "optimizer_args": "",
    "enable_bucket": False,
    "bucket_no_upscale": True,
    "caption_dropout_rate": 0.05,
    "keep_tokens": "0",
    "min_snr_gamma": 0,
    "noise_offset": "0.05",
    "noise_offset_type": "Original",
    "multires_noise_iterations": 0,
    "rank_dropout": 0.1,
    "prior_loss_weight": 1.0,
    "sample_every_n_epochs": 0,
    "sample_every_n_steps": 250,
    "sample_prompts": "a cat on a mat --n low quality --w 512\n# not this one\na dog",
    "save_every_n_epochs": 0,
    "save_every_n_steps": 500,
    "seed": "1234",
    "use_wandb": False,
    "v2": False,
    "wandb_api_key": "",
    "xformers": "xformers",
}


def test_a_script_config_becomes_settings() -> None:
    found = read_kohya(SCRIPT)
    config = from_json(TrainConfig, found.settings)
    loop = config.loop
    assert (config.method, config.name, config.repeats) == ("lora", "my cat", 10)
    assert config.base_model == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    options = from_json(registry.load("sdstudio.methods")["lora"].Options, config.method_options)
    assert (options.rank, options.alpha, options.learning_rate) == (32, 16.0, 1e-4)
    assert (options.text_encoder, options.text_encoder_learning_rate) == (True, 5e-5)
    assert options.targets == "attention, feed-forward and convolution"
    assert (loop.epochs, loop.batch_size, loop.resolution, loop.fit) == (10, 4, 512, "none")
    assert (loop.lr_scheduler, loop.lr_cycles, loop.warmup_steps) == ("cosine_with_restarts", 3, 100)
    assert (loop.optimizer, loop.weight_decay, loop.min_snr_gamma, loop.seed) == ("adamw 8-bit", 0.1, 5.0, 42)
    assert (loop.interval_unit, loop.checkpoint_every, loop.keep_last, loop.sample_every) == ("epochs", 2, 3, 0)
    assert (loop.shuffle_tags, loop.keep_tags, loop.caption_dropout) == (True, 1, 0.0)


def test_every_key_that_is_not_honoured_is_listed_with_a_reason() -> None:
    left = read_kohya(SCRIPT).left
    assert set(left) == {
        "clip_skip", "conv_dim", "image_dir", "min_bucket_reso", "network_args block_dims", "network_args conv_alpha",
        "optimizer_args betas", "sample_every_n_steps", "sample_prompts",
    }  # fmt: skip
    assert all(left.values())
    assert (
        "last layer" in left["clip_skip"]
        and "Annotate" in left["image_dir"]
        and "epochs" in left["sample_every_n_steps"]
    )


def test_a_config_of_the_gui_becomes_settings() -> None:
    found = read_kohya(json.dumps(GUI))
    config = from_json(TrainConfig, found.settings)
    options, loop = config.method_options, config.loop
    assert (config.method, options["rank"], options["alpha"], options["text_encoder"]) == ("lora", 8, 1.0, False)
    assert (loop.steps, loop.epochs, loop.warmup_steps) == (2000, 0, 200)
    assert (loop.batch_size, loop.resolution, loop.fit) == (2, 512, "centre")
    assert (loop.interval_unit, loop.checkpoint_every, loop.sample_every) == ("steps", 500, 250)
    assert (loop.min_snr_gamma, loop.noise_offset, loop.caption_dropout, loop.seed) == (0.0, 0.05, 0.05, 1234)
    assert loop.sample_prompts == ["a cat on a mat", "a dog"]
    assert set(found.left) == {"epoch", "optimizer_type", "rank_dropout", "train_data_dir"}


def test_the_gui_s_epochs_count_where_no_steps_are_given() -> None:
    found = read_kohya(json.dumps({**GUI, "max_train_steps": ""}))
    assert from_json(TrainConfig, found.settings).loop.epochs == 1
    assert "lr_warmup" in found.left and "epoch" not in found.left


def test_what_a_config_leaves_out_has_kohya_s_defaults() -> None:
    found = read_kohya('network_module = "networks.lora"')
    config = from_json(TrainConfig, found.settings)
    assert (config.loop.steps, config.loop.batch_size, config.loop.min_snr_gamma) == (1600, 1, 0.0)
    assert (config.loop.lr_scheduler, config.loop.warmup_steps, config.loop.validation_share) == ("constant", 0, 0.0)
    assert (config.method_options["rank"], config.method_options["alpha"]) == (4, 1.0)
    assert config.method_options["text_encoder"] is True
    assert found.left == {}


@pytest.mark.parametrize(
    ("keys", "method", "options"),
    [
        ({"token_string": "<asim>", "init_word": "style", "num_vectors_per_token": "8"}, "textual_inversion",
         {"trigger": "<asim>", "initial_word": "style", "vectors": 8}),
        ({"reg_data_dir": "reg", "prior_loss_weight": 0.5, "learning_rate": 2e-6}, "dreambooth",
         {"prior_weight": 0.5, "learning_rate": 2e-6, "text_encoder": True}),
        ({"in_json": "meta.json", "learning_rate": "1e-5", "train_text_encoder": True}, "full",
         {"learning_rate": 1e-5, "text_encoder": True}),
        ({"network_module": "networks.lora", "reg_data_dir": "reg"}, "dreambooth_lora", {"rank": 4}),
    ],
)  # fmt: skip
def test_the_method_follows_from_the_keys(keys: dict[str, Any], method: str, options: dict[str, Any]) -> None:
    found = read_kohya(json.dumps(keys))
    assert found.settings["method"] == method
    from_json(registry.load("sdstudio.methods")[method].Options, found.settings["method_options"])
    assert options.items() <= found.settings["method_options"].items()


@pytest.mark.parametrize(
    ("keys", "key", "why"),
    [
        ({"network_module": "lycoris.kohya"}, "network_module", "plain LoRA"),
        ({"network_module": "networks.lora", "network_dim": 4096}, "network_dim", "the most is"),
        ({"learning_rate": 1e-5, "resolution": "512,768"}, "resolution", "squares"),
        ({"learning_rate": 1e-5, "lr_scheduler": "adafactor:1e-4"}, "lr_scheduler", "choose one of"),
        ({"learning_rate": 1e-5, "optimizer_type": "Lion"}, "optimizer_type", "no Lion"),
        ({"learning_rate": 1e-5, "noise_offset": 0.1, "noise_offset_type": "Multires"}, "noise_offset", "another type"),
        ({"learning_rate": 1e-5, "something_new": 3}, "something_new", "no such setting"),
    ],
)
def test_what_the_studio_lacks_is_said(keys: dict[str, Any], key: str, why: str) -> None:
    found = read_kohya(json.dumps(keys))
    assert why in found.left[key] and key not in found.taken
    from_json(TrainConfig, found.settings)


def test_datasets_that_disagree_are_said() -> None:
    text = "learning_rate = 1e-5\n" + "".join(
        f"[[datasets]]\n[[datasets.subsets]]\nnum_repeats = {number}\nkeep_tokens = 2\n" for number in (1, 5)
    )
    found = read_kohya(text)
    assert found.left == {"num_repeats": "its datasets do not agree on it"}
    assert found.settings["loop"]["keep_tags"] == 2


@pytest.mark.parametrize("text", ["", "[1, 2]", "{broken", "name = 'something else'", '"text"', "\x00\x01"])
def test_what_is_no_config_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match="config"):
        read_kohya(text)


def test_every_setting_that_a_key_stands_for_is_there() -> None:
    """So that a setting that is given another name is not lost in silence."""
    methods = registry.load("sdstudio.methods")
    there = {path for method in methods for path in variable_fields(method)} | {"name"}
    assert set(SIMPLE.values()) | set(DEFAULTS) <= there
    for path, value in DEFAULTS.items():
        from_json(TrainConfig, nest({path: value}))
    choices = next(field.choices for field in describe(LoopConfig) if field.name == "optimizer")
    assert set(OPTIMIZERS.values()) <= set(choices)

"""Training configs of kohya's sd-scripts (TOML) and of its GUI (JSON), read as settings of the studio.

Every key lands in one of three places: what was taken, what changes nothing here, and what could not be honoured with
the reason. Keys that a config leaves out have kohya's own defaults, which are not the studio's.
Source of keys and defaults: sd-scripts' `train_network.py`, `library/train_util.py`, `library/config_util.py`.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sdstudio import registry
from sdstudio.options import merge, nest
from sdstudio.schema import LoopConfig, TrainConfig, UserError, from_json
from sdstudio.training.kohya_keys import DEFAULTS, GUI_NAMES, KNOWN, NEUTRAL, OPTIMIZERS, OWN_AFFAIR, SIMPLE, WHY_NOT
from sdstudio.training.sweeps import variable_fields

OFF: tuple[Any, ...] = ("", None, False, 0, "0", "None", "none", [], {})


@dataclass
class Imported:
    """What a config became. `settings` are those of a TrainConfig as JSON, without a dataset.

    `taken` says for each key which setting it became, `left` for each key that could not be honoured why not.
    """

    settings: dict[str, Any]
    taken: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def take(self, key: str, path: str, value: Any) -> None:
        """Set `path`, unless the studio refuses the value there or the method has no such setting."""
        problem = _refusal(self.settings["method"], path, value)
        if problem:
            self.left[key] = problem
        else:
            self.settings = merge(self.settings, nest({path: value}))
            self.taken[key] = f"{path} = {value}"


def read_kohya(text: str) -> Imported:
    """The settings in the text of a TOML or JSON config; a UserError when it is neither or no training config."""
    keys = _flat(_parse(text))
    keys = {GUI_NAMES.get(key, key): value for key, value in keys.items()}
    if not keys.keys() & KNOWN:
        raise UserError("This is no training config of kohya's: none of its keys is one of sd-scripts'.")
    found = Imported({"method": _method(keys), **nest(DEFAULTS)})
    _take_simple(keys, found)
    _take_length(keys, found)
    _take_intervals(keys, found)
    _take_optimizer(keys, found)
    if found.settings["method"] in ("lora", "dreambooth_lora"):
        _take_network(keys, found)
    else:
        _take_whole_model(keys, found)
    _take_sample_prompts(keys, found)
    for key, value in keys.items():
        if key not in found.taken and key not in found.left and not _changes_nothing(key, value):
            found.left[key] = WHY_NOT.get(key, "the studio has no such setting")
    return found


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"The config is neither JSON nor TOML ({error}).") from error


def _flat(config: Any) -> dict[str, Any]:
    """Sections taken apart, as sd-scripts does; of `[[datasets]]` and their subsets what all of them share."""
    if not isinstance(config, dict):
        raise UserError("The config is not a table of settings.")
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value)
        elif key in ("datasets", "subsets") and isinstance(value, list):
            parts = [_flat(part) for part in value]
            for name in dict.fromkeys(name for part in parts for name in part):
                values = [part.get(name) for part in parts]
                flat[name] = values[0] if values.count(values[0]) == len(values) else _Differs(values)
        else:
            flat[key] = value
    return flat


class _Differs(list[Any]):
    """Values of a key that the datasets of a config do not agree on."""


def _method(keys: Mapping[str, Any]) -> str:
    if _on(keys, "token_string"):
        return "textual_inversion"
    prior = _on(keys, "reg_data_dir") or _on(keys, "is_reg")
    if _on(keys, "network_module") or _on(keys, "LoRA_type"):
        return "dreambooth_lora" if prior else "lora"
    return "dreambooth" if prior else "full"


def _on(keys: Mapping[str, Any], key: str) -> bool:
    return keys.get(key) not in OFF


def _number(value: Any) -> Any:
    """kohya's GUI writes numbers as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _whole(value: Any) -> Any:
    number = _number(value)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _refusal(method: str, path: str, value: Any) -> str:
    if isinstance(value, _Differs):
        return "its datasets do not agree on it"
    room, _, name = path.rpartition(".")
    if room == "method_options":
        if path not in variable_fields(method):
            return f"the studio's {method} has no such setting"
        kind = registry.load("sdstudio.methods")[method].Options
    else:
        kind = LoopConfig if room == "loop" else TrainConfig
    try:
        from_json(kind, {name: value})
    except UserError as error:
        return str(error).rstrip(".")
    return ""


def _changes_nothing(key: str, value: Any) -> bool:
    return key in OWN_AFFAIR or value in OFF or str(value) in NEUTRAL.get(key, ())


# ---------------------------------------------------------------- groups of keys


def _take_simple(keys: Mapping[str, Any], found: Imported) -> None:
    for key, path in SIMPLE.items():
        if key in keys and keys[key] not in ("", None):
            found.take(key, path, _whole(keys[key]))
    if _on(keys, "resolution"):
        sides = {int(side) for side in _sides(keys["resolution"])}
        if len(sides) == 1:
            found.take("resolution", "loop.resolution", sides.pop())
        else:
            found.left["resolution"] = "the studio trains on squares, or on buckets of a square's area"
    found.take("enable_bucket", "loop.fit", "none" if _on(keys, "enable_bucket") else "centre")
    if _on(keys, "prior_loss_weight") and found.settings["method"].startswith("dreambooth"):
        found.take("prior_loss_weight", "method_options.prior_weight", _number(keys["prior_loss_weight"]))
    if _on(keys, "noise_offset") and str(keys.get("noise_offset_type", "Original")) == "Original":
        found.take("noise_offset", "loop.noise_offset", _number(keys["noise_offset"]))


def _sides(resolution: Any) -> list[Any]:
    """'512,768', 512 or [512, 768] as a list."""
    if isinstance(resolution, str):
        return resolution.split(",")
    return resolution if isinstance(resolution, list) else [resolution]


def _take_length(keys: Mapping[str, Any], found: Imported) -> None:
    """`max_train_epochs` wins over `max_train_steps`, and the GUI's `epoch` counts where neither is given."""
    names = {"max_train_epochs": "loop.epochs", "max_train_steps": "loop.steps", "epoch": "loop.epochs"}
    given = [key for key in names if _on(keys, key)]
    for key in given[:1]:
        found.take(key, names[key], _whole(keys[key]))
    for key in given[1:]:
        found.left[key] = f"{given[0]} decides"
    steps = 0 if "epochs" in found.settings["loop"] else found.settings["loop"]["steps"]
    for key, share in (("lr_warmup_steps", 1.0), ("lr_warmup", 0.01)):  # the GUI's is a percentage
        if _on(keys, key):
            warmup = float(_number(keys[key])) * share
            if key == "lr_warmup_steps" and warmup >= 1:
                found.take(key, "loop.warmup_steps", int(warmup))
            elif steps:
                found.take(key, "loop.warmup_steps", round(warmup * steps))
            else:
                found.left[key] = "it is a share of the steps, which epochs leave open: set the warmup steps"


def _take_intervals(keys: Mapping[str, Any], found: Imported) -> None:
    """Checkpoints and samples count in one unit here: that of the checkpoints."""
    in_epochs = _on(keys, "save_every_n_epochs") or (
        _on(keys, "sample_every_n_epochs") and not _on(keys, "save_every_n_steps")
    )
    unit, other = ("epochs", "steps") if in_epochs else ("steps", "epochs")
    found.settings = merge(found.settings, {"loop": {"interval_unit": unit}})
    for what, path in (("save", "loop.checkpoint_every"), ("sample", "loop.sample_every")):
        if _on(keys, f"{what}_every_n_{unit}"):
            found.take(f"{what}_every_n_{unit}", path, _whole(keys[f"{what}_every_n_{unit}"]))
        if _on(keys, f"{what}_every_n_{other}"):
            found.left[f"{what}_every_n_{other}"] = f"checkpoints and samples both count in {unit} here"
    last, every = keys.get(f"save_last_n_{unit}"), keys.get(f"save_every_n_{unit}")
    if last not in OFF and every not in OFF:
        found.take(f"save_last_n_{unit}", "loop.keep_last", max(1, int(_number(last)) // int(_number(every))))


def _take_optimizer(keys: Mapping[str, Any], found: Imported) -> None:
    name = str(keys.get("optimizer_type") or "AdamW")
    if name.lower() in OPTIMIZERS:
        found.take("optimizer_type", "loop.optimizer", OPTIMIZERS[name.lower()])
    else:
        found.left["optimizer_type"] = f"the studio has no {name}: AdamW is taken"
    arguments = keys.get("optimizer_args") or []
    for argument in arguments.split() if isinstance(arguments, str) else arguments:
        key, _, value = str(argument).partition("=")
        if key == "weight_decay":
            found.take("optimizer_args weight_decay", "loop.weight_decay", _number(value))
        else:
            found.left[f"optimizer_args {key}"] = "the studio has no such setting"
    if arguments:
        found.taken.setdefault("optimizer_args", "each by itself")


def _take_network(keys: Mapping[str, Any], found: Imported) -> None:
    """LoRA: kohya's alpha is 1 and both text encoder and U-Net learn, unless the config says otherwise."""
    module, kind = str(keys.get("network_module", "networks.lora")), str(keys.get("LoRA_type", "Standard"))
    if module != "networks.lora" or kind not in ("Standard", "Kohya LoCon"):
        found.left["network_module" if "network_module" in keys else "LoRA_type"] = "plain LoRA is taken in its place"
    else:
        found.taken["network_module" if "network_module" in keys else "LoRA_type"] = "method = lora"
    arguments = dict(str(item).partition("=")[::2] for item in keys.get("network_args") or [])
    convolution = arguments.pop("conv_dim", keys.get("conv_dim") if kind == "Kohya LoCon" else None)
    targets = "attention and feed-forward"
    if convolution not in OFF:
        targets = "attention, feed-forward and convolution"
        if _whole(convolution) != _whole(keys.get("network_dim", 4)):
            found.left["conv_dim"] = "convolutions have the rank of the other layers here"
    found.take("network_dim", "method_options.rank", _whole(keys.get("network_dim") or 4))
    found.take("network_alpha", "method_options.alpha", float(_number(keys.get("network_alpha") or 1)))
    found.settings = merge(found.settings, nest({"method_options.targets": targets}))
    if _on(keys, "network_dropout"):
        found.take("network_dropout", "method_options.dropout", _number(keys["network_dropout"]))
    for argument in arguments:
        found.left[f"network_args {argument}"] = "the studio has no such setting"
    if keys.get("network_args"):
        found.taken.setdefault("network_args", "each by itself")
    common = keys.get("learning_rate") or 2e-6
    found.taken["learning_rate"] = "where no own rate is given"
    key = "unet_lr" if _on(keys, "unet_lr") else "learning_rate"
    found.take(key, "method_options.learning_rate", _number(keys.get("unet_lr") or common))
    rates = keys.get("text_encoder_lr")
    rate = rates[0] if isinstance(rates, list) and len({*rates}) == 1 else rates
    text = not _on(keys, "network_train_unet_only") and rate != 0
    found.take("network_train_unet_only", "method_options.text_encoder", text)
    if text:
        key = "text_encoder_lr" if _on(keys, "text_encoder_lr") else "learning_rate"
        found.take(key, "method_options.text_encoder_learning_rate", _number(rate or common))
    elif rate == 0:
        found.taken["text_encoder_lr"] = "method_options.text_encoder = False"


def _take_whole_model(keys: Mapping[str, Any], found: Imported) -> None:
    """DreamBooth trains the text encoder unless told otherwise, fine-tuning only when told to."""
    found.take("learning_rate", "method_options.learning_rate", _number(keys.get("learning_rate") or 2e-6))
    if found.settings["method"] == "full":
        found.take("train_text_encoder", "method_options.text_encoder", _on(keys, "train_text_encoder"))
    elif found.settings["method"] == "dreambooth":
        never = _whole(keys.get("stop_text_encoder_training")) == -1
        found.take("stop_text_encoder_training", "method_options.text_encoder", not never)


def _take_sample_prompts(keys: Mapping[str, Any], found: Imported) -> None:
    prompts = keys.get("sample_prompts")
    if not isinstance(prompts, str) or not prompts.strip():
        return
    if prompts.strip().lower().endswith((".txt", ".toml", ".json")):
        found.left["sample_prompts"] = "it names a file: copy its prompts into the sample prompts"
        return
    lines = [line.partition(" --")[0].strip() for line in prompts.splitlines() if not line.startswith("#")]
    found.take("sample_prompts", "loop.sample_prompts", [line for line in lines if line])

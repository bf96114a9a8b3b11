"""What a picture says of how it was made: A1111's `parameters` text and our own JSON, written and read back."""

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdstudio.schema import GeneratedImage, SampleSettings, UserError, from_json, to_json
from sdstudio.schema.samplers import SAMPLERS, sampler_label

_MOST_CHARACTERS = 100_000
_EXIF, _USER_COMMENT = 0x8769, 0x9286
_PAIR = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_LORA = re.compile(r"<(?:lora|lyco|hypernet):([^:<>]{1,200})[^<>]{0,200}>")
_NEGATIVE = "Negative prompt:"
_KNOWN_BY_OTHERS = ("Model", "Model hash", "Version", "RNG", "Schedule type", "Lora hashes", "Hashes", "Guidance")


@dataclass(frozen=True, kw_only=True)
class PictureText:
    """What was read from a picture.

    `settings` are those fields of SampleSettings that it names, the seed being this very picture's; `image` is the
    whole record where the studio made it. `notes` say, a sentence each, what could not be taken over.
    """

    prompt: str
    settings: Mapping[str, Any]
    model: str = ""
    model_hash: str = ""
    program: str = ""
    image: GeneratedImage | None = None
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- write


def write(image: GeneratedImage, sampler_class: str, base_hash: str, label: str) -> PngInfo:
    """Text chunks `parameters` (what A1111 and its kin read) and `sdstudio` (a GeneratedImage and versions as JSON)."""
    info = PngInfo()
    info.add_itxt("parameters", parameters_text(image, sampler_class, base_hash, label))
    ours = {**to_json(image), "base_hash": base_hash, "versions": _versions()}
    info.add_itxt("sdstudio", json.dumps(ours, ensure_ascii=False))
    return info


def parameters_text(image: GeneratedImage, sampler_class: str, base_hash: str, label: str) -> str:
    """Prompt, `Negative prompt: …` (unless empty), one line of settings; values with , : or newline are JSON-quoted."""
    values = {
        "Steps": image.settings.steps,
        "Sampler": sampler_label(image.settings.scheduler, sampler_class),
        "CFG scale": f"{image.settings.guidance_scale:g}",
        "Seed": image.seed,
        "Size": f"{image.width}x{image.height}",
        "Model hash": base_hash[:10],
        "Model": label,
        **({"Denoising strength": f"{image.start.strength:g}"} if image.start else {}),
        **({"Clip skip": image.settings.clip_skip + 1} if image.settings.clip_skip else {}),
        **({"Guidance": image.settings.guidance} if image.settings.guidance != "plain" else {}),
        "RNG": "CPU",
        "Version": f"sdstudio {version('sdstudio')}",
    }
    lines = [image.prompt]
    if image.negative_prompt:
        lines.append(f"{_NEGATIVE} {image.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quote(value)}" for key, value in values.items()))
    return "\n".join(lines)


def _quote(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ",:\n") else text


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("sdstudio", "diffusers", "torch")}


# ---------------------------------------------------------------- read


def read(source: Path | IO[bytes]) -> PictureText:
    """The settings that a PNG carries in its text, a JPEG or WebP in its EXIF comment; no pixel is decoded.

    Raises UserError for what is no such picture, and for one that says nothing of how it was made.
    """
    ours, parameters = _texts(source)
    if ours:
        try:
            return _read_ours(ours)
        except UserError:
            if not parameters:
                raise
    if not parameters.strip():
        raise UserError("This picture carries no settings: it was not generated, or they were taken out of it.")
    if len(parameters) > _MOST_CHARACTERS:
        raise UserError(f"The settings in this picture are over {_MOST_CHARACTERS:,} letters long and are not read.")
    found = read_parameters(parameters)
    return replace(found, notes=("Its JSON cannot be read; its text is.", *found.notes)) if ours else found


def _texts(source: Path | IO[bytes]) -> tuple[str, str]:
    """Our JSON and A1111's text, each empty where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # no pixel is decoded
            with Image.open(source, formats=("PNG", "JPEG", "WEBP")) as picture:
                ours, parameters = (picture.info.get(key) for key in ("sdstudio", "parameters"))
                comment = parameters or picture.getexif().get_ifd(_EXIF).get(_USER_COMMENT, b"")
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise UserError("This is not a PNG, JPEG or WebP picture that can be read: choose another file.") from error
    text = comment if isinstance(comment, str) else _comment(comment)
    return (ours if isinstance(ours, str) else ""), text.replace("\x00", "")


def _comment(comment: Any) -> str:
    """An EXIF UserComment: eight bytes that name the encoding, then the text. 'UNICODE' is UTF-16 of either order."""
    if not isinstance(comment, bytes):
        return ""
    encoding, text = comment[:8], comment[8:]
    if not encoding.startswith(b"UNICODE"):
        return text.decode("utf-8", "replace")
    return text.decode("utf-16-be" if text[:1] == b"\x00" else "utf-16-le", "replace")


def _read_ours(text: str) -> PictureText:
    try:
        values = json.loads(text)
        values.pop("versions", None)
        base_hash = str(values.pop("base_hash", ""))
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError("The settings in this picture are damaged: use one that was not edited.") from error
    image = from_json(GeneratedImage, values)
    return PictureText(
        prompt=image.prompt,
        settings=to_json(image.settings),
        model=image.model.label,
        model_hash=base_hash,
        program="sdstudio",
        image=image,
    )


def read_parameters(text: str) -> PictureText:
    """A1111's text: the prompt, `Negative prompt: …`, and a last line of settings, of which three make one."""
    *lines, last = text.strip().replace("\r\n", "\n").split("\n")
    pairs = _PAIR.findall(last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], []
    begins = next((place for place, line in enumerate(lines) if line.strip().startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[begins:]).strip().removeprefix(_NEGATIVE).strip()
    prompt, notes = _without_loras("\n".join(lines[:begins]).strip())
    values = {key.strip(): _unquote(value) for key, value in pairs}
    settings, odd = _settings(values)
    return PictureText(
        prompt=prompt,
        settings={**settings, "negative_prompt": negative},
        model=values.get("Model", ""),
        model_hash=values.get("Model hash", ""),
        program=values.get("Version", ""),
        notes=notes + odd,
    )


def _without_loras(prompt: str) -> tuple[str, tuple[str, ...]]:
    names = [match.group(1) for match in _LORA.finditer(prompt)]
    if not names:
        return prompt, ()
    note = f"The prompt calls {', '.join(names)} by file name: choose it as a model where you have it."
    return re.sub(r"  +", " ", _LORA.sub("", prompt)).strip(" ,"), (note,)


def _unquote(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value


def _settings(values: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of SampleSettings, each held against its own bounds, and a note for what was not taken."""
    settings: dict[str, Any] = {}
    notes: list[str] = []
    for key, parse in _READERS.items():
        if key not in values:
            continue
        try:
            found = parse(values)
            from_json(SampleSettings, found)
        except (ValueError, UserError):
            notes.append(f"{key} {values[key][:60]!r} is none that the studio takes; its own stays.")
        else:
            settings |= found
    others = [key for key in values if key not in _READERS and key not in _KNOWN_BY_OTHERS]
    if others:
        notes.append(f"Not taken over: {', '.join(others[:12])}{' and more' if others[12:] else ''}.")
    return settings, tuple(notes)


def _size(values: Mapping[str, str]) -> dict[str, Any]:
    width, height = (int(side) for side in values["Size"].lower().split("x"))
    if width % 8 or height % 8:
        raise ValueError("Not a multiple of 8.")
    return {"width": width, "height": height}


def _sampler(values: Mapping[str, str]) -> dict[str, Any]:
    """The studio's name of a sampler; A1111 says Karras in the sampler's name or, since 1.9, in 'Schedule type'."""
    ours = {_plain(name): name for name in SAMPLERS}
    schedule = values.get("Schedule type", "Automatic")
    name = _plain(values["Sampler"] + ("" if schedule == "Automatic" else schedule))
    if name not in ours:
        raise ValueError("No such sampler.")
    return {"scheduler": ours[name]}


def _plain(name: str) -> str:
    return re.sub(r"[\s_]", "", name).lower()


_READERS: dict[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    "Steps": lambda values: {"steps": int(values["Steps"])},
    "Sampler": _sampler,
    "CFG scale": lambda values: {"guidance_scale": float(values["CFG scale"])},
    "Seed": lambda values: {"seed": int(values["Seed"])},
    "Size": _size,
    "Clip skip": lambda values: {"clip_skip": int(values["Clip skip"]) - 1},
}

"""Features on disk, found again by content, so that no picture is encoded twice."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sdstudio.features.encoding import BATCH, Array, Encoder, ImageFeatures, TextEncoder
from sdstudio.features.memory import room
from sdstudio.models import sha256_file
from sdstudio.workspace import atomic_write


class CachedEncoder:
    """An encoder that looks into `folder` first.

    The key is sha256(sha256 of the file's bytes or of the text + the encoder's fingerprint + its preprocessing). Every
    entry is written whole or not at all, so any number of processes may share the folder; one that cannot be read is
    made again.
    """

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self.encoder, self.folder = encoder, folder

    def images(self, paths: Sequence[Path]) -> ImageFeatures:
        """Features of picture files (at least one), in their order; beyond a gigabyte they lie in a file."""
        features: dict[str, Array] = {}
        for start in range(0, len(paths), BATCH):
            batch = self._batch(paths[start : start + BATCH])
            features = features or {name: room((len(paths), len(batch[0][name]))) for name in ("pooled", "embedding")}
            for name, values in features.items():
                values[start : start + len(batch)] = [entry[name] for entry in batch]
        return ImageFeatures(**features)

    def _batch(self, paths: Sequence[Path]) -> list[dict[str, Array]]:
        files = [self._file(sha256_file(path)) for path in paths]
        found = {file: entry for file in files if (entry := _read(file))}
        missing = {file: path for file, path in zip(files, paths, strict=True) if file not in found}
        if missing:
            fresh = self.encoder.images(list(missing.values()))
            for file, one, other in zip(missing, fresh.pooled, fresh.embedding, strict=True):
                found[file] = {"pooled": one, "embedding": other}
                atomic_write(file, save(found[file]))
        return [found[file] for file in files]

    def texts(self, texts: Sequence[str]) -> Array:
        """Unit embeddings (N, P) of `texts` (at least one), in their order; P is 0 for an encoder that reads none."""
        if not isinstance(self.encoder, TextEncoder):
            return np.zeros((len(texts), 0), np.float32)
        files = [self._file("text " + hashlib.sha256(text.encode()).hexdigest()) for text in texts]
        found = {file: entry["embedding"] for file in files if (entry := _read(file))}
        missing = {file: text for file, text in zip(files, texts, strict=True) if file not in found}
        if missing:
            for file, embedding in zip(missing, self.encoder.texts(list(missing.values())), strict=True):
                found[file] = embedding
                atomic_write(file, save({"embedding": embedding}))
        return np.stack([found[file] for file in files])

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that the encoder cuts."""
        return self.encoder.truncated(texts) if isinstance(self.encoder, TextEncoder) else []

    def _file(self, content: str) -> Path:
        parts = f"{content} {self.encoder.fingerprint} {self.encoder.preprocessing}"
        key = hashlib.sha256(parts.encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"


def _read(file: Path) -> dict[str, Array] | None:
    try:
        return load(file.read_bytes())
    except (FileNotFoundError, SafetensorError):
        return None

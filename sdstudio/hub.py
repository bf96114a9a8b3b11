"""The Hugging Face Hub: whether it is in reach, where a model's files are, and what its errors mean in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdstudio.schema import UserError

REACH_SECONDS = 5.0
MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_id(name: str) -> bool:
    """Whether `name` can be a repository of the Hub, such as 'owner/name'."""
    return bool(_ID.fullmatch(name)) and len(name) <= 96 and ".." not in name and "--" not in name


def check_reachable() -> None:
    """One request, no second try; a UserError within seconds when the Hub is not there.

    The Hub's own client tries for 23 seconds before it says so.
    """
    from huggingface_hub import constants, get_session

    with plainly("the Hub"):
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)


@contextmanager
def plainly(what: str) -> Iterator[None]:
    """Turn what the Hub's client raises about `what` ('the dataset ann/cats') into a UserError of one sentence."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise UserError("The Hub is switched off (HF_HUB_OFFLINE is set); unset it and try again.") from error
    except GatedRepoError as error:
        raise UserError(
            f"Whoever owns {what} asks for consent first: agree on its page on the Hub, then give a token."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(f"The Hub does not show {what}: check the name, and give a token if it is private.") from error
    except HfHubHTTPError as error:
        raise UserError(_by_status(error.response.status_code, what)) from error
    except (httpx2.HTTPError, ConnectionError, LocalEntryNotFoundError) as error:
        raise UserError(f"The Hub ({constants.ENDPOINT}) is not in reach; check the network and try again.") from error


def _by_status(status: int, what: str) -> str:
    if status == 401:
        return "The Hub does not accept the token; make a new one at huggingface.co/settings/tokens and give that."
    if status == 403:
        return f"The token may not change {what}; give one with write access, or choose a name that is yours."
    if status == 404:
        return f"The Hub does not show {what}: check the name."
    if status == 429:
        return "The Hub asks to slow down; wait some minutes and start again."
    if status >= 500:
        return f"The Hub itself has trouble (error {status}); wait some minutes and start again."
    return f"The Hub refused what was asked about {what} (error {status})."


def model_folder(model: str) -> Path:
    """The folder with the files of `model`: a folder, or a Hub id, from the cache or else downloaded.

    Only safetensors weights and text files are taken. A UserError when there is no such model in reach.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if not is_id(model):
        raise UserError(f"There is no model folder {model!r}; give a folder, or a Hub id such as 'owner/name'.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(model, local_files_only=True))
        if (cached / "config.json").is_file() and any(cached.glob("*.safetensors")):
            return cached
    except LocalEntryNotFoundError:
        pass
    check_reachable()
    with plainly(f"the model {model}"):
        return Path(snapshot_download(model, allow_patterns=MODEL_FILES, ignore_patterns=["*/*"]))

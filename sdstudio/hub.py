"""The Hugging Face Hub: whether it is in reach, where a model's files are, and what its errors mean in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdstudio.schema import UserError
from sdstudio.workspace import refuse_pickle, typed_path

TOKEN_VAR = "HF_TOKEN"
REACH_SECONDS = 5.0
MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3}) ")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/\w(?:[\w.-]*\w)?", re.ASCII)


def is_id(name: str) -> bool:
    """Whether `name` can be a repository of the Hub, such as 'owner/name'."""
    return bool(_ID.fullmatch(name)) and len(name) <= 96 and not re.search(r"\.\.|--|\.git$", name)


def check_reachable() -> None:
    """One request, no second try; a UserError within seconds when the Hub is not there.

    The Hub's own client tries for 23 seconds before it says so.
    """
    from huggingface_hub import constants, get_session

    with plainly("the Hub"):
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)


def with_owner(api: Any, repository: str) -> str:
    """`owner/name`, the owner that of the token where none is named; a UserError without a token that may write."""
    import huggingface_hub

    if huggingface_hub.get_token() is None:
        raise UserError("There is no token for the Hub: give one, set HF_TOKEN, or log in with `hf auth login`.")
    check_reachable()
    with plainly("the Hub"):
        user = api.whoami()
    if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise UserError("The token may only read; make one with write access at huggingface.co/settings/tokens.")
    return repository if "/" in repository else f"{user['name']}/{repository}"


@contextmanager
def plainly(what: str) -> Iterator[None]:
    """Turn what the Hub's client raises about `what` ('the dataset ann/cats') into a UserError of one sentence."""
    try:
        yield
    except Exception as error:
        said = next(filter(None, (_explain(cause, what) for cause in _causes(error))), "")
        if isinstance(error, UserError) or not said:
            raise
        raise UserError(said) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those it was raised from: an upload thread wraps what went wrong in a RuntimeError."""
    while error is not None:
        yield error
        error = error.__cause__


def _explain(error: BaseException, what: str) -> str:
    import httpx2
    from huggingface_hub import constants, errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "The Hub is switched off (HF_HUB_OFFLINE is set); unset it and try again."
    if isinstance(error, errors.GatedRepoError):
        return f"Whoever owns {what} asks for consent first: agree on its page on the Hub, then give a token."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"The Hub does not show {what}: check the name, and give a token if it is private."
    if isinstance(error, errors.HfHubHTTPError):
        return _by_status(error.response.status_code, what)
    xet = _XET_STATUS.search(str(error)) if isinstance(error, ConnectionError) else None
    if xet:
        return _by_status(int(xet[1]), what)
    if isinstance(error, (httpx2.HTTPError, ConnectionError, errors.LocalEntryNotFoundError)):
        return f"The Hub ({constants.ENDPOINT}) is not in reach; check the network and try again."
    return ""


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
    folder = typed_path(model)
    if folder.is_dir():
        return folder
    refuse_pickle(folder)
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

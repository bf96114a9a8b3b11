"""The only door through which the browser gets pictures: thumbnails, dataset pictures and PNGs that jobs made.

A picture is named by dataset and sha256, or by job and file; no path from the browser is used before `safe_join`.
Beside them, exports of what a run learned, and the count of a caption's tokens while it is written.
"""

import io
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from streamlit import config
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from sdstudio.datasets import fit, open_dataset
from sdstudio.pictures.start_pictures import FOLDER as STARTS
from sdstudio.ratings.deck import dealt
from sdstudio.schema import UserError
from sdstudio.sharing.exporting import exported_file
from sdstudio.workspace import Workspace, current_workspace, safe_join

PREFIX = "/files"
PREVIEW_SIDE = 320
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_LONGEST_CAPTION = 100_000
_FOREVER = "private, max-age=31536000, immutable"


def thumb_url(dataset: str, image_id: str) -> str:
    """Address of a dataset picture's thumbnail."""
    return _url("thumbs", dataset, image_id)


def picture_url(dataset: str, image_id: str) -> str:
    """Address of a dataset picture as it is stored."""
    return _url("pictures", dataset, image_id)


def fit_url(dataset: str, image_id: str, choice: str) -> str:
    """Address of a preview: what `choice` of `datasets.fit` makes of a dataset picture."""
    return _url("fits", dataset, choice, image_id)


def tokens_url(dataset: str) -> str:
    """Address that answers a caption's text with its `TokenCount`."""
    return _url("tokens", dataset)


def job_png_url(workspace: Workspace, file: Path) -> str:
    """Address of a PNG inside the folder of a run, a batch of pictures or an evaluation."""
    area, job, *rest = file.resolve().relative_to(workspace.root.resolve()).parts
    return _url(area, job, *rest)


def rated_url(evaluation: str, session: str) -> str:
    """Address before task and side of the pictures that a rating session shows; none of it tells the model."""
    return _url("rated", evaluation, session)


def small_png_url(workspace: Workspace, file: Path, size: tuple[int, int]) -> str:
    """Address of the same PNG made small for a list of many; where its `size` is small already, of itself."""
    address = job_png_url(workspace, file)
    return address if max(size) <= PREVIEW_SIDE else address.replace(f"{PREFIX}/", f"{PREFIX}/small/", 1)


def start_url(name: str) -> str:
    """Address of a picture that drawing begins from, or of its mask, by the name that a StartPicture has for it."""
    return _url(*name.split("/"))


def export_url(job_id: str) -> str:
    """Address of the file that an export's job made, however large: it is sent piece by piece."""
    return _url("exports", job_id)


def routes() -> list[Route]:
    """Starlette routes for `st.App`."""
    return [
        Route(f"{PREFIX}/thumbs/{{dataset}}/{{image_id}}", _guarded(_thumb)),
        Route(f"{PREFIX}/pictures/{{dataset}}/{{image_id}}", _guarded(_picture)),
        Route(f"{PREFIX}/rated/{{evaluation}}/{{session}}/{{task}}/{{side:int}}", _guarded(_rated)),
        Route(f"{PREFIX}/fits/{{dataset}}/{{choice}}/{{image_id}}", _fit_preview),
        Route(f"{PREFIX}/tokens/{{dataset}}", _count_tokens, methods=["POST"]),
        Route(f"{PREFIX}/exports/{{job}}", _export),
        Route(f"{PREFIX}/{STARTS}/{{name}}", _guarded(_start)),
        Route(f"{PREFIX}/small/{{area}}/{{job}}/{{file:path}}", _small_png),
        Route(f"{PREFIX}/{{area}}/{{job}}/{{file:path}}", _guarded(_job_png)),
    ]


def _url(*parts: str) -> str:
    base = config.get_option("server.baseUrlPath").strip("/")
    return "/".join(["", *([base] if base else []), PREFIX.strip("/"), *(quote(part, safe="") for part in parts)])


def _guarded(find: Callable[[Workspace, dict[str, Any]], Path]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        if not is_host_allowed(request.headers.get("host")):
            return PlainTextResponse("This host name is not served.", status_code=403)
        try:
            path = find(current_workspace(), request.path_params)
        except UserError:
            return PlainTextResponse("There is no such picture.", status_code=404)
        media_type = _MEDIA_TYPES.get(path.suffix.lower())
        if media_type is None or not path.is_file():
            return PlainTextResponse("There is no such picture.", status_code=404)
        headers = {"Cache-Control": _FOREVER, "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type=media_type, headers=headers)

    return endpoint


def _fit_preview(request: Request) -> Response:
    choice = request.path_params["choice"]
    return _webp(request, _picture, lambda picture: fit.preview(picture, choice, PREVIEW_SIDE))


def _small_png(request: Request) -> Response:
    def shrunk(picture: Image.Image) -> Image.Image:
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), reducing_gap=2.0)
        return picture

    return _webp(request, _job_png, shrunk)


def _webp(
    request: Request,
    find: Callable[[Workspace, dict[str, str]], Path],
    make: Callable[[Image.Image], Image.Image],
) -> Response:
    """What `make` gives of the picture that the request names, as a WebP that the browser keeps."""
    if not is_host_allowed(request.headers.get("host")):
        return PlainTextResponse("This host name is not served.", status_code=403)
    memory = io.BytesIO()
    try:
        with Image.open(find(current_workspace(), request.path_params)) as picture:
            make(picture).save(memory, "WEBP", quality=85)
    except (UserError, OSError):
        return PlainTextResponse("There is no such picture.", status_code=404)
    return Response(memory.getvalue(), media_type="image/webp", headers={"Cache-Control": _FOREVER})


def _export(request: Request) -> Response:
    if not is_host_allowed(request.headers.get("host")):
        return PlainTextResponse("This host name is not served.", status_code=403)
    try:
        file = exported_file(safe_join(current_workspace().tasks, request.path_params["job"]))
    except UserError:
        file = None
    if file is None:
        return PlainTextResponse("There is no such export.", status_code=404)
    return FileResponse(file, filename=file.name, headers={"Cache-Control": "no-store"})


async def _count_tokens(request: Request) -> Response:
    if not is_host_allowed(request.headers.get("host")):
        return PlainTextResponse("This host name is not served.", status_code=403)
    if int(request.headers.get("content-length") or _LONGEST_CAPTION + 1) > _LONGEST_CAPTION:
        return PlainTextResponse("This is no caption.", status_code=413)
    caption = (await request.body()).decode("utf-8", "replace")

    def measure() -> dict[str, object]:
        return asdict(open_dataset(current_workspace(), request.path_params["dataset"]).tokenizer().measure(caption))

    try:
        return JSONResponse(await run_in_threadpool(measure))
    except UserError as error:
        return PlainTextResponse(str(error), status_code=404)


def _thumb(workspace: Workspace, names: dict[str, str]) -> Path:
    return open_dataset(workspace, names["dataset"]).thumb_path(_sha256(names["image_id"]))


def _picture(workspace: Workspace, names: dict[str, str]) -> Path:
    return open_dataset(workspace, names["dataset"]).image_path(_sha256(names["image_id"]))


def _rated(workspace: Workspace, names: dict[str, Any]) -> Path:
    folder = safe_join(workspace.evaluations, names["evaluation"])
    tasks = {task.id: task for task in dealt(folder, names["session"])}
    pictures = tasks[names["task"]].pictures if names["task"] in tasks else ()
    if not 0 <= names["side"] < len(pictures):
        raise UserError("This session does not show such a picture.")
    return safe_join(folder, pictures[names["side"]])


def _start(workspace: Workspace, names: dict[str, str]) -> Path:
    return safe_join(workspace.root / STARTS, f"{_sha256(Path(names['name']).stem)}{Path(names['name']).suffix}")


def _job_png(workspace: Workspace, names: dict[str, str]) -> Path:
    areas = {folder.name: folder for folder in (workspace.runs, workspace.images, workspace.evaluations)}
    if names["area"] not in areas or not names["file"].lower().endswith(".png"):
        raise UserError("Only pictures of runs, batches and evaluations are served.")
    return safe_join(areas[names["area"]], names["job"], names["file"])


def _sha256(image_id: str) -> str:
    if not _SHA256.fullmatch(image_id):
        raise UserError("A picture is named by its sha256.")
    return image_id

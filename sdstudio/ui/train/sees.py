"""What the model will see: the first pictures of a run as they enter training, made by a process of its own."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from sdstudio.datasets import open_dataset
from sdstudio.schema import TrainConfig, UserError, to_json
from sdstudio.training.readiness import last_change
from sdstudio.ui.session import told
from sdstudio.ui.text import count
from sdstudio.workspace import ENV_VAR, Workspace, read_json, write_json

SEEN_FILE = "seen.json"
PATIENCE = 600
"""Seconds after which the process is ended: a large base model takes minutes to load."""

STYLE = """
<style>
.seen { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
.seen figure { display: flex; gap: 0.8rem; margin: 0; }
.seen img { width: 7rem; height: 7rem; object-fit: contain; border-radius: 0.4rem; flex: none; }
.seen figcaption { font-size: 0.875rem; overflow-wrap: anywhere; }
.seen figcaption div { font-size: 0.75rem; opacity: 0.75; line-height: 1.7; margin-top: 0.3rem; }
.seen code {
  display: inline-block; font-size: 0.7rem; line-height: 1.3; padding: 0 0.3rem; margin: 0 0.15rem 0.15rem 0;
  border-radius: 0.25rem; background: rgb(128 128 128 / 15%);
}
</style>
"""


@st.fragment
def show_sees(workspace: Workspace, config: TrainConfig) -> None:
    """A button, and once it was pressed the pictures, until the settings or the dataset change.

    A fragment: the form stays alive while the pictures are made.
    """
    folder = _folder(workspace, config)
    with st.expander("What the model will see", icon=":material/visibility:"):
        st.caption("The first pictures of this run: cropped and changed, with the captions and tokens of that moment.")
        if not (folder / SEEN_FILE).is_file():
            if not st.button("Show them", icon=":material/visibility:", key="show-seen"):
                return
            with told():
                with st.spinner("Loading the base model and preparing the pictures…"):
                    _make(workspace, config, folder)
                _show(folder)
            return
        _show(folder)


def _show(folder: Path) -> None:
    seen = read_json(folder / SEEN_FILE)
    if not seen:
        st.caption("No picture would be learned.")
        return
    st.html(f'{STYLE}<div class="seen">{"".join(_card(folder, one) for one in seen)}</div>')


def _card(folder: Path, one: Mapping[str, Any]) -> str:
    """One picture with its whole caption and its tokens, each as the text that it is."""
    caption = escape(one["caption"]) or "<em>The empty prompt: this caption is dropped.</em>"
    tokens = "".join(f"<code>{escape(token)}</code>" for token in one["tokens"])
    return (
        f'<figure><img src="{_source(folder / one["file"])}" alt="As it enters training"><figcaption>{caption}'
        f"<div>{count(len(one['tokens']), 'token')} {tokens}</div></figcaption></figure>"
    )


def _source(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _folder(workspace: Workspace, config: TrainConfig) -> Path:
    """Named by everything that the pictures depend on."""
    names = [config.dataset, *(extra.dataset for extra in config.mix)]
    changes = [last_change(open_dataset(workspace, name)) for name in names]
    content = json.dumps([{**to_json(config), "name": ""}, changes], sort_keys=True)
    return workspace.cache / "previews" / hashlib.sha256(content.encode()).hexdigest()[:32]


def _make(workspace: Workspace, config: TrainConfig, folder: Path) -> None:
    """Run the process; its folder appears whole or not at all. A UserError says why it could not."""
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    write_json(temporary / "config.json", to_json(config))
    command = [sys.executable, "-m", "sdstudio.engine.preview_process", str(temporary)]
    environment = {**os.environ, ENV_VAR: str(workspace.root)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["The process said nothing."]
            raise UserError(said[-1])
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"The pictures were not ready after {PATIENCE} seconds: the base model may be too large."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

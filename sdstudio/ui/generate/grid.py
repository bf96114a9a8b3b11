"""X/Y/Z grids: a form of up to three axes, and the grid as it fills."""

import io
from math import prod

import streamlit as st

from sdstudio import collection, jobs
from sdstudio.grids import MODEL, PROMPT, SETTINGS, draw_sheet, label, parse_values, read_cells, table
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import (
    Axis,
    GenerateConfig,
    GridConfig,
    Job,
    ModelRef,
    SampleSettings,
    UserError,
    from_json,
)
from sdstudio.ui.forms import config_form
from sdstudio.ui.generate import compare
from sdstudio.ui.generate.fields import say_gone, say_syntax
from sdstudio.ui.generate.large import show_picture, undo_delete
from sdstudio.ui.job_card import follow, is_live
from sdstudio.ui.models import models_to_ask
from sdstudio.ui.session import choose_job, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, read_json

KEY = "grid"
OPENED = f"{KEY}.opened"
DIRECTIONS = ("Columns", "Rows", "Sheets")
IN_PLACE = ("guidance", "batch_size")
FIRST = ("guidance_scale", "3, 5, 7"), ("steps", "10, 20"), ("", "")


def show(workspace: Workspace) -> None:
    """The form, and below it the grid that is being looked at."""
    _form(workspace)
    drawn = jobs.list_jobs(workspace, "grid")
    if not drawn:
        st.info(
            "A grid shows what a setting does: choose its axes above, then **Draw the grid**.",
            icon=":material/grid_on:",
        )
        return
    chosen = choose_job(drawn, "grid", "Grid")
    undo_delete(workspace)
    with told():
        follow(workspace, chosen, lambda job: _show_grid(workspace, job))
        _take_out(jobs.get_job(workspace, chosen))
    picture = st.session_state.pop(OPENED, "")
    if picture:
        with told():
            show_picture(workspace, collection.picture_path(workspace, picture), collection.record(workspace, picture))


# ---------------------------------------------------------------- the form


def _form(workspace: Workspace) -> None:
    models = models_to_ask(workspace)
    with st.container(border=True):
        say_gone(f"{KEY}.model", models)
        with st.grid(columns="auto", min_column_width=320, vertical_alignment="top"):
            model = st.selectbox(
                "Model",
                list(models),
                format_func=lambda ref: models[ref].label,
                key=f"{KEY}.model",
                persist_state="session",
            )
            with st.container():
                prompt = st.text_input(
                    "Prompt", key=f"{KEY}.prompt", placeholder="a smiling woman on a beach", persist_state="session"
                )
                say_syntax([prompt])
        axes = [_axis(number, models) for number in range(len(DIRECTIONS))]
        with st.expander("What all cells share", icon=":material/tune:"):
            shared = config_form(SampleSettings, key=f"{KEY}.settings", skip=IN_PLACE)
        given = [axis for axis in axes if axis is not None]
        with st.container(horizontal=True, vertical_alignment="center"):
            pressed = st.button("Draw the grid", type="primary", icon=":material/grid_on:", key=f"{KEY}.draw")
            st.caption(_size(given))
        if pressed:
            with told():
                settings = from_json(SampleSettings, shared)
                base = GenerateConfig(models=[models[model]], prompts=[prompt.strip()], settings=settings)
                job = jobs.submit(workspace, "grid", GridConfig(base=base, axes=given), prompt.strip()[:60] or "Grid")
                put_in_address("grid", job.id)
                st.rerun()


def _axis(number: int, models: dict[str, ModelRef]) -> Axis | None:
    """One axis: what it goes over, and its values in the way that suits it; None while it is not used."""
    name, values = f"{KEY}.axis{number}", f"{KEY}.values{number}"
    st.session_state.setdefault(name, FIRST[number][0] or None)
    with st.grid(columns=2, min_column_width=260, vertical_alignment="top"):
        with st.container():
            setting = st.selectbox(
                DIRECTIONS[number],
                list(SETTINGS),
                index=None,
                format_func=lambda key: SETTINGS[key].label,
                placeholder="not used",
                key=name,
                persist_state="session",
            )
        with st.container():
            if setting is None:
                return None
            return _values(setting, f"{values}.{setting}", FIRST[number], models)


def _values(setting: str, key: str, first: tuple[str, str], models: dict[str, ModelRef]) -> Axis | None:
    field, said = SETTINGS[setting].field, literal(SETTINGS[setting].help)
    if setting == MODEL:
        refs = st.multiselect(
            "Its values",
            list(models),
            format_func=lambda ref: models[ref].label,
            key=key,
            persist_state="session",
            help=said,
        )
        return Axis(setting=setting, values=[ref.removeprefix("base:") for ref in refs]) if refs else None
    if field is not None and field.choices:
        chosen = st.multiselect("Its values", field.choices, key=key, persist_state="session", help=said)
        return Axis(setting=setting, values=chosen) if chosen else None
    if setting == first[0]:
        st.session_state.setdefault(key, first[1])
    hint = "red, blue, green" if setting == PROMPT else "1-4 or 10, 20, 30"
    text = st.text_input("Its values", key=key, placeholder=hint, persist_state="session", help=said)
    if not text.strip():
        return None
    try:
        return Axis(setting=setting, values=parse_values(setting, text))
    except UserError as error:
        st.caption(f":red[{literal(str(error))}]")
        return None


def _size(axes: list[Axis]) -> str:
    sizes = [len(axis.values) for axis in axes]
    cells = prod(sizes)
    return f"{' × '.join(map(str, sizes))} = {count(cells, 'picture')}" if len(sizes) > 1 else count(cells, "picture")


# ---------------------------------------------------------------- the grid


def _show_grid(workspace: Workspace, job: Job) -> None:
    config = from_json(GridConfig, read_json(job.folder / "config.json"))
    files, images = read_cells(job.folder), {image.file: image for image in read_images(job.folder)}
    columns, rows, sheets = config.axes[0], *(config.axes[place : place + 1] for place in (1, 2))
    sheet = _sheet(job, sheets[0]) if sheets else 0
    if not files:
        st.caption("The first picture is on its way." if is_live(job) else "This grid holds no pictures.")
        return
    shown = [
        {
            "label": label(rows[0], y) if rows else "",
            "cells": [
                compare.cell(workspace, job.folder, images.get(files.get((x, y, sheet), "")), "")
                for x in range(len(columns.values))
            ],
        }
        for y in range(len(rows[0].values) if rows else 1)
    ]

    def opened(file: str) -> None:
        st.session_state[OPENED] = collection.reference(workspace, job.folder / file)
        st.rerun(scope="app")

    compare.table([label(columns, x) for x in range(len(columns.values))], shown, f"{KEY}-{job.id}", opened)


def _sheet(job: Job, axis: Axis) -> int:
    return int(
        st.segmented_control(
            SETTINGS[axis.setting].label,
            range(len(axis.values)),
            format_func=lambda number: literal(label(axis, number)),
            default=0,
            required=True,
            key=f"{KEY}.sheet.{job.id}",
        )
    )


def _take_out(job: Job) -> None:
    """The sheet in view as one picture, and all cells as a table."""
    config = from_json(GridConfig, read_json(job.folder / "config.json"))
    if not read_cells(job.folder):
        return
    sheet = int(st.session_state.get(f"{KEY}.sheet.{job.id}") or 0)

    def picture() -> bytes:
        memory = io.BytesIO()
        draw_sheet(config, job.folder, sheet).save(memory, "PNG")
        return memory.getvalue()

    with st.container(horizontal=True):
        st.download_button(
            "Download as one picture", data=picture, file_name=f"{job.id}-{sheet + 1}.png", mime="image/png",
            icon=":material/image:", on_click="ignore", key=f"{KEY}.sheet-download",
        )  # fmt: skip
        st.download_button(
            "Download as a table", data=lambda: table(config, job.folder), file_name=f"{job.id}.csv", mime="text/csv",
            icon=":material/table:", on_click="ignore", key=f"{KEY}.table-download",
        )  # fmt: skip

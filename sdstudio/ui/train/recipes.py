"""Settings to begin from: published recipes, and the configs of another trainer."""

import streamlit as st

from sdstudio.training.kohya import Imported, read_kohya
from sdstudio.training.presets import PRESETS, preset
from sdstudio.ui.session import told
from sdstudio.ui.text import count, literal
from sdstudio.ui.train.filling import PREFIX, fill

KEY = f"{PREFIX}.recipe"
OWN = ""


def show_recipes(base_model: str) -> None:
    """A picker of the recipes that suit the base model, and the import of kohya's configs beside it."""
    fitting = {item.name: item for item in PRESETS if item.starter == (base_model == "starter")}
    if st.session_state.get(KEY, OWN) not in fitting:
        st.session_state[KEY] = OWN
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Recipe",
            [OWN, *fitting],
            format_func=lambda name: fitting[name].label if name else "Own settings",
            key=KEY,
            on_change=_apply,
            persist_state="session",
            help="Fills the form in; everything can be changed afterwards.",
        )
        if st.button("Import from kohya", icon=":material/upload_file:", key="import-kohya"):
            kohya_dialog()
    if name:
        st.caption(f"{literal(fitting[name].summary)} *Source: {literal(fitting[name].source)}.*")


def _apply() -> None:
    name = st.session_state[KEY]
    if name:
        fill(preset(name).config)


@st.dialog("Import a training config of kohya's", width="medium", icon=":material/upload_file:")
def kohya_dialog() -> None:
    """Upload, see what became of every key, take it over."""
    file = st.file_uploader(
        "A TOML file of sd-scripts, or a JSON file that the GUI saved", type=["toml", "json"], key="kohya-file"
    )
    if file is None:
        return
    with told():
        found = read_kohya(file.getvalue().decode("utf-8", "replace"))
        _show(found)
        if st.button("Fill the form in", type="primary", icon=":material/check:", key="kohya-take"):
            fill(found.settings)
            st.rerun()


def _show(found: Imported) -> None:
    if found.left:
        st.warning(f"{count(len(found.left), 'key')} could not be honoured:", icon=":material/rule:")
        for key, why in found.left.items():
            st.markdown(f"- **{literal(key)}**: {literal(why)}")
    else:
        st.success("Every key could be honoured.", icon=":material/check_circle:")
    with st.expander(f"{count(len(found.taken), 'key')} taken"):
        for key, became in found.taken.items():
            st.text(f"{key}  →  {became}")

"""The entry that `streamlit run app.py` starts: the server, with the routes that hand out pictures."""

from pathlib import Path

import streamlit as st

from sdstudio.ui import files

app = st.App(Path(__file__).resolve().parent / "sdstudio" / "ui" / "main.py", routes=files.routes())

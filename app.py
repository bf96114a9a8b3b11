"""The entry that `streamlit run app.py` starts: the server with its picture routes, then the router of the pages."""

from pathlib import Path

import streamlit as st

from sdstudio.ui import files, shell

HERE = Path(__file__).resolve()

if __name__ == "__main__":
    shell.run(HERE.parent / "pages")
else:
    app = st.App(HERE, routes=files.routes())

"""The entry that `streamlit run app.py` starts: the server, its access gate, and the routes that hand out pictures."""

from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config

from sdstudio.ui import access, files
from sdstudio.workspace import current_workspace

address = config.get_option("server.address")
token = access.access_token(current_workspace(), address)
if token:
    print(access.invitation(token, address, config.get_option("server.port")), flush=True)
app = st.App(
    Path(__file__).resolve().parent / "sdstudio" / "ui" / "main.py",
    routes=files.routes(),
    middleware=[Middleware(access.Gate, token=token)],
)

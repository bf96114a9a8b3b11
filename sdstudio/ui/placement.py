"""Where a job shall run: drawn only where there is something to choose."""

import streamlit as st

from sdstudio import jobs
from sdstudio.jobs import backends
from sdstudio.schema import Placement
from sdstudio.ui.jobs.describe import device_line, device_text
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

ANY = ""
MOST_ON_A_CLUSTER = 64


def placement_picker(workspace: Workspace, key: str, several: bool = False) -> Placement:
    """Pickers for machine, device and, with `several`, the number of GPUs of one run.

    Nothing is drawn, and the default returned, with one device and no cluster that can be used.
    """
    devices = {device.name: device for device in jobs.devices()}
    machines = {machine.name: machine for machine in backends.available(workspace)}
    ready = [name for name, machine in machines.items() if machine.ready]
    if len(devices) < 2 and len(ready) < 2:
        return Placement()
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"{key}-pickers"):
        machine = backends.LOCAL
        if len(ready) > 1:
            missing = [f"{other.label}: {other.why_not}" for other in machines.values() if not other.ready]
            machine = st.selectbox(
                "Machine",
                ready,
                format_func=lambda name: machines[name].label,
                key=f"{key}.backend",
                help="  \n".join(literal(line) for line in missing) or None,
                persist_state="session",
                width=220,
            )
        if machine != backends.LOCAL:
            return Placement(backend=machine, processes=_processes(key, MOST_ON_A_CLUSTER) if several else 1)
        device = ANY
        if len(devices) > 1:
            said = {name: (device_text(name), device_line(found)) for name, found in devices.items()}
            labels = {name: " · ".join(part for part in parts if part) for name, parts in said.items()}
            device = st.selectbox(
                "Device",
                [ANY, *devices],
                format_func=lambda name: labels.get(name, "Any that is free"),
                key=f"{key}.device",
                persist_state="session",
                width=320,
            )
        gpus = [name for name in devices if name.startswith("cuda:")]
        processes = _processes(key, len(gpus)) if several and device == ANY and len(gpus) > 1 else 1
        return Placement(device=device, processes=processes)


def _processes(key: str, most: int) -> int:
    return int(
        st.number_input(
            "GPUs for one run",
            min_value=1,
            max_value=most,
            key=f"{key}.processes",
            help="With more than one, every step learns from a batch on each of them.",
            persist_state="session",
            width=160,
        )
    )

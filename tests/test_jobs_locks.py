"""Six processes that want one device while they are killed at random: it is never held twice, and never lost.

pytest tests/test_jobs_locks.py            # 20 kills
pytest tests/test_jobs_locks.py -m slow -s # 200 kills, and prints what it counted
"""

import multiprocessing
import os
import random
import time
from pathlib import Path

import psutil
import pytest

from sdstudio.jobs.folder import Identity
from sdstudio.jobs.locks import Lease
from sdstudio.schema import UserError, from_json, to_json
from sdstudio.workspace import Workspace, read_json, write_json

CONTENDERS = 6
FORK = multiprocessing.get_context("fork")


def contend(ws: Workspace, seed: int) -> None:
    """Take the device, claim it in a file that a second holder would find, and give it back; without end."""
    dice = random.Random(seed)
    me, witness = Identity.of(os.getpid()), ws.root / "witness.json"
    while True:
        lease = Lease(ws, ["cpu"], f"contender {seed}")
        assert lease.acquire(lambda: True)
        if other := holder(witness):
            complain(ws, f"{seed} got the device while {other} held it")
        write_json(witness, to_json(me))
        with (ws.root / "turns.txt").open("a") as turns:
            turns.write(f"{seed}\n")
        time.sleep(dice.uniform(0, 0.02))
        if holder(witness) != me:
            complain(ws, f"{seed} was not the only holder")
        write_json(witness, {})
        lease.release()


def holder(witness: Path) -> Identity | None:
    """Whoever said that it holds the device and lives."""
    try:
        found = from_json(Identity, read_json(witness))
    except UserError:
        return None
    return found if found.process() else None


def complain(ws: Workspace, text: str) -> None:
    with (ws.root / "complaints.txt").open("a") as file:
        file.write(f"{text}\n")


def contest(ws: Workspace, kills: int) -> None:
    dice = random.Random(kills)
    ws.root.mkdir()
    seeds = iter(range(CONTENDERS + kills))
    alive = [start(ws, next(seeds)) for _ in range(CONTENDERS)]
    held = 0
    try:
        for _ in range(kills):
            time.sleep(dice.uniform(0, 0.1))
            as_holder = dice.random() < 0.5
            held += as_holder
            victim = holding(ws, alive) if as_holder else dice.choice(alive)
            victim.kill()
            victim.join()
            alive.remove(victim)
            alive.append(start(ws, next(seeds)))
        before = turns(ws)
        deadline = time.monotonic() + 10
        while turns(ws) < before + CONTENDERS:
            assert time.monotonic() < deadline, "nobody gets the device any more"
            time.sleep(0.05)
    finally:
        for process in alive:
            process.kill()
            process.join()
    complaints = ws.root / "complaints.txt"
    assert not complaints.exists(), complaints.read_text()
    print(f"\n{kills} kills, {held} of them of the one that held the device; it was taken {turns(ws)} times")


def start(ws: Workspace, seed: int) -> multiprocessing.Process:
    process = FORK.Process(target=contend, args=(ws, seed), daemon=True)
    process.start()
    return process


def holding(ws: Workspace, alive: list[multiprocessing.Process]) -> multiprocessing.Process:
    """The contender that holds the device, stopped so that it still does when it is killed."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = holder(ws.root / "witness.json")
        process = next((each for each in alive if found and each.pid == found.pid), None)
        if process:
            stopped = psutil.Process(process.pid)
            stopped.suspend()
            if holder(ws.root / "witness.json") == found:
                return process
            stopped.resume()
    raise AssertionError("nobody gets the device any more")


def turns(ws: Workspace) -> int:
    path = ws.root / "turns.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_device_is_never_held_twice(tmp_path: Path) -> None:
    contest(Workspace(tmp_path / "workspace"), kills=20)


@pytest.mark.slow
def test_a_device_is_never_held_twice_through_200_kills(tmp_path: Path) -> None:
    contest(Workspace(tmp_path / "workspace"), kills=200)

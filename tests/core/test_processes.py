"""gs3d as a library: forked and spawned processes, threads, an event loop, an interrupt."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gs3d.core.runtime.interrupts import deferred
from gs3d.io import save_splats
from tests.cli.assets.files import ball

START = """
import gs3d, multiprocessing, threading, torch
from tests.cli.assets.files import ball
torch.set_num_threads(2)

def work():
    image = gs3d.rasterize(ball(400), gs3d.ring(4, 96), torch.ones(3)).rgb
    return float((image @ torch.rand(3, 300)).mean())

def child():
    work()
    print('child ok', flush=True)
"""


def run(code: str, timeout: float = 100) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_a_fork_after_use():
    code = """
work()
process = multiprocessing.get_context('fork').Process(target=child)
process.start()
process.join(60)
print('exit', process.exitcode)
process.kill()
"""
    assert run(code) == "child ok\nexit 0\n"


def test_two_threads_give_what_one_gives():
    code = """
scene, cameras = ball(400), gs3d.ring(4, 96)
expected = gs3d.rasterize(scene, cameras, torch.ones(3)).rgb
found = []
def draw():
    for _ in range(5):
        found.append(gs3d.rasterize(scene, cameras, torch.ones(3)).rgb)
threads = [threading.Thread(target=draw) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
print(len(found), all(torch.equal(expected, f) for f in found))
"""
    assert run(code) == "10 True\n"


def test_a_running_event_loop():
    code = """
import asyncio
async def main():
    return work() > 0
print(asyncio.run(main()))
"""
    assert run(code) == "True\n"


def test_spawn(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        START
        + """
if __name__ == '__main__':
    work()
    process = multiprocessing.get_context('spawn').Process(target=child)
    process.start()
    process.join(60)
    print('exit', process.exitcode)
"""
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout == "child ok\nexit 0\n", done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "gs3d.api",
        "torch",
        pytest.param("torch.nn", marks=pytest.mark.thorough),
        pytest.param("gs3d.core.cameras", marks=pytest.mark.thorough),
    ],
)
def test_an_interrupt_during_the_first_import(tmp_path, module):
    """It comes while `module` is imported, comes through after all, and the next call works."""
    save_splats(tmp_path / "ball.ply", ball(40))
    code = f"""
import gs3d, os, signal, sys, threading
def interrupt():
    while {module!r} not in sys.modules:
        pass
    print('during' if 'load' not in vars(sys.modules.get('gs3d.api', gs3d)) else 'after')
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    gs3d.load
    print('no interrupt')
except KeyboardInterrupt:
    print('interrupted')
print(len(gs3d.load({str(tmp_path / "ball.ply")!r}).asset))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.stdout == "during\ninterrupted\n40\n", done.stderr


def test_an_interrupt_is_not_lost_where_an_import_fails():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), deferred():
            signal.raise_signal(signal.SIGINT)
            raise ImportError("broken")
    finally:
        signal.signal(signal.SIGINT, before)

"""`gs3d view` in a real browser: the object where it belongs, the buttons at work, and a clean end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gs3d
from gs3d.io import save_splats
from gs3d.representations.asset import draw
from gs3d.representations.meshing.fusion import mesh_of_splats
from tests.viewers.browser import CHROMIUM
from tests.viewers.devtools import Page, opened
from tests.viewers.test_viewers import BACKGROUND, LEAST_DB, letter

READY = CHROMIUM is not None and find_spec("viser") is not None
pytestmark = pytest.mark.skipif(
    not READY and not os.environ.get("GS3D_TEST_VIEWERS"),
    reason="needs Chromium and viser: make test-viewers",
)

WIDTH, HEIGHT = 900, 600


@contextlib.contextmanager
def ended_by_ctrl_c(*argv: str, status: int = 0) -> Iterator[subprocess.Popen]:
    """`gs3d` with these arguments, which must end by Ctrl-C, soon, and without a word of complaint."""
    # None of the machine's windows: what the command opens by itself is not what is tested.
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    # What runs in the background of a shell ignores Ctrl-C, and so would its children.
    heard = {"env": env, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gs3d", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **heard,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        said, fault = process.communicate(timeout=20)
        assert (process.returncode, said, fault) == (status, "", "")
    finally:
        process.kill()
        process.wait()


def address_after(words: str, process: subprocess.Popen) -> str:
    """What a line that the command prints says after `words`."""
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if found := re.search(rf"{words} (http://[^\s;]+)", line):
            return found[1]
    raise AssertionError("".join(lines) + process.stderr.read())


@contextlib.contextmanager
def viewing(*argv: str) -> Iterator[str]:
    """The address that `gs3d view` prints."""
    with ended_by_ctrl_c("view", *argv, "--port", "0") as process:
        yield address_after("at", process)


def complaints(page: Page) -> list[str]:
    """Errors of the page, but for one that three.js always has about viser's own splats, whose corners have two coordinates."""
    page.value("0")  # the events until now come before its answer
    return [error for error in page.errors if "computeBoundingSphere" not in error]


def keep(name: str, *pictures: np.ndarray) -> None:
    if folder := os.environ.get("GS3D_VIEWER_PICTURES"):
        both = np.concatenate(pictures, axis=1)
        Image.fromarray((255 * both + 0.5).astype(np.uint8)).save(Path(folder) / f"view-{name}.png")


def ours(made, preset: str, like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """gs3d's own picture [H, W, 3] of a preset, of the size of another, and where the object is in it [H, W]."""
    from gs3d.viewer.scene import PRESETS, camera

    height, width, _ = like.shape
    out = draw(made, camera(*PRESETS[preset], width, height), BACKGROUND)
    return out.rgb[0].clamp(0, 1).numpy(), out.alpha[0, ..., 0].numpy() > 0.02


def decibels(made, preset: str, theirs: np.ndarray) -> float:
    """Peak signal to noise over the object."""
    mine, object_ = ours(made, preset, theirs)
    keep(preset, mine, theirs)
    return float(-10 * np.log10(np.square(mine - theirs)[object_].mean()))


def test_splats_from_the_front_and_from_the_left_and_a_saved_picture(tmp_path):
    splats = letter()
    save_splats(tmp_path / "letter.ply", splats)
    with (
        viewing(str(tmp_path / "letter.ply")) as address,
        opened(address, WIDTH, HEIGHT, tmp_path) as page,
    ):
        front = page.picture()
        assert decibels(splats, "front", front) >= LEAST_DB
        page.click("left")
        left = page.picture(like=lambda picture: not np.array_equal(picture, front))
        assert decibels(splats, "left", left) >= LEAST_DB
        page.click("Save picture")
        ends = time.monotonic() + 30
        while not (tmp_path / "letter.png").exists() and time.monotonic() < ends:
            time.sleep(0.2)
        assert (
            decibels(
                splats, "left", np.asarray(Image.open(tmp_path / "letter.png"), np.float32) / 255
            )
            >= LEAST_DB
        )
        assert complaints(page) == []


def test_a_mesh_for_other_machines(tmp_path):
    """At an address with a key, which the page's websocket has to bring too."""
    from gs3d.io.mesh import write_mesh

    mesh = mesh_of_splats(letter(), resolution=96).textured(512)
    write_mesh(tmp_path / "letter.glb", mesh)
    with viewing(str(tmp_path / "letter.glb"), "--host", "0.0.0.0") as address:
        address = re.sub(
            r"//[^:/]+", "//127.0.0.1", address
        )  # the machine's own name may not lead to it
        assert re.search(r":\d+/[\w-]{22}/$", address)
        with opened(address, WIDTH, HEIGHT, tmp_path) as page:
            seen = page.picture()
            assert complaints(page) == []
    mine, object_ = ours(mesh, "front", seen)
    keep("mesh", mine, seen)
    # Lit, where ours is not: places rather than colors.
    shown = np.abs(seen - np.array(BACKGROUND)).max(-1) > 0.1
    assert (shown & object_).sum() > 0.95 * object_.sum() and (
        shown & ~object_
    ).sum() < 0.05 * object_.sum()
    green, red = (seen[..., i] - np.delete(seen, i, axis=-1).max(-1) > 0.15 for i in (1, 0))
    middle = seen.shape[1] / 2
    assert (
        np.nonzero(green)[1].mean() > middle + 50 and abs(np.nonzero(red)[1].mean() - middle) < 40
    )


def test_a_run_that_is_watched_paused_and_stopped_and_the_next_one(tmp_path):
    command = [
        "generate",
        "a red mushroom",
        "--steps",
        "100000",
        "--prior",
        "builtin",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    ]
    with ended_by_ctrl_c(*command, "--viewer", status=130) as process:
        address = address_after("watch it at", process)
        with opened(address, WIDTH, HEIGHT, tmp_path) as page:
            page.click("Pause")
            page.click("Resume")
            page.click("Pause")
            paused = page.picture()
            steps = len((tmp_path / "run" / "log.jsonl").read_text().splitlines())
            time.sleep(2)
            assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == steps
            page.click("Stop and export")
            assert address_after("stays at", process) == address
            made = gs3d.load(tmp_path / "run").splats
            assert (
                min(decibels(made, "front", picture) for picture in (paused, page.picture()))
                >= LEAST_DB
            )
            page.type("Prompt", "a blue chair")
            page.click("Make it next")
            page.click("Stop and export")
            assert address_after("stays at", process) == address
            chair = gs3d.load(tmp_path / "a-blue-chair-s0").splats
            page.picture(
                like=lambda picture: decibels(chair, "front", picture) >= LEAST_DB
            )  # or it is waited for in vain
            assert complaints(page) == []

"""`gs3d view` and `gs3d generate --viewer` in a real browser: renders, buttons and exit."""

import contextlib
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gs3d
from gs3d.io import save_splats
from gs3d.ops.place import framed
from gs3d.representations.asset import draw
from gs3d.representations.meshing.fusion import mesh_of_splats
from tests.io.splats.samples import random_splats
from tests.small import GS3D
from tests.viewers.devtools import Page, opened
from tests.viewers.test_viewers import BACKGROUND, MIN_DB, letter

pytestmark = pytest.mark.skipif(
    not os.environ.get("GS3D_TEST_VIEWERS"), reason="needs Chromium and viser: make test-viewers"
)

WIDTH, HEIGHT = 900, 600


@contextlib.contextmanager
def ended_by_ctrl_c(*argv: str, status: int = 0) -> Iterator[subprocess.Popen]:
    """Run `gs3d` with these arguments. Ctrl-C must end it in 20 s, without further output."""
    # Without a display the command does not open a browser of its own.
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    # Background jobs of a shell ignore Ctrl-C, and so would their children.
    options = {"env": env, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(
        [*GS3D, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (status, "", "")
    finally:
        process.kill()
        process.wait()


def address_after(words: str, process: subprocess.Popen) -> str:
    """The URL after `words` in a line that the command prints."""
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if found := re.search(rf"{words} (http://[^\s;]+)", line):
            return found[1]
    raise AssertionError("".join(lines) + process.stderr.read())


@contextlib.contextmanager
def viewing(*argv: str) -> Iterator[str]:
    """Run `gs3d view` and yield the URL that it prints."""
    with ended_by_ctrl_c("view", *argv, "--port", "0") as process:
        yield address_after("at", process)


def errors_of(page: Page) -> list[str]:
    """Errors of the page, except one that is expected.

    three.js logs an error about viser's splats, because their vertices have two coordinates.
    """
    page.value("0")  # events so far arrive before the answer
    return [error for error in page.errors if "computeBoundingSphere" not in error]


def save_images(name: str, *images: np.ndarray) -> None:
    """Save `images` side by side in the folder GS3D_VIEWER_PICTURES, if it is set."""
    if folder := os.environ.get("GS3D_VIEWER_PICTURES"):
        both = np.concatenate(images, axis=1)
        Image.fromarray((255 * both + 0.5).astype(np.uint8)).save(Path(folder) / f"view-{name}.png")


def render(asset, preset: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """gs3d's own render [H, W, 3] of a preset, and a mask [H, W] of the object.

    `shape` is [H, W, 3]. The object is framed as the viewer frames it.
    """
    from gs3d.viewer.scene import PRESETS, camera

    height, width, _ = shape
    out = draw(framed(asset), camera(*PRESETS[preset], width, height), BACKGROUND)
    return out.rgb[0].clamp(0, 1).numpy(), out.alpha[0, ..., 0].numpy() > 0.02


def psnr(asset, preset: str, screenshot: np.ndarray) -> float:
    """PSNR in dB of a screenshot against gs3d's render, over the object."""
    expected, mask = render(asset, preset, screenshot.shape)
    save_images(preset, expected, screenshot)
    return float(-10 * np.log10(np.square(expected - screenshot)[mask].mean()))


def test_splats_from_two_presets_and_a_saved_image(tmp_path):
    splats = letter()
    save_splats(tmp_path / "letter.ply", splats)
    with (
        viewing(str(tmp_path / "letter.ply")) as address,
        opened(address, WIDTH, HEIGHT, tmp_path) as page,
    ):
        front = page.screenshot()
        assert psnr(splats, "front", front) >= MIN_DB
        page.click("left")
        left = page.screenshot(accept=lambda image: not np.array_equal(image, front))
        assert psnr(splats, "left", left) >= MIN_DB
        page.click("Save image")
        deadline = time.monotonic() + 30
        while not (tmp_path / "letter.png").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        saved = np.asarray(Image.open(tmp_path / "letter.png"), np.float32) / 255
        assert psnr(splats, "left", saved) >= MIN_DB
        assert errors_of(page) == []


def test_a_mesh_at_an_address_with_a_token(tmp_path):
    """The page's websocket must pass the token too."""
    from gs3d.io.mesh import write_mesh

    mesh = mesh_of_splats(letter(), resolution=64).textured(256)
    write_mesh(tmp_path / "letter.glb", mesh)
    with viewing(str(tmp_path / "letter.glb"), "--host", "0.0.0.0") as address:
        # The name of this machine need not resolve to it.
        address = re.sub(r"//[^:/]+", "//127.0.0.1", address)
        assert re.search(r":\d+/[\w-]{22}/$", address)
        with opened(address, WIDTH, HEIGHT, tmp_path) as page:
            image = page.screenshot()
            assert errors_of(page) == []
    expected, mask = render(mesh, "front", image.shape)
    save_images("mesh", expected, image)
    # viser lights the mesh and gs3d does not, so positions are compared rather than colors.
    shown = np.abs(image - np.array(BACKGROUND)).max(-1) > 0.1
    assert (shown & mask).sum() > 0.95 * mask.sum()
    assert (shown & ~mask).sum() < 0.05 * mask.sum()
    for channel in (0, 1):  # the bars that are red and green
        assert abs(column_of(channel, image) - column_of(channel, expected)) < 10
    assert column_of(1, image) > column_of(0, image) + 50


def test_a_scene_is_seen_from_its_middle(tmp_path):
    from gs3d.core.views.inside import looking
    from gs3d.ops.place import WORLD
    from gs3d.viewer.scene import INSIDE_ELEVATION_DEG, INSIDE_FOVY_DEG
    from gs3d.viewer.server import listen
    from gs3d.viewer.viewer import Viewer

    around = torch.nn.functional.normalize(random_splats(3000, 0).means, dim=1)
    splats = random_splats(3000, 0)
    splats = replace(splats, means=2 * around, scales=torch.full_like(splats.scales, 0.06))
    with (
        contextlib.closing(listen("127.0.0.1", 0)) as sock,
        contextlib.closing(Viewer(sock, "room", WORLD, inside=True)) as viewer,
    ):
        viewer.show(splats, "")
        with opened(viewer.address, WIDTH, HEIGHT, tmp_path) as page:
            front = page.screenshot()
            page.click("left")
            left = page.screenshot(accept=lambda image: not np.array_equal(image, front))
            assert errors_of(page) == []
    angles = (INSIDE_ELEVATION_DEG, INSIDE_FOVY_DEG)
    for name, azimuth, image in (("inside", 0.0, front), ("inside-left", 90.0, left)):
        height, width, _ = image.shape
        eyes = (torch.tensor([math.radians(angle)]) for angle in (azimuth, *angles))
        turn, lift, fovy = eyes
        camera = looking(turn, lift, torch.zeros(1, 3), fovy, width, height)
        expected = draw(splats, camera, BACKGROUND).rgb[0].clamp(0, 1).numpy()
        save_images(name, expected, image)
        assert -10 * np.log10(np.square(expected - image).mean()) >= 25


def column_of(channel: int, image: np.ndarray) -> float:
    """The mean column of the pixels in which this channel is the largest by far."""
    others = np.delete(image, channel, axis=-1).max(-1)
    return float(np.nonzero(image[..., channel] - others > 0.15)[1].mean())


def test_a_run_can_be_paused_and_stopped_and_the_next_one_queued(tmp_path):
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
            paused = page.screenshot()
            log = tmp_path / "run" / "log.jsonl"
            steps = len(log.read_text().splitlines())
            time.sleep(2)
            assert len(log.read_text().splitlines()) == steps
            page.click("Stop and export")
            assert address_after("stays at", process) == address
            splats = gs3d.load(tmp_path / "run").splats
            assert psnr(splats, "front", paused) >= MIN_DB
            assert psnr(splats, "front", page.screenshot()) >= MIN_DB
            page.type("Prompt", "a blue chair")
            page.click("Add to queue")
            page.click("Stop and export")
            assert address_after("stays at", process) == address
            chair = gs3d.load(tmp_path / "a-blue-chair-s0").splats
            # Times out if the chair is never shown.
            page.screenshot(accept=lambda image: psnr(chair, "front", image) >= MIN_DB)
            assert errors_of(page) == []

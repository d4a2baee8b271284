"""`gs3d view FILE_OR_RUN`: splats or a mesh in the browser, to be turned and looked at."""

import contextlib
import os
import sys
import time
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import recorded, warn
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_asset
from gs3d.viewer.server import listen

PORT = 8080


@dataclass(frozen=True)
class Args:
    """Open splats or a mesh in the browser: turn it, look from each side, change the background, opacities and sizes, save pictures.
    Ctrl-C ends it. Of splats, colors that change with the view are shown as their mean."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_RUN")]
    """Splats, a mesh (.glb), or a run's folder, which also has some of the cameras that it learnt from."""
    port: int = PORT
    """Where to listen; 0 takes any port that is free."""
    host: str = "127.0.0.1"
    """An address of this machine. Of one that other machines reach, the printed address holds a random key that lets in whoever has it,
    and nothing is encrypted: ssh -L 8080:localhost:8080 to this machine, with the default here, is safer."""
    browser: bool = True
    """Whether to open a browser."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d view", argv)
    need_viser("gs3d view")
    asset, warnings = recorded(load_asset, args.file)
    warn(warnings)
    from gs3d.runs.history import training_cameras
    from gs3d.viewer.scene import WORLD, place_of
    from gs3d.viewer.viewer import Viewer

    is_run = args.file.is_dir()
    name = args.file.resolve().name if is_run else args.file.stem
    with (
        contextlib.closing(listen(args.host, args.port)) as sock,
        contextlib.closing(Viewer(sock, name, WORLD if is_run else place_of(asset))) as viewer,
    ):
        about = line_about(asset)
        viewer.show(asset, about)
        if is_run and (cameras := training_cameras(args.file)):
            viewer.add_frusta("Cameras of the run", cameras)
        say(f"{about} at {viewer.address}; Ctrl-C ends it")
        if args.browser:
            open_browser(viewer.address)
        wait_for_ctrl_c()
    return 0


def need_viser(command: str) -> None:
    """`UserError` where it is not installed."""
    if find_spec("viser") is None:
        raise UserError(f'{command} needs viser: pip install "gs3d[view]"')


def line_about(asset) -> str:
    from gs3d.representations.asset import primitive_count

    return f"{primitive_count(asset)} {'splats' if isinstance(asset, Splats) else 'triangles'}"


def open_browser(address: str) -> None:
    """In a window. Where there are none, a browser for the terminal would take it over."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)


def wait_for_ctrl_c() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)

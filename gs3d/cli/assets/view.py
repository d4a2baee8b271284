"""`gs3d view FILE_OR_RUN`: shows splats or a mesh in the browser."""

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
from gs3d.cli.paths import warn, with_warnings
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_asset
from gs3d.io.text import encodable
from gs3d.viewer.server import listen

PORT = 8080


@dataclass(frozen=True)
class Args:
    """Show splats or a mesh in the browser, from any side, with controls for background, opacity
    and size, and a button that saves an image. A run of --mode scene is shown from inside: drag to
    look around, W, A, S and D to walk. Ctrl-C ends it. Colors of splats that change with the view
    are shown as their mean."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_RUN")]
    """A splat file, a mesh (.glb), or a run's folder. For a run, some of its training cameras are
    shown too."""
    port: int = PORT
    """Port of the server; 0 takes any free port."""
    host: str = "127.0.0.1"
    """Address of this machine to listen on. If other machines can reach it, access needs the
    random token in the printed URL, and the connection is not encrypted. It is safer to keep the
    default and connect with ssh -L 8080:localhost:8080."""
    browser: bool = True
    """Open a browser."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d view", argv)
    need_viser("gs3d view")
    asset, warnings = with_warnings(load_asset, args.file)
    warn(warnings)
    from gs3d.ops.place import WORLD, place_of
    from gs3d.runs.history import is_scene, training_cameras
    from gs3d.viewer.viewer import Viewer

    is_run, inside = args.file.is_dir(), is_scene(args.file)
    name = encodable(args.file.resolve().name if is_run else args.file.stem)
    with (
        contextlib.closing(listen(args.host, args.port)) as sock,
        contextlib.closing(
            Viewer(sock, name, WORLD if is_run else place_of(asset), inside)
        ) as viewer,
    ):
        size = line_about(asset)
        viewer.show(asset, size)
        if is_run and (cameras := training_cameras(args.file)):
            viewer.add_frusta("Cameras of the run", cameras)
        say(f"{size} at {viewer.address}; Ctrl-C ends it")
        if args.browser:
            open_browser(viewer.address)
        wait_for_ctrl_c()
    return 0


def need_viser(command: str) -> None:
    """`UserError` if viser is not installed."""
    if find_spec("viser") is None:
        raise UserError(f'{command} needs viser: pip install "gs3d[view]"')


def line_about(asset) -> str:
    """The number of splats or triangles, such as "5000 splats"."""
    from gs3d.representations.asset import primitive_count

    return f"{primitive_count(asset)} {'splats' if isinstance(asset, Splats) else 'triangles'}"


def open_browser(address: str) -> None:
    """Open a browser window. Without a display nothing is opened: a text browser would take over
    the terminal."""
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

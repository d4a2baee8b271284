"""The Python API: `generate`, `load`, and the `Scene` that both return."""

import dataclasses
import inspect
import sys
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError, with_arguments
from gs3d.core.types import Mesh, Render, Splats, TexturedMesh
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.request import Request

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, repr=False)
class Scene:
    """Splats or a mesh, from a run or a file, to render and save."""

    asset: Splats | Mesh | TexturedMesh
    folder: Path | None = None
    """Output directory of the run, for a scene of `generate`."""
    outcome: str | None = None
    """finished, interrupted, terminated, diverged or out of memory, for a scene of `generate`."""

    @property
    def splats(self) -> Splats | None:
        """None for a mesh."""
        return self.asset if isinstance(self.asset, Splats) else None

    @property
    def mesh(self) -> Mesh | TexturedMesh | None:
        """None for splats."""
        return None if isinstance(self.asset, Splats) else self.asset

    def __len__(self) -> int:
        """The number of splats or triangles."""
        from gs3d.representations.asset import primitive_count

        return primitive_count(self.asset)

    def __repr__(self) -> str:
        kind = "splats" if isinstance(self.asset, Splats) else "triangles"
        device = f" on {self.asset.means.device}" if isinstance(self.asset, Splats) else ""
        run = f", {self.outcome} run in {self.folder}" if self.folder else ""
        return f"Scene({len(self)} {kind}{device}{run})"

    def save(self, path: str | Path) -> Path:
        """Write to `path`, whose suffix picks the format. Raises `UserError` if that fails."""
        if isinstance(self.asset, Splats):
            from gs3d.io import save_splats

            save_splats(Path(path), self.asset)
        else:
            from gs3d.io.mesh import write_mesh

            write_mesh(path, self.asset)
        return Path(path)

    @torch.no_grad()
    def render(
        self,
        cameras: Cameras,
        background: tuple[float, float, float] = (1.0, 1.0, 1.0),
        normals: bool = False,
    ) -> Render:
        """Render the scene: rgb [B, H, W, 3], alpha [B, H, W, 1], depth [B, H, W, 1].

        `gs3d.ring(8, 256)` gives 8 cameras around it.
        """
        from gs3d.representations.asset import draw

        return draw(self.asset, cameras, background, normals)

    def to(self, device: str | torch.device) -> "Scene":
        """Move splats to a device. A mesh is made of numpy arrays and stays."""
        if not isinstance(self.asset, Splats):
            return self
        return dataclasses.replace(self, asset=self.asset.to(device))


def load(path: str | Path) -> Scene:
    """Read a splat file, a .glb mesh, or the result in a run's folder.

    Raises:
        UserError: The file cannot be read, or holds neither.
    """
    from gs3d.io import load_asset

    return Scene(load_asset(Path(path)))


@dataclass(frozen=True)
class Arguments(Request):
    """The arguments of `generate`."""

    _: KW_ONLY
    callbacks: Callbacks | None = None
    """Functions to call with messages and after each iteration. By default warnings become Python
    warnings, and other messages are dropped."""


def _with_arguments_of(_: Callable[P, object]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function the signature of `Arguments`, for readers, type checkers and `help`."""

    def decorate(function: Callable[..., R]) -> Callable[P, R]:
        signature = inspect.signature(Arguments).replace(return_annotation=Scene)
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorate


@_with_arguments_of(Arguments)
def generate(*args, **kwargs) -> Scene:
    """Generate splats, or a mesh, from a text prompt; the same as `gs3d generate`.

    Writes the same files and returns the scene. Besides names, `prior` and `guidance` take objects
    that follow `gs3d.Prior` and `gs3d.guidance.Guidance`. `gs3d.runs.request.Request` describes
    each argument; minutes count from this call.

    Raises:
        UserError: An argument is invalid, or something outside the program fails.
    """
    from gs3d.runs.execute import execute
    from gs3d.runs.prepare import prepare

    arguments = Arguments(*args, **kwargs)
    callbacks = arguments.callbacks or Callbacks(on_message=_warn)
    result = execute(prepare(arguments), callbacks)
    for line in result.warnings:
        callbacks.warn(line)
    if result.asset is None:
        reasons = "; ".join(result.warnings)
        raise UserError(f"{result.folder}: nothing could be exported ({reasons})")
    return Scene(result.asset, result.folder, result.outcome)


def _warn(message: Message) -> None:
    if message.is_warning:
        warnings.warn(with_arguments(message.text), stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How many frames above `_warn` the first one outside gs3d is."""
    frame, level = sys._getframe(1), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("gs3d."):
        frame, level = frame.f_back, level + 1
    return level

"""The Python API: `generate`, `load`, and the `Scene` that both return."""

import dataclasses
import inspect
import os
import sys
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from gs3d.core.cameras import Cameras
from gs3d.core.docstrings import field_texts
from gs3d.core.errors import UserError, did_you_mean, with_arguments
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
    others: tuple["Scene", ...] = ()
    """The other objects of a run with several particles."""

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

    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f"load: expected a file or a folder, got {type(path).__name__}")
    return Scene(load_asset(Path(path)))


@dataclass(frozen=True)
class Arguments(Request):
    """The arguments of `generate`."""

    _: KW_ONLY
    callbacks: Callbacks | None = None
    """Functions to call with messages and after each iteration. By default warnings become Python
    warnings, and other messages are dropped."""


def _with_arguments_of(_: Callable[P, object]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function the signature of `Arguments`, for readers, type checkers and `help`, and
    their texts in its docstring."""

    def decorate(function: Callable[..., R]) -> Callable[P, R]:
        signature = inspect.signature(Arguments).replace(return_annotation=Scene)
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__doc__ = _with_texts(function.__doc__ or "")
        return function

    return decorate


def _with_texts(doc: str) -> str:
    """`doc` with a section "Args:" from the texts below the fields of `Arguments`."""
    try:
        texts = field_texts(Arguments)
    except OSError:  # no source code here
        return doc
    wrapper = textwrap.TextWrapper(
        width=96, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False
    )
    names = inspect.signature(Arguments).parameters
    entries = "\n".join(wrapper.fill(f"{name}: {texts[name]}") for name in names)
    return inspect.cleandoc(doc).replace("Raises:", f"Args:\n{entries}\n\nRaises:")


@_with_arguments_of(Arguments)
def generate(*args, **kwargs) -> Scene:
    """Generate splats, or a mesh, from a text prompt; the same as `gs3d generate`.

    Writes the same files and returns the scene. Besides names, `prior` and `guidance` take objects
    that follow `gs3d.Prior` and `gs3d.guidance.Guidance`. Minutes count from this call.

    Raises:
        UserError: An argument is invalid, or something outside the program fails.
        TypeError: An argument is unknown or missing.
    """
    from gs3d.runs.execute import execute
    from gs3d.runs.folders import particle_folder
    from gs3d.runs.prepare import prepare

    arguments = _bound(args, kwargs)
    callbacks = arguments.callbacks or Callbacks(on_message=_warn)
    result = execute(prepare(arguments), callbacks)
    if result.asset is None:
        reasons = "; ".join(result.warnings)
        raise UserError(f"{result.folder}: nothing could be exported ({reasons})")
    others = tuple(
        Scene(asset, particle_folder(result.folder, i), result.outcome)
        for i, asset in enumerate(result.others, start=1)
        if asset is not None
    )
    return Scene(result.asset, result.folder, result.outcome, others)


def _bound(args: tuple, kwargs: dict) -> Arguments:
    """The arguments of a call of `generate`. `TypeError` as Python raises it for a function."""
    known = inspect.signature(Arguments)
    for name in kwargs:
        if name not in known.parameters:
            near = did_you_mean(name, known.parameters)
            raise TypeError(f"generate() got an unexpected keyword argument {name!r}{near}")
    try:
        known.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"generate(): {error}") from None
    arguments = Arguments(*args, **kwargs)
    if not isinstance(arguments.callbacks, (Callbacks, type(None))):
        got = type(arguments.callbacks).__name__
        raise UserError(f"callbacks: expected gs3d.Callbacks, got {got}")
    return arguments


def _warn(message: Message) -> None:
    if message.is_warning:
        warnings.warn(with_arguments(message.text), stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How many frames above `_warn` the first one outside gs3d is."""
    frame, level = sys._getframe(1), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("gs3d."):
        frame, level = frame.f_back, level + 1
    return level

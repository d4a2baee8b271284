"""Recorded calls of viewers, for tests of `gs3d generate --viewer`."""

from collections.abc import Callable

import pytest

from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.densify import DensifyConfig
from gs3d.representations.gaussians.gaussians import Gaussians

live = pytest.importorskip("gs3d.cli.runs.live")


def twenty_splats() -> Gaussians:
    return Gaussians.blob(GaussianConfig(count=20), 0, "cpu", DensifyConfig())


def recorded_calls(
    monkeypatch, method: str, then: Callable[..., None] = lambda viewer, *args: None
) -> list[tuple]:
    """A list that gets the arguments of every call of a method of `Viewer`.

    `then` is called with the viewer and the arguments after each call.
    """
    calls, real = [], getattr(live.Viewer, method)

    def wrapper(viewer, *args):
        calls.append(args)
        real(viewer, *args)
        then(viewer, *args)

    monkeypatch.setattr(live.Viewer, method, wrapper)
    return calls

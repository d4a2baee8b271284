"""gs3d: text to 3D Gaussian splats.

scene = gs3d.generate("a red mushroom with white spots", minutes=3)
scene.save("mushroom.ply")
images = gs3d.load("mushroom.ply").render(gs3d.ring(8, 256)).rgb
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gs3d.api import Scene, generate, load
    from gs3d.core.cameras import Cameras, orbit, ring
    from gs3d.core.errors import UserError
    from gs3d.core.types import Mesh, Render, Splats
    from gs3d.guidance import Cds, Guidance, GuidanceOut, Sds
    from gs3d.priors.base import Prior
    from gs3d.raster import rasterize
    from gs3d.runs.callbacks import Callbacks

__version__ = "0.2.0"
_HOME = {
    "Callbacks": "gs3d.runs.callbacks",
    "Cameras": "gs3d.core.cameras",
    "Cds": "gs3d.guidance",
    "Guidance": "gs3d.guidance",
    "GuidanceOut": "gs3d.guidance",
    "Mesh": "gs3d.core.types",
    "Prior": "gs3d.priors.base",
    "Render": "gs3d.core.types",
    "Scene": "gs3d.api",
    "Sds": "gs3d.guidance",
    "Splats": "gs3d.core.types",
    "UserError": "gs3d.core.errors",
    "generate": "gs3d.api",
    "load": "gs3d.api",
    "orbit": "gs3d.core.cameras",
    "rasterize": "gs3d.raster",
    "ring": "gs3d.core.cameras",
}
__all__ = [
    "Callbacks",
    "Cameras",
    "Cds",
    "Guidance",
    "GuidanceOut",
    "Mesh",
    "Prior",
    "Render",
    "Scene",
    "Sds",
    "Splats",
    "UserError",
    "__version__",
    "generate",
    "load",
    "orbit",
    "rasterize",
    "ring",
]


def _after_fork() -> None:
    """Use one thread in a forked child, because torch's threads do not survive a fork, and an
    operation that waits for them would never end. That holds for more threads set there, too."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    """Import a name when it is first used. torch takes over a second to import, and `gs3d --help`
    should not wait for it."""
    if name not in _HOME:
        raise AttributeError(f"module 'gs3d' has no attribute {name!r}")
    from gs3d.core.runtime.interrupts import deferred

    with deferred():
        return getattr(import_module(_HOME[name]), name)

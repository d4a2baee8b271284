"""gs3d: text in, 3D Gaussian splats out.

scene = gs3d.generate("a red mushroom with white spots", minutes=3)
scene.save("mushroom.ply")
pictures = gs3d.load("mushroom.ply").render(gs3d.ring(8, 256)).rgb
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gs3d.api import Scene, generate, load
    from gs3d.core.cameras import Cameras, orbit, ring
    from gs3d.core.errors import UserError

__version__ = "0.1.0"
__all__ = ["Cameras", "Scene", "UserError", "__version__", "generate", "load", "orbit", "ring"]

_HOME = {
    "Scene": "gs3d.api",
    "generate": "gs3d.api",
    "load": "gs3d.api",
    "Cameras": "gs3d.core.cameras",
    "orbit": "gs3d.core.cameras",
    "ring": "gs3d.core.cameras",
    "UserError": "gs3d.core.errors",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str):
    """Names are imported when first used: torch takes over a second, and `gs3d --help` should not wait for it."""
    if name not in _HOME:
        raise AttributeError(f"module 'gs3d' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

"""gs3d: text in, 3D Gaussian splats out."""

from gs3d.api import Scene, generate, load
from gs3d.core.cameras import Cameras, orbit, ring
from gs3d.core.errors import UserError

__version__ = "0.1.0"
__all__ = ["Cameras", "Scene", "UserError", "__version__", "generate", "load", "orbit", "ring"]

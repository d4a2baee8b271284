"""Settings of a radiance field: sampling, lighting, learning rates and regularizers."""

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.representations.nerf.field import FieldConfig


@dataclass(frozen=True)
class LightConfig:
    """How often a training view is lit by a random light.

    Lighting reveals the shape, so painted shadows cannot replace geometry.
    """

    lambert: float = 0.0
    """Share of the iterations lit by a light near the camera:
    albedo · (ambient + diffuse · max(0, n·l)), where diffuse = 1 − ambient."""
    textureless: float = 0.0
    """Share of the iterations lit in the same way, with a white albedo."""
    start: float = 0.1
    """Progress before which no iteration is lit, because normals are not meaningful yet."""
    ambient: float = 0.1
    """Light that comes from everywhere, of 1 in all."""

    def __post_init__(self) -> None:
        within("lambert", self.lambert, "[0, 1]")
        within("textureless", self.textureless, "[0, 1]")
        within("lambert + textureless", self.lambert + self.textureless, "[0, 1]")
        within("ambient", self.ambient, "[0, 1]")


@dataclass(frozen=True)
class NerfRegularizers:
    """Weights of the regularizers of a field.

    Each term is a mean, so its weight does not depend on the image size.
    """

    orientation: Ramp = Ramp(0.0, 0.0)
    """Weight of Σ w·max(0, n·d)² over a ray with direction d: visible surfaces face the camera
    (Verbin et al. 2022, Eq. 11). The sample weights w get no gradient from it (DreamFusion,
    App. A); otherwise the object could lower this term by becoming transparent."""
    smooth: Ramp = Ramp(0.0, 0.0)
    """Weight of the squared difference of the normals of adjacent pixels (Consistent3D, App. A)."""
    sparsity: Ramp = Ramp(0.0, 0.0)
    """Weight of `regularizers.sparsity`."""
    opaque: Ramp = Ramp(0.0, 0.0)
    """Weight of `regularizers.opaque`."""

    def __post_init__(self) -> None:
        for name in ("orientation", "smooth", "sparsity", "opaque"):
            within(name, getattr(self, name).ends, "[0, inf)")


@dataclass(frozen=True)
class NerfConfig:
    """The field, how it is rendered, and how it is optimized."""

    field: FieldConfig = FieldConfig()
    samples: int = 64
    """Samples per ray: one at a random position in each equal segment inside the unit sphere."""
    occupancy_resolution: int = 64
    """Resolution of the occupancy grid: voxels along an edge."""
    occupancy_every: int = 16
    """Iterations between two updates of the occupancy grid."""
    light: LightConfig = LightConfig()
    background_network: float = 0.0
    """Share of the iterations rendered over a learned background, a color per direction. The other
    iterations use the background of the stage, which keeps the network from painting the object.
    The learned background is not part of the exported asset."""
    regularizers: NerfRegularizers = NerfRegularizers()
    table_rate: Ramp = Ramp(1e-2, 1e-3, "exp")
    """Adam's rate for the hash grid."""
    network_rate: Ramp = Ramp(1e-3, 1e-4, "exp")
    """Adam's rate for the networks."""

    def __post_init__(self) -> None:
        for name, low in (("samples", 2), ("occupancy_resolution", 1), ("occupancy_every", 1)):
            within(name, getattr(self, name), f"[{low}, inf)")
        within("background_network", self.background_network, "[0, 1]")
        for name in ("table_rate", "network_rate"):
            within(name, getattr(self, name).ends, "[0, inf)")

    def needs_normals(self, progress: float) -> bool:
        """Return whether a regularizer that reads normals is active at `progress`."""
        r = self.regularizers
        return bool(r.orientation(progress) or r.smooth(progress))

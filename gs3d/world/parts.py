"""Solid parts that objects consist of, and their table layout for the renderer.

A part is defined in local coordinates: its center is the origin and its axis is z. It is rotated by
`rotation` and then translated to `center`.
"""

from dataclasses import dataclass, replace

import numpy as np

ELLIPSOID, BOX, CONE, TORUS, TUBE, GABLE = range(6)
PLAIN, SPOTS, STRIPES, CHECKER = range(4)
MATTE, GLOSSY, METAL = range(3)
ROW = 26
"""Floats per part in the table that the renderer reads."""
MAX_PARTS = 63
"""Parts per object: the tracer stores one bit for each in a 64-bit integer."""

Vec = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One solid with one color."""

    shape: int
    size: tuple[float, float, float]
    """Ellipsoid and box: half-extents. Cone: bottom radius, top radius, half-height.
    Torus: ring radius, tube radius, tube radius again. Tube: mean radius, half-thickness,
    half-height. Gable: half-depth (x), half-width (y), half-height (z)."""
    center: Vec
    paint: str
    """A color word, or "main" or "accent" for a color that the caption names."""
    rotation: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    rounding: float = 0.0
    patterned: bool = False
    """Whether the caption's pattern (spots, stripes or checks) is applied to it."""
    name: str = ""
    """The word for it in captions that give it its own color, such as "legs"; "" if never named."""

    def moved(self, offset: np.ndarray, scale: float) -> "Part":
        """The part after the map x → (x + offset) · scale."""
        center = tuple(float(v) for v in (np.asarray(self.center) + offset) * scale)
        return replace(
            self,
            center=center,
            size=tuple(s * scale for s in self.size),
            rounding=self.rounding * scale,
        )

    def stretched(self, factor: float) -> "Part":
        """The part after its object is stretched vertically by `factor`.

        Only upright parts change shape; others are only moved, so that wheels stay round.
        """
        x, y, z = self.center
        a, b, c = self.size
        upright = self.rotation[2][2] == 1 and self.shape != TORUS
        return replace(
            self, center=(x, y, z * factor), size=(a, b, c * factor) if upright else self.size
        )


def turn(axis: str, degrees: float) -> tuple[tuple[float, float, float], ...]:
    """Rotation matrix about the axis "x", "y" or "z", as a tuple of rows."""
    c, s = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    return {
        "x": ((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)),
        "y": ((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)),
        "z": ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)),
    }[axis]


def toward(degrees: float, far: float = 1.0) -> tuple[float, float]:
    """The point (x, y) at distance `far` from the origin and angle `degrees` from +X towards +Y."""
    return far * float(np.cos(np.radians(degrees))), far * float(np.sin(np.radians(degrees)))


def rotation(*turns) -> tuple[tuple[float, float, float], ...]:
    """The matrix product of several rotations; the last one is applied first."""
    product = np.asarray(turns[0])
    for further in turns[1:]:
        product = product @ np.asarray(further)
    return tuple((float(x), float(y), float(z)) for x, y, z in product)


def pointing(azimuth: float, down: float) -> tuple[tuple[float, float, float], ...]:
    """Rotation that tilts a part by `down` degrees towards `azimuth` (degrees from +X towards +Y).

    Afterwards the part's x axis points towards `azimuth`, `down` degrees below the horizontal. Its
    z axis is tilted in the same direction by `down` degrees from the vertical.
    """
    return rotation(turn("z", azimuth), turn("y", down))


def ball(center: Vec, radius: float | Vec, paint: str, **more) -> Part:
    """A sphere of one radius, or an ellipsoid of three half-axes."""
    size = radius if isinstance(radius, tuple) else (radius, radius, radius)
    return Part(ELLIPSOID, size, center, paint, **more)


def box(center: Vec, half: Vec, paint: str, **more) -> Part:
    """A cuboid of half-extents `half`."""
    return Part(BOX, half, center, paint, **more)


def cone(center: Vec, bottom: float, top: float, half_height: float, paint: str, **more) -> Part:
    """A capped cone along z; a cylinder if both radii are equal."""
    return Part(CONE, (bottom, top, half_height), center, paint, **more)


def torus(center: Vec, ring: float, tube_radius: float, paint: str, **more) -> Part:
    """A torus around z."""
    return Part(TORUS, (ring, tube_radius, tube_radius), center, paint, **more)


def tube(
    center: Vec, radius: float, half_thickness: float, half_height: float, paint: str, **more
) -> Part:
    """The wall of a pipe along z, open at both ends."""
    return Part(TUBE, (radius, half_thickness, half_height), center, paint, **more)


def gable(center: Vec, half: Vec, paint: str, **more) -> Part:
    """A gable roof: a triangle in the (y, z) plane, apex up, extruded along x."""
    return Part(GABLE, half, center, paint, **more)


_CIRCLE = np.stack([np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], 1)
"""16 points on the unit circle, [16, 2]."""


def _outline(part: Part) -> np.ndarray:
    """Points on the surface or convex hull of a part, [n, 3], in world coordinates.

    They are dense enough to compute bounds and bounding spheres from.
    """
    a, b, c = part.size
    if part.shape == ELLIPSOID:
        polar = np.linspace(0, np.pi, 9)
        ring = np.concatenate([np.c_[_CIRCLE * np.sin(p), np.full(16, np.cos(p))] for p in polar])
        local = ring * (a, b, c)
    elif part.shape in (BOX, GABLE):
        vertices = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        if part.shape == GABLE:
            vertices[vertices[:, 2] > 0, 1] = 0
        local = vertices * (a, b, c)
    else:
        low, high, z = {CONE: (a, b, c), TORUS: (a + b, a + b, b), TUBE: (a + b, a + b, c)}[
            part.shape
        ]
        local = np.concatenate(
            [np.c_[_CIRCLE * low, np.full(16, -z)], np.c_[_CIRCLE * high, np.full(16, z)]]
        )
    return local @ np.asarray(part.rotation).T + part.center


def bounds(parts: list[Part]) -> np.ndarray:
    """Axis-aligned bounding box of an object: minimum and maximum, [2, 3]."""
    points = np.concatenate([_outline(p) for p in parts])
    return np.stack([points.min(0), points.max(0)])


def fit_unit_sphere(parts: list[Part], radius: float = 0.97) -> list[Part]:
    """Center the bounding box of an object and scale the object to touch the sphere of `radius`."""
    points = np.concatenate([_outline(p) for p in parts])
    center = (points.min(0) + points.max(0)) / 2
    scale = radius / np.linalg.norm(points - center, axis=1).max()
    return [p.moved(-center, float(scale)) for p in parts]


def table(
    parts: list[Part],
    colors: dict[str, Vec],
    pattern: int = PLAIN,
    pattern_rgb: Vec = (0.0, 0.0, 0.0),
    material: int = MATTE,
) -> np.ndarray:
    """Convert parts to the table that the renderer reads, [P, ROW] float32.

    Columns: 0 shape, 1:4 center, 4:13 rotation (row by row), 13:16 size, 16 rounding, 17:20 color,
    20 pattern, 21:24 pattern color, 24 bounding radius around the center, 25 material.
    """
    rows = np.zeros((len(parts), ROW), np.float32)
    for row, part in zip(rows, parts, strict=True):
        row[0] = part.shape
        row[1:4] = part.center
        row[4:13] = np.asarray(part.rotation).ravel()
        row[13:16] = part.size
        row[16] = part.rounding
        row[17:20] = colors[part.paint]
        row[20] = pattern if part.patterned else PLAIN
        row[21:24] = pattern_rgb
        row[24] = np.linalg.norm(_outline(part) - part.center, axis=1).max() * 1.03
        row[25] = material
    return rows


def checked(parts: np.ndarray) -> np.ndarray:
    """`parts` as a contiguous float32 array [P, ROW]; raises ValueError for any other shape."""
    parts = np.ascontiguousarray(parts, np.float32)
    if parts.ndim != 2 or parts.shape[1] != ROW or not 1 <= len(parts) <= MAX_PARTS:
        raise ValueError(
            f"parts: expected [P, {ROW}] with 1 to {MAX_PARTS} parts, got {list(parts.shape)}"
        )
    return parts

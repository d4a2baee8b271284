"""The solids that objects are made of, and their row layout for the renderer.

A part lives in its own frame: center at the origin, axis along z; it is turned by `rotation`, then moved to `center`.
"""

from dataclasses import dataclass, replace

import numpy as np

ELLIPSOID, BOX, CONE, TORUS, TUBE, GABLE = range(6)
PLAIN, SPOTS, STRIPES, CHECKER = range(4)
MATTE, GLOSSY, METAL = range(3)
ROW = 26  # floats a part takes in the table that the renderer reads
MOST_PARTS = 63
"""Of an object: the tracer has a bit for each."""

Vec = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """One solid with one paint."""

    shape: int
    size: tuple[float, float, float]
    """ellipsoid and box: half-extents; cone: bottom radius, top radius, half-height; torus: ring radius, tube radius, the same again;
    tube: mean radius, half-thickness, half-height; gable: half-depth (x), half-width (y), half-height (z)."""
    center: Vec
    paint: str
    """A color word, or "main" / "accent" for the colors of the caption."""
    rotation: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    rounding: float = 0.0
    patterned: bool = False
    """Whether the caption's spots, stripes or checks appear on it."""
    name: str = ""
    """What a caption calls it when it has a color of its own, such as "legs"; "" for a part that is never named."""

    def moved(self, offset: np.ndarray, scale: float) -> "Part":
        """The part after x → (x + offset) · scale."""
        center = tuple(float(v) for v in (np.asarray(self.center) + offset) * scale)
        return replace(
            self,
            center=center,
            size=tuple(s * scale for s in self.size),
            rounding=self.rounding * scale,
        )

    def stretched(self, factor: float) -> "Part":
        """The part of an object made `factor` times as tall. One that does not stand upright keeps its shape: a wheel stays round."""
        x, y, z = self.center
        a, b, c = self.size
        upright = self.rotation[2][2] == 1 and self.shape != TORUS
        return replace(
            self, center=(x, y, z * factor), size=(a, b, c * factor) if upright else self.size
        )


def turn(axis: str, degrees: float) -> tuple[tuple[float, float, float], ...]:
    """Rotation matrix about one axis, rows as tuples."""
    c, s = float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))
    return {
        "x": ((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)),
        "y": ((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)),
        "z": ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)),
    }[axis]


def toward(degrees: float, far: float = 1.0) -> tuple[float, float]:
    """The point of the plane that is `far` from the middle, counted from +X to +Y."""
    return far * float(np.cos(np.radians(degrees))), far * float(np.sin(np.radians(degrees)))


def rotation(*turns) -> tuple[tuple[float, float, float], ...]:
    """The last of some rotations done first."""
    product = np.asarray(turns[0])
    for further in turns[1:]:
        product = product @ np.asarray(further)
    return tuple(tuple(float(v) for v in row) for row in product)


def pointing(azimuth: float, down: float) -> tuple[tuple[float, float, float], ...]:
    """The rotation of a part that leans by `down` degrees towards `azimuth`: so far below level its x points there, and z from upright."""
    return rotation(turn("z", azimuth), turn("y", down))


def ball(center: Vec, radius: float | Vec, paint: str, **more) -> Part:
    """A sphere, or an ellipsoid with three half-axes."""
    size = radius if isinstance(radius, tuple) else (radius, radius, radius)
    return Part(ELLIPSOID, size, center, paint, **more)


def box(center: Vec, half: Vec, paint: str, **more) -> Part:
    return Part(BOX, half, center, paint, **more)


def cone(center: Vec, bottom: float, top: float, half_height: float, paint: str, **more) -> Part:
    """A capped cone along z; a cylinder where both radii agree."""
    return Part(CONE, (bottom, top, half_height), center, paint, **more)


def torus(center: Vec, ring: float, tube_radius: float, paint: str, **more) -> Part:
    return Part(TORUS, (ring, tube_radius, tube_radius), center, paint, **more)


def tube(
    center: Vec, radius: float, half_thickness: float, half_height: float, paint: str, **more
) -> Part:
    """A pipe wall along z, open at both ends."""
    return Part(TUBE, (radius, half_thickness, half_height), center, paint, **more)


def gable(center: Vec, half: Vec, paint: str, **more) -> Part:
    """A roof: a triangle in (y, z) with its ridge up, drawn out along x."""
    return Part(GABLE, half, center, paint, **more)


_CIRCLE = np.stack([np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], 1)


def _outline(part: Part) -> np.ndarray:
    """Points on the hull of a part in the world, [n, 3], dense enough to frame an object with."""
    a, b, c = part.size
    if part.shape == ELLIPSOID:
        polar = np.linspace(0, np.pi, 9)
        ring = np.concatenate([np.c_[_CIRCLE * np.sin(p), np.full(16, np.cos(p))] for p in polar])
        local = ring * (a, b, c)
    elif part.shape in (BOX, GABLE):
        corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
        if part.shape == GABLE:
            corners[corners[:, 2] > 0, 1] = 0
        local = corners * (a, b, c)
    else:
        low, high, z = {CONE: (a, b, c), TORUS: (a + b, a + b, b), TUBE: (a + b, a + b, c)}[
            part.shape
        ]
        local = np.concatenate(
            [np.c_[_CIRCLE * low, np.full(16, -z)], np.c_[_CIRCLE * high, np.full(16, z)]]
        )
    return local @ np.asarray(part.rotation).T + part.center


def bounds(parts: list[Part]) -> np.ndarray:
    """Lowest and highest corner of the box around the object, [2, 3]."""
    points = np.concatenate([_outline(p) for p in parts])
    return np.stack([points.min(0), points.max(0)])


def fit_unit_sphere(parts: list[Part], radius: float = 0.97) -> list[Part]:
    """The same object centered on its bounding box and scaled to touch the sphere of `radius` around the origin."""
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
    """Parts as the renderer reads them, [P, ROW] float32.

    Columns: 0 shape, 1:4 center, 4:13 rotation (rows), 13:16 size, 16 rounding, 17:20 color, 20 pattern, 21:24 pattern color,
    24 bounding radius around the center, 25 material.
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
    """A table as the tracer reads it, [P, ROW] float32 in one piece. ValueError unless it can be one."""
    parts = np.ascontiguousarray(parts, np.float32)
    if parts.ndim != 2 or parts.shape[1] != ROW or not 1 <= len(parts) <= MOST_PARTS:
        raise ValueError(
            f"parts: expected [P, {ROW}] with 1 to {MOST_PARTS} parts, got {list(parts.shape)}"
        )
    return parts

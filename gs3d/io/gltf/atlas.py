"""The textures of several materials as one: each becomes a tile, continued as far as it is used."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gs3d.io.gltf.images import KEPT_PIXELS
from gs3d.io.gltf.materials import CLAMP, LINEAR, MIRROR, Material, Texture, texels, wrapped
from gs3d.ops.srgb import to_srgb

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

BORDER = 2
"""Texels that repeat the edge of a tile, so that its neighbors do not shine through."""
PLAIN_PX = 2
"""Side of a tile of one color."""
ALMOST = 1e-4
"""How far coordinates may lie beyond a texture by rounding."""
FAR, MAX_REPEATS = 1e6, 2**16
"""Coordinates, and a number of repetitions, beyond which a texture is its mean color."""


@dataclass(frozen=True, eq=False)
class Place:
    """Texture coordinates of a part in its tile."""

    tile: int
    uvs: Float[np.ndarray, "V 2"]
    """In [0, 1] across the tile."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A material over a range of texture coordinates."""

    material: Material
    low: Float[np.ndarray, " 2"]
    times: Float[np.ndarray, " 2"]
    """How often the image lies side by side, across and down. 0 for one color."""
    glow_map: Float[np.ndarray, "2 3"] | None
    """From coordinates in the main image to those in the image that glows; None for its mean."""

    @property
    def main(self) -> Texture | None:
        return self.material.base or self.material.glow

    def size(self) -> tuple[int, int]:
        """Rows and columns at full size."""
        if self.main is None or not self.times.all():
            return PLAIN_PX, PLAIN_PX
        shapes = [self.main.picture.pixels.shape]
        if self.material.glow is not None and self.glow_map is not None:
            shapes.append(self.material.glow.picture.pixels.shape)
        height, width = (max(shape[axis] for shape in shapes) for axis in (0, 1))
        return int(height * self.times[1]), int(width * self.times[0])

    def draw(self, out: Float32[np.ndarray, "H W 3"], share: float) -> None:
        """Fill `out`, sRGB; `share` is by how much the images are shrunk."""
        material, main = self.material, self.main
        if main is None or not self.times.all():
            out[:] = _shown(material, *(_mean(t) for t in (material.base, material.glow)))
            return
        height, width = out.shape[:2]
        u = self.low[0] + (np.arange(width) + 0.5) / width * self.times[0]
        v = self.low[1] + (np.arange(height) + 0.5) / height * self.times[1]
        pixels = main.picture.shrunk(share).pixels
        columns = wrapped(texels(u, pixels.shape[1]), pixels.shape[1], main.wrap[0])
        rows = wrapped(texels(v, pixels.shape[0]), pixels.shape[0], main.wrap[1])
        unchanged = np.all(material.factor == 1) and not material.emission.any()
        if material.base is not None and unchanged:
            for y in range(height):
                out[y] = pixels[rows[y], columns] / np.float32(255)
            return
        base, glow = _mean(material.base), _mean(material.glow)
        for y in range(height):
            if material.base is not None:
                base = LINEAR[pixels[rows[y], columns]]
            if material.glow is not None and self.glow_map is not None:
                uvs = np.stack([u, np.full(width, v[y])], axis=1)
                uvs = uvs @ self.glow_map[:, :2].T + self.glow_map[:, 2]
                glow = material.glow.linear_at(uvs)
            out[y] = _shown(material, base, glow)


class Atlas:
    """Collects tiles, then puts them side by side; `notes` collects what is not as in the file."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._tiles: list[Tile] = []
        self._boxes: list[tuple[int, int, int, int]] = []
        self._known: dict[tuple, int] = {}
        self._size = (1, 1)

    def add(self, material: Material, uvs: Float[np.ndarray, "V 2"] | None, count: int) -> Place:
        """Add what a part of `count` vertices needs of its material.

        `uvs` are coordinates in its main image: the base, or else what glows.
        """
        main = material.base or material.glow
        if main is None or uvs is None:
            return self._plain(material, count)
        if material.base is None or material.glow is None:
            # Beyond its borders a clamped image repeats its edge.
            ends = [(0, 1) if mode == CLAMP else (-np.inf, np.inf) for mode in main.wrap]
            uvs = uvs.clip(*np.transpose(ends))
        low, high = np.floor(uvs.min(axis=0) + ALMOST), np.ceil(uvs.max(axis=0) - ALMOST)
        high = np.maximum(high, low + 1)
        if not np.abs([low, high]).max() < FAR or (high - low).prod() > MAX_REPEATS:
            self._notes.append(
                "texture coordinates are NaN, or repeat a texture very often; it is its mean color"
            )
            return self._plain(material, count)
        start, glow_map = self._reduced(material, low), _glow_map(material)
        tile = Tile(material, start, high - low, glow_map)
        if material.glow is not None and glow_map is None:
            self._notes.append("a texture of emission lies apart from the other; it is its mean")
        key = (_looks(material), *start.tolist(), *(high - low).tolist())
        return Place(self._number(key, tile), ((uvs - low) / (high - low)).clip(0, 1))

    def texture(self) -> Float32[np.ndarray, "H W 3"]:
        """All tiles in one image, shrunk if it would be larger than what is kept."""
        border = BORDER if len(self._tiles) > 1 else 0
        sizes = [tile.size() for tile in self._tiles]
        most = _most(sizes, KEPT_PIXELS)
        while True:
            shares = [min(1.0, math.sqrt(most / (height * width))) for height, width in sizes]
            scaled = [_scaled(size, share) for size, share in zip(sizes, shares, strict=True)]
            self._boxes, self._size = _packed(scaled, border)
            if self._size[0] * self._size[1] <= KEPT_PIXELS or most < 1:
                break
            # What is left free between the tiles, and their borders, need room too.
            most *= 0.9
        if shrunk := sum(share < 1 for share in shares):
            least = 100 * min(shares)
            self._notes.append(
                f"{shrunk} of its textures are shrunk, to {least:.0f} % of their size or more"
            )
        texture = np.zeros((*self._size, 3), np.float32)
        tiles = zip(self._tiles, self._boxes, shares, strict=True)
        for tile, (top, left, height, width), share in tiles:
            inner = texture[top : top + height, left : left + width]
            tile.draw(inner, share)
            if border:
                _spread(texture, top, left, height, width, border)
        return texture

    def uvs(self, place: Place) -> Float[np.ndarray, "V 2"]:
        """Coordinates of a part in `texture`, which must have been made."""
        top, left, height, width = self._boxes[place.tile]
        return (place.uvs * (width, height) + (left, top)) / self._size[::-1]

    def _plain(self, material: Material, count: int) -> Place:
        tile = Tile(material, np.zeros(2), np.zeros(2), None)
        return Place(self._number((_looks(material),), tile), np.full((count, 2), 0.5))

    def _reduced(self, material: Material, low: np.ndarray) -> np.ndarray:
        """Where a tile begins, less whole repetitions of the image."""
        main = material.base or material.glow
        assert main is not None
        if material.base is not None and material.glow is not None:
            return low
        periods = [{CLAMP: 0, MIRROR: 2}.get(mode, 1) for mode in main.wrap]
        return np.array([x % p if p else x for x, p in zip(low, periods, strict=True)])

    def _number(self, key: tuple, tile: Tile) -> int:
        if key not in self._known:
            self._known[key] = len(self._tiles)
            self._tiles.append(tile)
        return self._known[key]


def _looks(material: Material) -> tuple:
    """What two materials that look the same have in common."""
    textures = [
        None
        if t is None
        else (
            id(t.picture),
            t.texcoord,
            t.wrap,
            None if t.transform is None else t.transform.tobytes(),
        )
        for t in (material.base, material.glow)
    ]
    return (*textures, material.factor.tobytes(), material.emission.tobytes())


def _glow_map(material: Material) -> np.ndarray | None:
    """From coordinates in the base image to those in the image that glows.

    None if they have different sets of texture coordinates.
    """
    base, glow = material.base, material.glow
    if base is None or glow is None:
        return np.eye(2, 3)
    if base.texcoord != glow.texcoord:
        return None
    matrices = [
        np.eye(3) if t.transform is None else np.vstack([t.transform, [0, 0, 1]])
        for t in (base, glow)
    ]
    if abs(np.linalg.det(matrices[0])) < 1e-12:
        return None
    return (matrices[1] @ np.linalg.inv(matrices[0]))[:2]


def _mean(texture: Texture | None) -> np.ndarray:
    return np.ones((1, 3)) if texture is None else texture.linear_at(None)


def _shown(material: Material, base: np.ndarray, glow: np.ndarray) -> np.ndarray:
    """sRGB colors from linear ones of the images."""
    return to_srgb((base * material.factor + glow * material.emission).clip(0, 1))


def _scaled(size: tuple[int, int], share: float) -> tuple[int, int]:
    return max(round(size[0] * share), 1), max(round(size[1] * share), 1)


def _most(sizes: list[tuple[int, int]], total: float) -> float:
    """The area to which the largest tiles must shrink so that all have no more than `total`."""
    areas = sorted(float(height * width) for height, width in sizes)
    for i, area in enumerate(areas):
        even = total / (len(areas) - i)
        if area > even:
            return even
        total -= area
    return max(areas)


def _packed(
    sizes: list[tuple[int, int]], border: int
) -> tuple[list[tuple[int, int, int, int]], tuple[int, int]]:
    """Boxes (top, left, height, width) on shelves, without their borders, and the size of all."""
    padded = [(h + 2 * border, w + 2 * border) for h, w in sizes]
    area = sum(h * w for h, w in padded)
    across = max(math.isqrt(area), *(w for _, w in padded))
    boxes: dict[int, tuple[int, int, int, int]] = {}
    row, column, shelf, used = 0, 0, 0, 0
    for i in sorted(range(len(sizes)), key=lambda i: -padded[i][0]):
        height, width = padded[i]
        if column + width > across:
            row, column, shelf = row + shelf, 0, 0
        boxes[i] = (row + border, column + border, *sizes[i])
        column, shelf = column + width, max(shelf, height)
        used = max(used, column)
    return [boxes[i] for i in range(len(sizes))], (row + shelf, used)


def _spread(texture: np.ndarray, top: int, left: int, height: int, width: int, border: int) -> None:
    """Repeat the edge of a tile around it."""
    bottom, right = top + height, left + width
    texture[top:bottom, left - border : left] = texture[top:bottom, left : left + 1]
    texture[top:bottom, right : right + border] = texture[top:bottom, right - 1 : right]
    wide = slice(left - border, right + border)
    texture[top - border : top, wide] = texture[top : top + 1, wide]
    texture[bottom : bottom + border, wide] = texture[bottom - 1 : bottom, wide]

"""Several textures as one: each becomes a tile of it, continued as far as it is used."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.io.gltf.materials import MAX_TEXTURE_PIXELS, Material, to_srgb, wrapped

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


class Atlas:
    """Collects tiles, then puts them side by side."""

    def __init__(self) -> None:
        self._tiles: list[np.ndarray] = []
        self._corners: list[tuple[int, int]] = []
        self._known: dict[tuple, int] = {}
        self._size = (1, 1)

    def add(self, material: Material, uvs: Float[np.ndarray, "V 2"] | None, count: int) -> Place:
        """Add what a part of `count` vertices needs of its material."""
        if material.image is None or uvs is None:
            color = to_srgb(np.clip(material.factor + material.emission, 0, 1))
            image = np.broadcast_to(color, (PLAIN_PX, PLAIN_PX, 3))
            return Place(self._tile((id(material), None), image), np.full((count, 2), 0.5))
        low, high = np.floor(uvs.min(axis=0) + ALMOST), np.ceil(uvs.max(axis=0) - ALMOST)
        high = np.maximum(high, low + 1)
        if not np.abs([low, high]).max() < FAR or (high - low).prod() > MAX_REPEATS:
            image = material.image.mean(axis=(0, 1), keepdims=True)
            return Place(self._tile((id(material), None), image), np.full((count, 2), 0.5))
        key = (id(material), *low.tolist(), *high.tolist())
        tile = self._known.get(key)
        if tile is None:
            image = _continued(material, low.astype(np.int64), high.astype(np.int64))
            tile = self._tile(key, image)
        return Place(tile, ((uvs - low) / (high - low)).clip(0, 1))

    def texture(self, path: Path) -> Float32[np.ndarray, "H W 3"]:
        """All tiles in one image. UserError if that would be larger than what is read."""
        if len(self._tiles) == 1:
            self._corners, self._size = [(0, 0)], self._tiles[0].shape[:2]
            return np.ascontiguousarray(self._tiles[0], np.float32)
        padded = [_padded(tile) for tile in self._tiles]
        order = sorted(range(len(padded)), key=lambda i: -padded[i].shape[0])
        area = sum(tile.shape[0] * tile.shape[1] for tile in padded)
        width = max(math.isqrt(area), *(tile.shape[1] for tile in padded))
        corners, row, column, shelf = {}, 0, 0, 0
        for i in order:
            height, across = padded[i].shape[:2]
            if column + across > width:
                row, column, shelf = row + shelf, 0, 0
            corners[i] = (row, column)
            column, shelf = column + across, max(shelf, height)
        height = row + shelf
        if height * width > MAX_TEXTURE_PIXELS:
            raise UserError(
                f"cannot read {path}: its textures together have {height * width / 1e6:.0f} "
                f"megapixels, expected at most {MAX_TEXTURE_PIXELS / 1e6:.0f}. Make them smaller."
            )
        self._corners = [corners[i] for i in range(len(padded))]
        self._size = (height, width)
        texture = np.zeros((height, width, 3), np.float32)
        for (top, left), tile in zip(self._corners, padded, strict=True):
            texture[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        return texture

    def uvs(self, place: Place) -> Float[np.ndarray, "V 2"]:
        """Coordinates of a part in `texture`, which must have been made."""
        rows, columns = self._tiles[place.tile].shape[:2]
        border = BORDER if len(self._tiles) > 1 else 0
        top, left = self._corners[place.tile]
        pixels = place.uvs * (columns, rows) + (left + border, top + border)
        return pixels / self._size[::-1]

    def _tile(self, key: tuple, image: np.ndarray) -> int:
        if key not in self._known:
            self._known[key] = len(self._tiles)
            self._tiles.append(image)
        return self._known[key]


def _continued(material: Material, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The image of a material over the range of coordinates from `low` to `high`."""
    image = material.image
    assert image is not None
    times = high - low
    texels = np.array(image.shape[1::-1]) * times
    # A texture that is repeated very often is made smaller, so that all of it fits.
    if (shrink := math.sqrt(float(texels.prod()) / MAX_TEXTURE_PIXELS)) > 1:
        size = np.maximum(np.array(image.shape[1::-1]) / shrink, 1).astype(int)
        pixels = Image.fromarray((image * 255 + 0.5).astype(np.uint8))
        image = np.asarray(pixels.resize(tuple(size.tolist())), np.float32) / 255
    height, width = image.shape[:2]
    columns = wrapped(np.arange(width * times[0]) + low[0] * width, width, material.wrap[0])
    rows = wrapped(np.arange(height * times[1]) + low[1] * height, height, material.wrap[1])
    return image[rows[:, None], columns[None]]


def _padded(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")

"""Materials of glTF: the color that they give a surface without light."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gs3d.io.gltf.container import Glb
from gs3d.io.gltf.extensions import extension
from gs3d.io.gltf.images import Picture, Pictures
from gs3d.ops.srgb import to_linear

if TYPE_CHECKING:
    from jaxtyping import Float

REPEAT, MIRROR, CLAMP = 10497, 33648, 33071
"""Ways to continue a texture beyond its borders."""
LINEAR = to_linear(np.arange(256) / 255)
"""Linear values of bytes in sRGB."""
OPAQUE_FROM = 254.5 / 255
"""Opacity that counts as 1 where a part is blended."""


@dataclass(frozen=True, eq=False)
class Texture:
    """An image, and where it lies on a surface."""

    picture: Picture
    texcoord: int = 0
    """Number of the set of texture coordinates."""
    wrap: tuple[int, int] = (REPEAT, REPEAT)
    """Across and down."""
    transform: Float[np.ndarray, "2 3"] | None = None
    """Of texture coordinates (KHR_texture_transform)."""

    def placed(self, uvs: Float[np.ndarray, "V 2"]) -> Float[np.ndarray, "V 2"]:
        """Coordinates in the image, from those of a surface."""
        if self.transform is None:
            return uvs
        return uvs @ self.transform[:, :2].T + self.transform[:, 2]

    def linear_at(self, uvs: Float[np.ndarray, "V 2"] | None) -> Float[np.ndarray, "V 3"]:
        """Linear colors at coordinates in the image; the mean of it without coordinates."""
        pixels = self.picture.pixels
        if uvs is None:
            return np.array([[LINEAR[pixels[..., c]].mean() for c in range(3)]])
        height, width = pixels.shape[:2]
        columns = wrapped(texels(uvs[..., 0], width), width, self.wrap[0])
        rows = wrapped(texels(uvs[..., 1], height), height, self.wrap[1])
        return LINEAR[pixels[rows, columns]]


@dataclass(frozen=True, eq=False)
class Material:
    """What a surface looks like without light: factor × base + emission × glow, linear."""

    factor: Float[np.ndarray, " 3"]
    emission: Float[np.ndarray, " 3"]
    base: Texture | None = None
    glow: Texture | None = None
    alpha: float = 1.0
    """Opacity, a factor of that of `base`."""
    mode: str = "OPAQUE"
    """OPAQUE; MASK, which shows what is at least `cutoff` opaque; or BLEND."""
    cutoff: float = 0.5
    transmission: float = 0.0
    """Share of the light that passes through."""

    def times(self, color: Float[np.ndarray, " 3"]) -> Material:
        """The material with its base color multiplied by a linear color."""
        same = np.allclose(color, 1, atol=1e-3)
        return self if same else replace(self, factor=self.factor * color)

    def opacity(self, alphas: Float[np.ndarray, " V"] | None) -> tuple[float, float]:
        """Least and largest opacity of a part whose vertices have `alphas`."""
        if self.mode == "OPAQUE":
            return 1.0, 1.0
        low, high = (1.0, 1.0) if alphas is None else (alphas.min(), alphas.max())
        image = (1.0, 1.0) if self.base is None else self.base.picture.alpha
        least, most = self.alpha * low * image[0], self.alpha * high * image[1]
        if self.mode == "MASK":
            return float(least >= self.cutoff), float(most >= self.cutoff)
        return float(least), float(most)


def texels(coordinates: np.ndarray, size: int) -> np.ndarray:
    """Indices of the texels at coordinates, of which 0 to 1 lie in the image."""
    return np.floor(coordinates * size).astype(np.int64)


def wrapped(index: np.ndarray, size: int, mode: int) -> np.ndarray:
    """Indices into `size` texels, from indices that may lie beyond them."""
    if mode == CLAMP:
        return index.clip(0, size - 1)
    if mode == MIRROR:
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    return index % size


def material_of(glb: Glb, pictures: Pictures, index: object) -> Material:
    """The material `index`; white if it is None."""
    if index is None:
        return Material(np.ones(3), np.zeros(3))
    entry = glb.entry("materials", index)
    base = entry.get("pbrMetallicRoughness")
    base = base if isinstance(base, dict) else {}
    names = ("baseColorFactor", "baseColorTexture")
    if (older := extension(entry, "KHR_materials_pbrSpecularGlossiness")) is not None:
        base, names = older, ("diffuseFactor", "diffuseTexture")
    rgba = glb.numbers(base, names[0], (1.0,) * 4)
    emission = glb.numbers(entry, "emissiveFactor", (0.0,) * 3)
    strength = extension(entry, "KHR_materials_emissive_strength") or {}
    emission = emission * glb.numbers(strength, "emissiveStrength", 1.0)
    through = extension(entry, "KHR_materials_transmission") or {}
    return Material(
        rgba[:3].clip(0, 1),
        emission.clip(0, None),
        _texture(glb, pictures, base.get(names[1])),
        _texture(glb, pictures, entry.get("emissiveTexture")) if emission.any() else None,
        float(rgba[3].clip(0, 1)),
        mode if (mode := entry.get("alphaMode")) in ("MASK", "BLEND") else "OPAQUE",
        float(glb.numbers(entry, "alphaCutoff", 0.5)),
        float(glb.numbers(through, "transmissionFactor", 0.0)),
    )


def _texture(glb: Glb, pictures: Pictures, info: Any) -> Texture | None:
    """The texture that a material names; None without one."""
    picture = pictures.of_texture(info)
    if picture is None:
        return None
    texture = glb.entry("textures", info.get("index"))
    wrap = (REPEAT, REPEAT)
    if "sampler" in texture:
        sampler = glb.entry("samplers", texture["sampler"])
        across, down = (sampler.get(name, REPEAT) for name in ("wrapS", "wrapT"))
        wrap = (_wrap(across), _wrap(down))
    texcoord = _whole(info.get("texCoord"))
    change = extension(info, "KHR_texture_transform")
    if change is None:
        return Texture(picture, texcoord, wrap)
    offset = glb.numbers(change, "offset", (0.0,) * 2)
    scale = glb.numbers(change, "scale", (1.0,) * 2)
    angle = float(glb.numbers(change, "rotation", 0.0))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    transform = np.column_stack([rotation * scale, offset])
    return Texture(picture, _whole(change.get("texCoord", texcoord)), wrap, transform)


def _wrap(mode: object) -> int:
    return mode if type(mode) is int and mode in (REPEAT, MIRROR, CLAMP) else REPEAT


def _whole(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0

"""Materials of glTF: the color that they give a surface without light."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.io.gltf.container import get_entry, invalid_glb, read_bytes, short_text
from gs3d.io.gltf.extensions import extension, unread_extension

if TYPE_CHECKING:
    from jaxtyping import Float

MAX_TEXTURE_PIXELS = 8192**2
"""Largest texture that is read: also the largest that `PaintedMesh.textured` creates."""
REPEAT, MIRROR, CLAMP = 10497, 33648, 33071
"""Ways to continue a texture beyond its borders."""
CLEAR = 0.5
"""Alpha of a factor below which a part counts as transparent."""


@dataclass(frozen=True, eq=False)
class Material:
    """What a surface looks like without light: `factor` × texture + emission, linear."""

    factor: Float[np.ndarray, " 3"]
    emission: Float[np.ndarray, " 3"]
    """Of the factor alone, where the texture emits nothing."""
    image: Float[np.ndarray, "H W 3"] | None = None
    """sRGB; factor and emission are in it already."""
    texcoord: int = 0
    """Number of the set of texture coordinates."""
    wrap: tuple[int, int] = (REPEAT, REPEAT)
    """Across and down."""
    transform: Float[np.ndarray, "2 3"] | None = None
    """Of texture coordinates (KHR_texture_transform)."""
    is_transparent: bool = False

    def times(self, color: Float[np.ndarray, " 3"]) -> Material:
        """The material with its base color multiplied by a linear color."""
        if np.allclose(color, 1, atol=1e-3):
            return self
        image = self.image
        if image is not None:
            image = _lit(image, color, self.emission * (1 - color))
        return replace(self, factor=self.factor * color, image=image)

    def placed(self, uvs: Float[np.ndarray, "V 2"]) -> Float[np.ndarray, "V 2"]:
        """Texture coordinates in the image."""
        if self.transform is None:
            return uvs
        return uvs @ self.transform[:, :2].T + self.transform[:, 2]

    def linear_at(
        self, uvs: Float[np.ndarray, "V 2"] | None, count: int
    ) -> Float[np.ndarray, "V 3"]:
        """Linear base color of `count` vertices, without the emission."""
        if self.image is None or uvs is None:
            return np.broadcast_to(self.factor, (count, 3))
        height, width = self.image.shape[:2]
        columns = wrapped(np.floor(uvs[:, 0] * width).astype(np.int64), width, self.wrap[0])
        rows = wrapped(np.floor(uvs[:, 1] * height).astype(np.int64), height, self.wrap[1])
        return to_linear(self.image[rows, columns]) - self.emission


def wrapped(index: np.ndarray, size: int, mode: int) -> np.ndarray:
    """Indices into `size` texels, from indices that may lie beyond them."""
    if mode == CLAMP:
        return index.clip(0, size - 1)
    if mode == MIRROR:
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    return index % size


def material_of(path: Path, tree: dict, start: int, length: int, index: object) -> Material:
    """The material `index`; white if it is None. `start` and `length` are of the binary chunk."""
    if index is None:
        return Material(np.ones(3), np.zeros(3))
    entry = get_entry(path, tree, "materials", index)
    base = entry.get("pbrMetallicRoughness")
    base = base if isinstance(base, dict) else {}
    names = ("baseColorFactor", "baseColorTexture")
    if (older := extension(entry, "KHR_materials_pbrSpecularGlossiness")) is not None:
        base, names = older, ("diffuseFactor", "diffuseTexture")
    rgba = _numbers(path, base, names[0], (1.0,) * 4)
    emission = _numbers(path, entry, "emissiveFactor", (0.0,) * 3)
    strength = extension(entry, "KHR_materials_emissive_strength") or {}
    emission = emission * _numbers(path, strength, "emissiveStrength", 1.0)
    transparent = entry.get("alphaMode", "OPAQUE") == "BLEND" and rgba[3] < CLEAR
    material = Material(rgba[:3], emission, is_transparent=bool(transparent))
    info, glow = base.get(names[1]), entry.get("emissiveTexture")
    read = (path, tree, start, length)
    image = _image(*read, info)
    light = _image(*read, glow) if emission.any() else None
    if image is None and light is None:
        return material
    if image is None:
        image, info = np.ones((1, 1, 3)), glow
    if light is not None:
        light = to_linear(_resized(light, image.shape[:2])) * emission
        image = _resized(image, light.shape[:2])
    return replace(
        material,
        image=_lit(image, rgba[:3], emission if light is None else light),
        emission=emission if light is None else np.zeros(3),
        **_placement(path, tree, info),
    )


def _placement(path: Path, tree: dict, info: Any) -> dict[str, Any]:
    """Set of texture coordinates, wrapping and transform of a texture."""
    placement: dict[str, Any] = {"texcoord": _whole(info.get("texCoord"))}
    texture = get_entry(path, tree, "textures", info.get("index"))
    if "sampler" in texture:
        sampler = get_entry(path, tree, "samplers", texture["sampler"])
        wrap = (sampler.get("wrapS", REPEAT), sampler.get("wrapT", REPEAT))
        placement["wrap"] = tuple(w if w in (REPEAT, MIRROR, CLAMP) else REPEAT for w in wrap)
    if (change := extension(info, "KHR_texture_transform")) is not None:
        offset = _numbers(path, change, "offset", (0.0,) * 2)
        scale = _numbers(path, change, "scale", (1.0,) * 2)
        angle = float(_numbers(path, change, "rotation", 0.0))
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, sin], [-sin, cos]])
        placement["transform"] = np.column_stack([rotation * scale, offset])
        placement["texcoord"] = _whole(change.get("texCoord", info.get("texCoord")))
    return placement


def _image(path: Path, tree: dict, start: int, length: int, info: object) -> np.ndarray | None:
    """The image of a texture, sRGB [H, W, 3]; None without a texture."""
    if not isinstance(info, dict):
        return None
    texture = get_entry(path, tree, "textures", info.get("index"))
    webp = extension(texture, "EXT_texture_webp")
    source = texture.get("source") if webp is None else webp.get("source")
    if source is None:
        if extension(texture, "KHR_texture_basisu") is not None:
            raise unread_extension(path, "KHR_texture_basisu")
        return None
    entry = get_entry(path, tree, "images", source)
    uri = entry.get("uri")
    if isinstance(uri, str) and uri.startswith("data:"):
        data = base64.b64decode(uri.partition(",")[2])
    elif uri is not None:
        raise UserError(
            f"cannot read {path}: its texture is in another file ({short_text(uri)}). "
            "Save it as one .glb."
        )
    else:
        data = read_bytes(path, tree, start, length, entry.get("bufferView"))
    try:
        with Image.open(io.BytesIO(data)) as image:
            # A small file can hold a huge image of a single color.
            if image.width * image.height > MAX_TEXTURE_PIXELS:
                raise UserError(
                    f"cannot read {path}: expected a texture up to 8192 × 8192, "
                    f"got {image.width} × {image.height}."
                )
            return np.asarray(image.convert("RGB"), np.float32) / 255
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, UserError):
            raise
        raise invalid_glb(path, f"a texture cannot be read ({str(error)[:100]})") from None


def _lit(image: np.ndarray, factor: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The image times a linear factor plus linear light, row by row, sRGB."""
    if np.all(factor == 1) and not light.any():
        return image
    light = np.broadcast_to(light.astype(np.float32), image.shape)
    result = np.empty(image.shape, np.float32)
    for row in range(len(image)):
        linear = to_linear(image[row]) * factor + light[row]
        result[row] = to_srgb(np.clip(linear, 0, 1))
    return result


def _resized(image: np.ndarray, least: tuple[int, int]) -> np.ndarray:
    """The image, enlarged to at least `least` rows and columns."""
    rows, columns = (max(a, b) for a, b in zip(image.shape[:2], least, strict=True))
    if (rows, columns) == image.shape[:2]:
        return image
    pixels = Image.fromarray((image * 255 + 0.5).astype(np.uint8))
    return np.asarray(pixels.resize((columns, rows), Image.Resampling.BILINEAR), np.float32) / 255


def _numbers(path: Path, entry: dict, name: str, default: tuple[float, ...] | float) -> np.ndarray:
    """Finite numbers of a JSON object."""
    value = entry.get(name, default)
    try:
        numbers = np.asarray(value, np.float64)
        valid = numbers.shape == np.shape(default) and bool(np.isfinite(numbers).all())
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise invalid_glb(path, f"{name}: expected finite numbers, got {short_text(value)}")
    return numbers


def _whole(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0


def to_linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    high = 1.055 * np.clip(linear, 1e-9, None) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, linear * 12.92, high)

"""Images of a glTF file, each decoded once."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from gs3d.core.errors import UserError, shown
from gs3d.io.gltf.arrays import data_of, read_bytes
from gs3d.io.gltf.container import Glb
from gs3d.io.gltf.extensions import extension, unread_extension

if TYPE_CHECKING:
    from jaxtyping import UInt8

MAX_PIXELS = 8192**2
"""Largest image that is decoded."""
MAX_WEBP_PIXELS = 8192 * 4096
"""The same for WebP, whose decoder takes twice the memory."""
MAX_ALL_PIXELS = 2**30
"""Largest sum of the pixels of the images that are decoded, which limits the time: a kilobyte can
hold a million pixels of one color."""
KEPT_PIXELS = 4096**2
"""Pixels up to which an image, and a texture of several, are kept. Larger ones are shrunk."""
ALL_PIXELS, SMALL_PIXELS = 2**26, 256**2
"""Pixels of the images of a file together, beyond which each is shrunk to `SMALL_PIXELS`."""
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, sRGB, and the range of its opacity."""

    pixels: UInt8[np.ndarray, "H W 3"]
    alpha: tuple[float, float]
    """Least and largest, in [0, 1]."""

    def shrunk(self, share: float) -> Picture:
        """The image with its sides multiplied by `share`, to at least one pixel."""
        if share >= 1:
            return self
        size = tuple(max(round(side * share), 1) for side in self.pixels.shape[1::-1])
        small = Image.fromarray(self.pixels).resize(size, Image.Resampling.BOX)
        return Picture(np.asarray(small), self.alpha)


class Pictures:
    """The images of a file; `notes` collects what is not as in the file."""

    def __init__(self, glb: Glb, notes: list[str]) -> None:
        self._glb, self._notes = glb, notes
        self._known: dict[object, Picture] = {}
        self._used = self._decoded_pixels = 0

    def of_texture(self, info: object) -> Picture | None:
        """The image of a texture; None without one."""
        if not isinstance(info, dict):
            return None
        texture = self._glb.entry("textures", info.get("index"))
        webp = extension(texture, "EXT_texture_webp")
        source = texture.get("source") if webp is None else webp.get("source")
        if source is None:
            if extension(texture, "KHR_texture_basisu") is not None:
                raise unread_extension(self._glb.path, "KHR_texture_basisu")
            others = texture.get("extensions")
            names = ", ".join(map(str, others)) if isinstance(others, dict) else ""
            self._notes.append(
                f"a texture has no image that is read ({shown(names, 60) or 'no source'})"
            )
            return None
        entry = self._glb.entry("images", source)
        # Several entries may have the same bytes.
        place = source if "uri" in entry else ("bufferView", entry.get("bufferView"))
        if place not in self._known:
            self._known[place] = self._decoded(entry)
        return self._known[place]

    def _decoded(self, entry: dict) -> Picture:
        glb = self._glb
        if "uri" in entry:
            data = data_of(glb, entry["uri"], "texture")
        else:
            data = read_bytes(glb, entry.get("bufferView"))
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                self._check_pixels(image)
                return self._kept(image)
        # Pillow's decoders raise many kinds of errors for damaged data.
        except Exception as error:
            if isinstance(error, UserError):
                raise
            reason = "" if isinstance(error, UnidentifiedImageError) else f" ({shown(error, 100)})"
            raise glb.fault(
                f"a texture cannot be read{reason}; expected {', '.join(FORMATS)}"
            ) from None

    def _check_pixels(self, image: Any) -> None:
        """UserError for an image that is too large to be decoded. A small file can hold a huge
        image of a single color."""
        pixels, most = image.width * image.height, "8192 × 8192"
        if image.format == "WEBP" and pixels <= MAX_PIXELS:
            most = "8192 × 4096 as WebP"
        if pixels > (MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS):
            raise UserError(
                f"cannot read {self._glb.path}: expected a texture up to {most}, "
                f"got {image.width} × {image.height}."
            )
        self._decoded_pixels += pixels
        if self._decoded_pixels > MAX_ALL_PIXELS:
            raise UserError(
                f"cannot read {self._glb.path}: expected textures of up to {MAX_ALL_PIXELS} pixels "
                "together, got more. Shrink them."
            )

    def _kept(self, image: Any) -> Picture:
        if image.mode.startswith("I"):
            # 16 bits a pixel, which Pillow would clip at 255.
            values = np.asarray(image).clip(0, 65535).astype(np.uint32)
            values += 128
            values //= 257
            image = Image.fromarray(values.astype(np.uint8))
        if "transparency" in image.info or image.mode in ("LA", "PA", "La"):
            image = image.convert("RGBA")
        low, high = image.getchannel("A").getextrema() if "A" in image.getbands() else (255, 255)
        alpha = (low / 255, high / 255)
        # Before it is shrunk: Pillow would take the color from where an image is transparent.
        image = image if image.mode == "RGB" else image.convert("RGB")
        most = min(KEPT_PIXELS, max(ALL_PIXELS - self._used, SMALL_PIXELS))
        share = math.sqrt(most / (image.width * image.height))
        if share < 1:
            size = (max(int(image.width * share), 1), max(int(image.height * share), 1))
            self._notes.append(
                f"a texture of {image.width} × {image.height} is shrunk to {size[0]} × {size[1]}"
            )
            image = image.resize(size, Image.Resampling.BOX)
        self._used += image.width * image.height
        return Picture(np.asarray(image), alpha)

"""The archive of a .sog: a zip of meta.json and lossless WebP images ↔ JSON and uint8 arrays.

The files may also lie in a folder. Source: the specification in PlayCanvas's developer
documentation, version 2; version 1, without a number, from the reader of splat-transform.
"""

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.io import SOG_FOLDER as META
from gs3d.io import bytes_of
from gs3d.io.atomic import read_error

MAX_META_BYTES = 2**22
SPLAT_BYTES, COEFFICIENT_BYTES = 56, 12
"""Bytes in memory of a splat of degree 0, and of each further coefficient of three colors."""
MAX_RATIO, SMALL_BYTES = 64, 2**22
"""Largest ratio of the bytes in memory to those of the file, which count as at least SMALL_BYTES.
It limits the memory for a file that is crafted to exhaust it to 256 MB of splats. Real scenes have
a ratio of about ten."""
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods by which files are packed. zipfile unpacks blocks of the others whole, whatever is asked
for: 2 kB of bzip2 can be gigabytes."""
KINDS = ("WEBP", "PNG")
"""Formats of images. Pillow reads many more, some of which run other programs."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of the files in a new archive, so that equal splats give equal bytes."""
SIDE_STEP = 4
"""Sides of images are multiples of this, as in those of other writers."""


def invalid_sog(path: Path, what: str, next_step: str = "Take another copy of it.") -> UserError:
    """The UserError for a .sog that cannot be read, for the reason `what`."""
    return UserError(f"cannot read {path}: {what}. {next_step}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


class Archive:
    """A .sog that is read: its JSON, and its images one by one.

    `path` is the archive, or meta.json in a folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = None
        self._folder = ""
        try:
            self.size = bytes_of(path)
            if path.name != META:
                with open(path, "rb"):
                    pass
        except OSError as error:
            raise read_error(path, error) from error
        if path.name != META:
            self._open_zip()
        try:
            self.meta = self._read_meta()
        except UserError:
            self.close()
            raise

    def _read_meta(self) -> dict:
        text = self._bytes(META, MAX_META_BYTES)
        try:
            meta = json.loads(text.decode())
        except (ValueError, RecursionError) as error:
            raise invalid_sog(
                self.path, f"its {META} cannot be read ({str(error)[:100]})"
            ) from None
        if not isinstance(meta, dict):
            raise invalid_sog(self.path, f"expected a JSON object in {META}")
        return meta

    def _open_zip(self) -> None:
        # zipfile raises errors of many types for archives that are damaged.
        try:
            self._zip = zipfile.ZipFile(self.path)
            names = self._zip.namelist()
        except Exception as error:
            raise invalid_sog(self.path, f"expected a zip archive ({_reason(error)})") from None
        # Some programs pack the folder itself.
        self._folder = next((n[: -len(META)] for n in names if n.split("/")[-1] == META), "")

    def close(self) -> None:
        if self._zip:
            self._zip.close()

    def limit(self, count: int, rest: int) -> None:
        """UserError for more splats, with `rest` coefficients beside the color, than the file can
        hold."""
        most = MAX_RATIO * max(self.size, SMALL_BYTES)
        if count * (SPLAT_BYTES + COEFFICIENT_BYTES * rest) > most:
            raise invalid_sog(
                self.path, f"it declares {count} splats, more than {self.size} bytes can hold"
            )

    def rows(self, name: str, count: int) -> np.ndarray:
        """The first `count` pixels of an image, uint8 [count, 4]."""
        pixels = self.image(name, count).reshape(-1, 4)
        if len(pixels) < count:
            raise invalid_sog(self.path, f"{name} has {len(pixels)} pixels for {count} splats")
        return pixels[:count]

    def image(self, name: str, count: int) -> np.ndarray:
        """An image, uint8 [H, W, 4], whose number of pixels fits `count` values."""
        data = self._bytes(name, max(self.size, SMALL_BYTES))
        # Pillow raises errors of many types for images that are damaged.
        try:
            with Image.open(io.BytesIO(data), formats=KINDS) as image:
                if image.width * image.height > 2 * count + 2**16:
                    raise invalid_sog(
                        self.path,
                        f"{name} has {image.width} × {image.height} pixels for {count} values",
                    )
                return np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))
        except UserError:
            raise
        except Exception as error:
            reason = f"{name[:60]} cannot be read ({_reason(error)})"
            raise invalid_sog(self.path, reason) from None

    def _bytes(self, name: str, most: int) -> bytes:
        try:
            if self._zip:
                entry = self._zip.getinfo(self._folder + name)
                if entry.compress_type not in PACKED:
                    raise ValueError(f"packing method {entry.compress_type}, expected deflate")
                with self._zip.open(entry) as stream:
                    data = stream.read(most + 1)
            # Other names lead out of the folder.
            elif Path(name).name == name:
                with open(self.path.with_name(name), "rb") as stream:
                    data = stream.read(most + 1)
            else:
                raise KeyError(name)
        except (KeyError, FileNotFoundError):
            raise invalid_sog(self.path, f"{name[:60]} is not in it") from None
        except Exception as error:
            reason = f"{name[:60]} cannot be unpacked ({_reason(error)})"
            raise invalid_sog(self.path, reason) from None
        if len(data) > most:
            raise invalid_sog(self.path, f"{name[:60]} is larger than expected")
        return data


def encode(meta: dict[str, Any], images: dict[str, np.ndarray]) -> bytes:
    """The bytes of an archive; `images` are uint8 [N, 4] rows, or [H, W, 4]."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        text = json.dumps(meta, allow_nan=False)
        archive.writestr(zipfile.ZipInfo(META, EPOCH), text)
        for name, pixels in images.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), _webp(pixels))
    return stream.getvalue()


def _webp(pixels: np.ndarray) -> bytes:
    if pixels.ndim == 2:
        count = len(pixels)
        width = _multiple(math.isqrt(max(count - 1, 0)) + 1)
        height = _multiple(-(-count // width))
        padded = np.zeros((height * width, 4), np.uint8)
        padded[:count] = pixels
        pixels = padded.reshape(height, width, 4)
    stream = io.BytesIO()
    # Without `exact`, colors of clear pixels change.
    Image.fromarray(pixels).save(stream, "WEBP", lossless=True, exact=True, quality=80)
    return stream.getvalue()


def _multiple(side: int) -> int:
    return -(-side // SIDE_STEP) * SIDE_STEP

"""PNG files: single images, and contact sheets (grids of images of one size)."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.io.image.pixels import to_bytes


def write_sheet(
    path: str | Path, images: Tensor | np.ndarray | Iterable[Tensor | np.ndarray], columns: int
) -> None:
    """Write `images` [n, H, W, 3] in [0, 1] (sRGB) as a grid with `columns` columns.

    The grid is filled row by row, and unused tiles are white. An iterable is converted to bytes
    image by image, which takes a quarter of the memory.

    Raises:
        UserError: `columns` below 1, no images, NaN in an image, or a file that cannot be written.
        ValueError: Images of different sizes or of a wrong shape.
    """
    path = Path(path)
    if columns < 1:
        raise UserError(
            f"columns: expected 1 or more, got {columns}. Give the number of images in a row."
        )
    tiles = [to_bytes(path, image, f"image {i}") for i, image in enumerate(images)]
    if not tiles:
        raise UserError(f"cannot write {path}: expected at least one image, got 0.")
    height, width, _ = tiles[0].shape
    if other := next((tile.shape for tile in tiles if tile.shape != tiles[0].shape), None):
        raise ValueError(f"images: expected one size, got {tiles[0].shape} and {other}")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * height, (i % columns) * width
        sheet[y : y + height, x : x + width] = tile
    write_pixels(path, sheet)


def write_pixels(path: str | Path, pixels: np.ndarray, notes: dict[str, str] | None = None) -> None:
    """Write `pixels`, uint8 [H, W, 3] (sRGB), with `notes` as text chunks of the PNG.

    The file is read back and compared before it replaces an older one. Raises `UserError` if it
    cannot be written.
    """
    path = Path(path)
    chunks = PngInfo()
    for name, text in (notes or {}).items():
        chunks.add_text(name, text)

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            Image.fromarray(pixels).save(stream, format="PNG", pnginfo=chunks)

    def verify(temp: Path) -> None:
        # Not `Image.open`, which warns of a decompression bomb above 89 megapixels.
        with PngImageFile(temp) as back:
            same = np.array_equal(np.asarray(back), pixels)
        if not same:
            raise UserError(
                f"cannot write {path}: the image read back differs. "
                "Try again; if it happens again, check the disk."
            )

    write_atomic(path, write, verify)

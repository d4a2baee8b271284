"""PNG: any pixels, and contact sheets, which are several pictures of one size."""

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
    """Write `images` [n, H, W, 3] in [0, 1] (sRGB) row by row, `columns` a row; cells that are left over are white.

    An iterable is turned into bytes as it comes, which takes a quarter of the memory.
    """
    path = Path(path)
    if columns < 1:
        raise UserError(
            f"columns: expected 1 or more, got {columns}. Give the number of pictures in a row."
        )
    cells = [to_bytes(path, image, f"picture {i}") for i, image in enumerate(images)]
    if not cells:
        raise UserError(f"cannot write {path}: expected at least one picture, got 0.")
    height, width, _ = cells[0].shape
    if other := next((cell.shape for cell in cells if cell.shape != cells[0].shape), None):
        raise ValueError(f"images: expected one size, got {cells[0].shape} and {other}")
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for i, cell in enumerate(cells):
        y, x = (i // columns) * height, (i % columns) * width
        sheet[y : y + height, x : x + width] = cell
    write_pixels(path, sheet)


def write_pixels(path: str | Path, pixels: np.ndarray, notes: dict[str, str] | None = None) -> None:
    """Write `pixels`, [H, W, 3] uint8 (sRGB), with `notes` as text fields of the file. What was written is read back and compared."""
    path = Path(path)
    fields = PngInfo()
    for name, text in (notes or {}).items():
        fields.add_text(name, text)

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            Image.fromarray(pixels).save(stream, format="PNG", pnginfo=fields)

    def verify(temp: Path) -> None:
        # Not Image.open: it takes any picture above 89 megapixels for an attack.
        with PngImageFile(temp) as back:
            same = np.array_equal(np.asarray(back), pixels)
        if not same:
            raise UserError(
                f"cannot write {path}: the picture read back differs. Try again; if it stays so, check the disk."
            )

    write_atomic(path, write, verify)

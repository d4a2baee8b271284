"""Contact sheet of graded runs: their prompts, main metrics and views."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from gs3d.evaluation.grade import RENDER_PX, VIEWS, views_of
from gs3d.evaluation.report import Result
from gs3d.io.atomic import write_atomic
from gs3d.io.image.captions import broken
from gs3d.representations.asset import Asset

TEXT_PX = 232
GREEN, RED = (40, 160, 70), (210, 50, 40)


def write_result_sheet(
    path: Path, results: Sequence[Result], load: Callable[[Result], Asset], cell_px: int = RENDER_PX
) -> None:
    """Write a contact sheet as PNG with one row for each result.

    A row has the prompt, the main metrics and the eight graded views. A bar below each view is
    green where the classifier named the right kind, red otherwise.
    """
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (TEXT_PX + VIEWS * cell_px, max(len(results), 1) * cell_px), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, result in enumerate(results):
        top, grade = i * cell_px, result.grade
        images, _ = views_of(load(result), cell_px)
        for j, image in enumerate((images * 255 + 0.5).to(torch.uint8).numpy()):
            left = TEXT_PX + j * cell_px
            sheet.paste(Image.fromarray(image), (left, top))
            if grade.kind_right is not None:
                color = GREEN if grade.kinds[j] == result.kind else RED
                pen.rectangle(
                    (left, top + cell_px - 4, left + cell_px - 2, top + cell_px - 1), fill=color
                )
        shares = {"kind": grade.kind_right, "color": grade.color_right, "Janus": grade.janus}
        lines = [
            *broken(result.prompt, 34),
            *broken(f"{result.method}, seed {result.seed}", 34),
            "   ".join(
                f"{name} {share:.0%}" for name, share in shares.items() if share is not None
            ),
            # In the units of the tables.
            "   ".join(
                f"{name} {100 * value:{form}}"
                for name, value, form in (
                    ("residue %", grade.residue, ".1f"),
                    ("Chamfer x100", grade.chamfer, ".1f"),  # the font has no ×
                )
                if value is not None
            ),
            f"{result.pieces} splats or triangles   {result.seconds:.0f} s",
        ]
        pen.multiline_text((6, top + 8), "\n".join(lines), fill="black", font=font, spacing=3)

    def verify(temporary: Path) -> None:
        with Image.open(temporary) as written:
            written.verify()

    write_atomic(path, lambda temporary: sheet.save(temporary, format="PNG"), verify)

"""report.html: tables and turning pictures of graded runs in one file that needs nothing beside it."""

import base64
import html
import io
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import torch

from gs3d.core.cameras import ring
from gs3d.evaluation.augment import LIGHT_GREY
from gs3d.evaluation.grade import ELEVATION_DEG
from gs3d.evaluation.report import COLUMNS, Result, tables
from gs3d.export.atomic import write_atomic
from gs3d.representations.draw import Made, draw

TURNS, VIEW_PX = 24, 96
QUALITY = 80


@torch.no_grad()
def strip(made: Made) -> bytes:
    """24 views from all round side by side, as a WebP."""
    from PIL import Image

    pictures = draw(made, ring(TURNS, 2 * VIEW_PX, ELEVATION_DEG), (LIGHT_GREY,) * 3).rgb
    row = torch.cat(list(pictures.clamp(0, 1).cpu()), dim=1)
    image = Image.fromarray((row * 255 + 0.5).to(torch.uint8).numpy()).resize((TURNS * VIEW_PX, VIEW_PX), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, format="WEBP", quality=QUALITY)
    return stream.getvalue()


def write_report(path: Path, results: Sequence[Result], load: Callable[[Result], Made], settings: dict) -> None:
    """Everything about an evaluation; `load` reads what a run has made, `settings` is shown as it is."""
    marks = [mark for mark in COLUMNS if any(getattr(r.grade, mark) is not None for r in results)]
    facts = "".join(f"<dt>{_text(k)}</dt><dd>{_text(_said(v))}</dd>" for k, v in settings.items())
    body = [f"<dl>{facts}</dl>"]
    for title, rows in tables(results).items():
        body.append(f"<h2>{_text(title)}</h2>{_table(rows[0], [[(cell, _number(cell)) for cell in row] for row in rows[1:]])}")
    head = ["turning", "prompt", "method", "seed", *(COLUMNS[mark].title for mark in marks), "s", "splats or triangles"]
    runs = []
    for r in results:
        picture = base64.b64encode(strip(load(r))).decode()
        values = [(getattr(r.grade, mark), COLUMNS[mark]) for mark in marks]
        cells = [("–" if v is None else f"{c.scale * v:.{c.digits}f}", None if v is None else v) for v, c in values]
        style = f"background-image:url(data:image/webp;base64,{picture})"
        view = f'<div class="turn" tabindex="0" role="img" aria-label="{_text(r.prompt)}" style="{style}"></div>'
        runs.append(
            [
                (view, None),
                (f'<div class="prompt">{_text(r.prompt)}</div>', r.prompt),
                (_text(r.method), r.method),
                (str(r.seed), r.seed),
                *cells,
            ]
            + [(f"{r.seconds:.0f}", r.seconds), (str(r.pieces), r.pieces)]
        )
    body.append(f"<h2>Runs</h2><p>Drag a picture, or press the arrow keys on it, to turn it.</p>{_table(head, runs, escape=False)}")
    page = files("gs3d.evaluation").joinpath("report.html").read_text("utf-8")
    page = page.replace("{{turns}}", str(TURNS)).replace("{{px}}", str(VIEW_PX)).replace("{{body}}", "\n".join(body))

    def verify(temporary: Path) -> None:
        temporary.read_text("utf-8").index("</html>")

    write_atomic(path, lambda temporary: temporary.write_text(page, "utf-8"), verify)


def _text(value: object) -> str:
    return html.escape(str(value))


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _number(cell: str) -> float | str:
    """What a cell like "93 (88–97)" is sorted by."""
    try:
        return float(cell.split(" ")[0])
    except ValueError:
        return cell


def _cell(shown: str, by: float | str | None) -> str:
    words = ' class="words"' if isinstance(by, str) else ""
    return f'<td{words} data-by="{_text("" if by is None else by)}">{shown}</td>'


def _table(head: Sequence[str], rows: Sequence[Sequence[tuple[str, float | str | None]]], escape: bool = True) -> str:
    """Each cell is what is shown and what it is sorted by."""
    titles = "".join(f'<th scope="col"><button>{_text(title)}</button></th>' for title in head)
    lines = []
    for row in rows:
        cells = "".join(_cell(_text(shown) if escape else shown, by) for shown, by in row)
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'

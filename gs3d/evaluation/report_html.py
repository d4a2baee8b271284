"""report.html: tables and turning pictures of graded runs in one file that needs nothing beside it."""

import base64
import html
import io
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import torch

from gs3d.core.cameras import ring
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.grade import ELEVATION_DEG
from gs3d.evaluation.report import COLUMNS, Result, paired, tables
from gs3d.io.atomic import write_atomic
from gs3d.io.html.slider import SLIDERS, sizes, slider, strip_rule
from gs3d.representations.asset import Asset, draw

TURNS, VIEW_PX = 24, 96
QUALITY = 80
SIDES = 8
"""Views of a slider."""
PLOT_WIDTHS, PLOT_BYTES, PLOT_COLORS = (640, 480, 320), 18_000, 24
"""Pixels and bytes that the plot of a run may have: in base64 the page grows by a third more."""


@torch.no_grad()
def strip(asset: Asset) -> bytes:
    """24 views from all round side by side, as a WebP."""
    from PIL import Image

    pictures = draw(asset, ring(TURNS, 2 * VIEW_PX, ELEVATION_DEG), (LIGHT_GRAY,) * 3).rgb
    row = torch.cat(list(pictures.clamp(0, 1).cpu()), dim=1)
    image = Image.fromarray((row * 255 + 0.5).to(torch.uint8).numpy()).resize(
        (TURNS * VIEW_PX, VIEW_PX), Image.Resampling.BOX
    )
    stream = io.BytesIO()
    image.save(stream, format="WEBP", quality=QUALITY)
    return stream.getvalue()


def small_plot(path: Path) -> bytes | None:
    """The picture at `path`, if there is one that can be read, as a PNG of at most PLOT_BYTES."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except (OSError, ValueError, SyntaxError):  # no plot, or a damaged one: the report does without
        return None
    for width in PLOT_WIDTHS:
        small = picture.resize(
            (width, max(round(width * picture.height / picture.width), 1)), Image.Resampling.LANCZOS
        )
        stream = io.BytesIO()
        small.quantize(PLOT_COLORS, dither=Image.Dither.NONE).save(
            stream, format="PNG", optimize=True
        )
        if stream.tell() <= PLOT_BYTES:
            return stream.getvalue()
    return None


def write_report(
    path: Path,
    results: Sequence[Result],
    load: Callable[[Result], Asset],
    settings: dict,
    plot: Callable[[Result], bytes | None] = lambda result: None,
) -> None:
    """Everything about an evaluation; `load` reads what a run has made, `plot` its `small_plot`, `settings` is shown as it is."""
    marks = [mark for mark in COLUMNS if any(getattr(r.grade, mark) is not None for r in results)]
    facts = "".join(f"<dt>{_text(k)}</dt><dd>{_text(_said(v))}</dd>" for k, v in settings.items())
    body = [f"<dl>{facts}</dl>"]
    for title, rows in tables(results).items():
        body.append(
            f"<h2>{_text(title)}</h2>{_table(rows[0], [[(cell, _number(cell)) for cell in row] for row in rows[1:]])}"
        )
    head = [
        "turning",
        "prompt",
        "method",
        "seed",
        *(COLUMNS[mark].title for mark in marks),
        "s",
        "splats or triangles",
    ]
    runs = []
    for i, r in enumerate(results):
        values = [(getattr(r.grade, mark), COLUMNS[mark]) for mark in marks]
        cells = [
            ("–" if v is None else f"{c.scale * v:.{c.digits}f}", None if v is None else v)
            for v, c in values
        ]
        view = (
            f'<div class="turn r{i}" tabindex="0" role="img" aria-label="{_text(r.prompt)}"></div>'
        )
        runs.append(
            [
                (view, None),
                (f'<div class="prompt">{_text(r.prompt)}</div>{_log(r, plot(r))}', r.prompt),
                (_text(r.method), r.method),
                (str(r.seed), r.seed),
                *cells,
            ]
            + [(f"{r.seconds:.0f}", r.seconds), (str(r.pieces), r.pieces)]
        )
    body.append(
        f"<h2>Runs</h2><p>Drag a picture, or press the arrow keys on it, to turn it.</p>{_table(head, runs, escape=False)}"
    )
    body.append(_sliders(results))
    style = "\n  ".join(
        [
            sizes(VIEW_PX, TURNS, SIDES),
            *(strip_rule(f"r{i}", strip(load(r))) for i, r in enumerate(results)),
        ]
    )
    page = files("gs3d.evaluation").joinpath("report.html").read_text("utf-8")
    page = page.replace("{{turns}}", str(TURNS)).replace("{{px}}", str(VIEW_PX))
    page = page.replace("{{style}}", style).replace("{{body}}", "\n".join(body))

    def verify(temporary: Path) -> None:
        temporary.read_text("utf-8").index("</html>")

    write_atomic(path, lambda temporary: temporary.write_text(page, "utf-8"), verify)


def _log(result: Result, plot: bytes | None) -> str:
    """The plot of a run's log, which opens by a click; nothing where there is none."""
    from PIL import Image

    if plot is None:
        return ""
    with Image.open(io.BytesIO(plot)) as picture:
        width, height = picture.size
    style = f"width:{width}px;height:{height}px;background-image:url(data:image/png;base64,{base64.b64encode(plot).decode()})"
    what = _text(f"log of {result.prompt}, {result.method}, seed {result.seed}")
    return f'<details><summary>log</summary><div role="img" aria-label="{what}" style="{style}"></div></details>'


def _sliders(results: Sequence[Result]) -> str:
    """Where the first method and another made the same prompt with the same seed, one over the other."""
    methods, number = (
        list(dict.fromkeys(r.method for r in results)),
        {id(r): i for i, r in enumerate(results)},
    )
    parts = []
    for other in methods[1:]:
        pairs = paired(results, methods[0], other)
        parts += (
            [
                f"<h2>{_text(methods[0])} over {_text(other)}</h2><p>Drag a slider, or press the arrow keys on it.</p>"
            ]
            if pairs
            else []
        )
        for a, b in pairs:
            views = range(0, TURNS, TURNS // SIDES)
            parts.append(f"<h3>{_text(a.prompt)}, seed {a.seed}</h3>")
            parts.append(
                slider(f"r{number[id(a)]}", f"r{number[id(b)]}", (a.method, b.method), views)
            )
    return "\n".join([*parts, SLIDERS]) if parts else ""


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


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[tuple[str, float | str | None]]],
    escape: bool = True,
) -> str:
    """Each cell is what is shown and what it is sorted by."""
    titles = "".join(f'<th scope="col"><button>{_text(title)}</button></th>' for title in head)
    lines = []
    for row in rows:
        cells = "".join(_cell(_text(shown) if escape else shown, by) for shown, by in row)
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'

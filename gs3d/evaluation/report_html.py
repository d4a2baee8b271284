"""report.html: the tables and rotatable views of graded runs in one self-contained file."""

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch

from gs3d.core.cameras import ring
from gs3d.core.checks import require
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.grade import ELEVATION_DEG
from gs3d.evaluation.report import COLUMNS, Result, paired
from gs3d.io.atomic import write_atomic
from gs3d.io.html.slider import SLIDERS, sizes, slider, strip_rule
from gs3d.io.text import encodable
from gs3d.representations.asset import Asset, draw

WEBP_QUALITY = 80
SLIDER_VIEWS = 8
MISSING = "–"
"""A cell without a value, as in `report`."""
PLOT_WIDTHS, PLOT_BYTES, PLOT_COLORS = (640, 480, 320), 18_000, 24
"""Limits of the plot of a run: widths to try in pixels, bytes, and colors. In base64 a plot takes a
third more space than its bytes."""


@dataclass(frozen=True)
class Strip:
    """Size of the strip of views of a run, in which it is turned."""

    views: int = 24
    """A multiple of `SLIDER_VIEWS`."""
    px: int = 96
    """Side of a view."""

    def __post_init__(self) -> None:
        is_multiple = self.views > 0 and self.views % SLIDER_VIEWS == 0
        require("views", self.views, is_multiple, f"a multiple of {SLIDER_VIEWS}")


@torch.no_grad()
def strip(asset: Asset, size: Strip = Strip()) -> bytes:
    """Render views all around, side by side, as WebP."""
    from PIL import Image

    cameras = ring(size.views, 2 * size.px, ELEVATION_DEG)
    views = draw(asset, cameras, (LIGHT_GRAY, LIGHT_GRAY, LIGHT_GRAY)).rgb
    row = torch.cat(list(views.clamp(0, 1).cpu()), dim=1)
    image = Image.fromarray((row * 255 + 0.5).to(torch.uint8).numpy()).resize(
        (size.views * size.px, size.px), Image.Resampling.BOX
    )
    stream = io.BytesIO()
    image.save(stream, format="WEBP", quality=WEBP_QUALITY)
    return stream.getvalue()


def small_plot(path: Path) -> bytes | None:
    """Shrink the image at `path` to a PNG of at most 18,000 bytes.

    Returns None if there is no readable image, or if it cannot be made small enough.
    """
    from PIL import Image

    try:
        # Pillow reads many more formats, some of which run other programs.
        with Image.open(path, formats=["PNG"]) as file:
            plot = file.convert("RGB")
    # Without a plot, or with a damaged one, the report just leaves it out.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    for width in PLOT_WIDTHS:
        small = plot.resize(
            (width, max(round(width * plot.height / plot.width), 1)), Image.Resampling.LANCZOS
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
    tables: dict[str, list[list[str]]],
    load: Callable[[Result], Asset],
    settings: dict,
    plot: Callable[[Result], bytes | None] = lambda result: None,
    size: Strip = Strip(),
) -> None:
    """Write the report of an evaluation to `path`.

    `tables` are title → rows, the header first. `load` reads the asset of a run, `plot` returns its
    `small_plot`. `settings` is listed at the top. `size` is that of the views.
    """
    names = [name for name in COLUMNS if any(getattr(r.grade, name) is not None for r in results)]
    listed = "".join(
        f"<dt>{_text(k)}</dt><dd>{_text(_joined(v))}</dd>"
        for k, v in settings.items()
        if v is not None
    )
    body = [f"<dl>{listed}</dl>"]
    for title, rows in tables.items():
        table = _table(rows[0], [[(cell, _sort_key(cell)) for cell in row] for row in rows[1:]])
        body.append(f"<h2>{_text(title)}</h2>{table}")
    body.append(_runs(results, names, plot))
    body.append(_sliders(results, size.views))
    style = "\n  ".join(
        [
            sizes(size.px, size.views, SLIDER_VIEWS),
            *(strip_rule(f"r{i}", strip(load(r), size)) for i, r in enumerate(results)),
        ]
    )
    page = files("gs3d.evaluation").joinpath("report.html").read_text("utf-8")
    page = page.replace("{{turns}}", str(size.views)).replace("{{px}}", str(size.px))
    page = page.replace("{{style}}", style).replace("{{body}}", "\n".join(body))
    page = encodable(page)

    def verify(temporary: Path) -> None:
        temporary.read_text("utf-8").index("</html>")

    write_atomic(path, lambda temporary: temporary.write_text(page, "utf-8"), verify)


def _runs(
    results: Sequence[Result], names: Sequence[str], plot: Callable[[Result], bytes | None]
) -> str:
    """Return the table of all runs, with a rotatable view, the plot and the metrics `names`."""
    head = [
        "views",
        "prompt",
        "method",
        "seed",
        *(COLUMNS[name].title for name in names),
        "s",
        "splats or triangles",
    ]
    runs = []
    for i, r in enumerate(results):
        values = [(getattr(r.grade, name), COLUMNS[name]) for name in names]
        cells = [
            (MISSING if v is None else f"{c.scale * v:.{c.digits}f}", None if v is None else v)
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
    hint = "Drag a view, or select it and press the arrow keys, to rotate the object."
    return f"<h2>Runs</h2><p>{hint}</p>{_table(head, runs, escape=False)}"


def _log(result: Result, plot: bytes | None) -> str:
    """Return the plot of a run's log as a collapsed section; empty without a plot."""
    from PIL import Image

    if plot is None:
        return ""
    with Image.open(io.BytesIO(plot)) as image:
        width, height = image.size
    url = f"data:image/png;base64,{base64.b64encode(plot).decode()}"
    style = f"width:{width}px;height:{height}px;background-image:url({url})"
    label = _text(f"log of {result.prompt}, {result.method}, seed {result.seed}")
    image = f'<div role="img" aria-label="{label}" style="{style}"></div>'
    return f"<details><summary>log</summary>{image}</details>"


def _sliders(results: Sequence[Result], turns: int) -> str:
    """Return comparison sliders of the first method with each other, per common prompt and seed."""
    methods, number = (
        list(dict.fromkeys(r.method for r in results)),
        {id(r): i for i, r in enumerate(results)},
    )
    parts = []
    for other in methods[1:]:
        pairs = paired(results, methods[0], other)
        if pairs:
            parts.append(
                f"<h2>{_text(methods[0])} over {_text(other)}</h2>"
                "<p>Drag a slider, or select it and press the arrow keys.</p>"
            )
        for a, b in pairs:
            views = range(0, turns, turns // SLIDER_VIEWS)
            parts.append(f"<h3>{_text(a.prompt)}, seed {a.seed}</h3>")
            parts.append(
                slider(f"r{number[id(a)]}", f"r{number[id(b)]}", (a.method, b.method), views)
            )
    return "\n".join([*parts, SLIDERS]) if parts else ""


def _text(value: object) -> str:
    return html.escape(str(value))


def _joined(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _sort_key(cell: str) -> float | str | None:
    """Return the leading number of a cell such as "93 (88–97)", or the text if there is none. None
    for a missing value, which is sorted last."""
    if cell == MISSING:
        return None
    try:
        return float(cell.split(" ")[0])
    except ValueError:
        return cell


def _cell(shown: str, key: float | str | None) -> str:
    words = ' class="words"' if isinstance(key, str) else ""
    return f'<td{words} data-by="{_text("" if key is None else key)}">{shown}</td>'


def _better(title: str) -> str:
    """The attribute of a header that says which values of a metric are better; "" for no metric."""
    words = {1: "higher is better", -1: "lower is better", 0: "near zero is better"}
    found = [words[column.better] for column in COLUMNS.values() if column.title == title]
    return f' title="{found[0]}"' if found else ""


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[tuple[str, float | str | None]]],
    escape: bool = True,
) -> str:
    """Return an HTML table; each cell is a pair of its content and its sort key."""
    titles = "".join(
        f'<th scope="col"{_better(title)}><button>{_text(title)}</button></th>' for title in head
    )
    lines = []
    for row in rows:
        cells = "".join(_cell(_text(shown) if escape else shown, key) for shown, key in row)
        lines.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )

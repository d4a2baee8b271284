"""Measure how fast gallery.html of a batch opens, searches and follows its batch in Chromium.

`python benchmarks/gallery.py [--rows 1000 20000] [--record]` prints medians: from the navigation to
the page on disk to the frame with the first objects, from a typed word to the next frame, and the
same for rows.js read anew, which happens every five seconds while a batch runs.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from record import append, machine

from gs3d.batch.shown.gallery import DATA, PAGE, write_page, write_rows
from gs3d.batch.shown.index import Entry

sys.path.append(str(Path(__file__).parents[1]))
from tests.viewers.devtools import Page, opened  # noqa: E402 - not part of the package

WATCH = """
const framed = (then) => requestAnimationFrame(() => requestAnimationFrame(then));
const wait = () => document.querySelector("article")
  ? framed(() => { window.shownAt = performance.now(); }) : requestAnimationFrame(wait);
requestAnimationFrame(wait);
window.timed = (what) => new Promise((done) => {
  const began = performance.now();
  what();
  framed(() => done(performance.now() - began));
});
"""
"""Script that runs before the page's own; `shownAt` is in ms since the navigation."""
SEARCH = """
window.took = null;
window.timed(() => {
  const field = document.getElementById("search");
  field.value = "WORD";
  field.dispatchEvent(new Event("input"));
}).then((ms) => { window.took = ms; });
"""
AGAIN = "window.took = null; window.timed(draw).then((ms) => { window.took = ms; });"
KINDS = ("car", "duck", "chair", "mushroom")


@dataclass(frozen=True)
class Args:
    rows: tuple[int, ...] = (1000, 20_000)
    """Rows of each gallery."""
    runs: int = 3
    """Timed openings of each."""
    record: bool = False
    """Append the result to results.jsonl."""


def write(folder: Path, rows: int) -> None:
    """A gallery of rows of which half are done. Their pictures are not there."""
    prompts = [f"a red {KINDS[i % len(KINDS)]} with white spots, number {i}" for i in range(rows)]
    entries = [
        Entry(
            prompt.replace(" ", "-"), i, prompt, 0, "done" if i % 2 else "waiting", pieces=200_000
        )
        for i, prompt in enumerate(prompts)
    ]
    write_page(folder)
    write_rows(folder, entries, {e.name: f'{{"prompt": "{e.prompt}"}}' for e in entries})


def waited(page: Page, expression: str) -> float:
    """The milliseconds in an expression, once it has a value."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        if (found := page.value(expression)) is not None:
            return found
        time.sleep(0.05)
    raise SystemExit(f"{expression}: no value within two minutes; page errors: {page.errors}")


def measure(page: Page, folder: Path, runs: int) -> dict[str, float]:
    """Median seconds."""
    times: dict[str, list[float]] = {"open_s": [], "search_s": [], "again_s": []}
    for _ in range(runs):
        page.call("Page.navigate", url="about:blank")
        page.call("Page.navigate", url=(folder / PAGE).as_uri())
        times["open_s"].append(waited(page, "window.shownAt ?? null"))
        for name, script in (
            ("search_s", SEARCH.replace("WORD", "duck")),
            ("search_s", SEARCH.replace("WORD", "")),
            ("again_s", AGAIN),
        ):
            page.call("Runtime.evaluate", expression=script)
            times[name].append(waited(page, "window.took"))
    return {name: round(statistics.median(found) / 1000, 3) for name, found in times.items()}


def main(args: Args) -> None:
    shared, found = machine(), {}
    with (
        tempfile.TemporaryDirectory() as temporary,
        opened("about:blank", 1200, 900, Path(temporary)) as page,
    ):
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        for rows in args.rows:
            folder = Path(temporary) / str(rows)
            folder.mkdir()
            write(folder, rows)
            row = measure(page, folder, args.runs)
            row["mb"] = round((folder / DATA).stat().st_size / 1e6, 2)
            found[str(rows)] = row
            print(f"{rows:>6} rows: " + ", ".join(f"{name} {value}" for name, value in row.items()))
    if args.record:
        append("gallery", {"rows": found, "runs": args.runs}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

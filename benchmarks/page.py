"""Measure how fast an exported .html page shows its splats in headless Chromium, on the CPU.

`python benchmarks/page.py [--counts 50000 200000] [--degrees 0 3] [--record]` prints medians of
page loads in a running browser, from the navigation to the file on disk to the first frame of
900 × 600 pixels. "ordered" is the time at which the page has decoded and sorted the splats and
issued the draw call; "shown" is the time at which the frame is finished.
"""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from raster import scene
from record import append, machine

from gs3d.io import save_splats

sys.path.append(str(Path(__file__).parents[1]))
from tests.viewers.devtools import Page, opened  # noqa: E402 - not part of the package

WIDTH, HEIGHT = 900, 600
WATCH = """
let viewer;
Object.defineProperty(window, "gs3d", {
  get: () => viewer,
  set: (promise) => {
    viewer = promise;
    promise.then(() => {
      const ready = performance.now(), gl = document.getElementById("view").getContext("webgl2");
      // Waits until the frame is drawn.
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
      window.shown = [ready, performance.now()];
    });
  },
});
"""
"""Script that runs before the page's own. It stores the times, in ms since the navigation, at which
the first frame was ordered and shown."""


@dataclass(frozen=True)
class Args:
    counts: tuple[int, ...] = (50_000, 200_000)
    """Numbers of splats."""
    degrees: tuple[int, ...] = (0, 3)
    """Degrees of the spherical harmonics."""
    runs: int = 5
    """Timed page loads per row."""
    record: bool = False
    """Append the result to results.jsonl."""


def loaded(page: Page, path: Path) -> tuple[float, float]:
    """Load a page and return the seconds until its first frame was ordered and shown."""
    page.call("Page.navigate", url="about:blank")
    page.call("Page.navigate", url=path.as_uri())
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        if times := page.value("window.shown"):
            return times[0] / 1000, times[1] / 1000
        time.sleep(0.2)
    raise SystemExit(
        f"{path.name}: expected a frame within two minutes, got none; page errors: {page.errors}"
    )


def main(args: Args) -> None:
    shared, rows = machine(), {}
    with (
        tempfile.TemporaryDirectory() as folder,
        opened("about:blank", WIDTH, HEIGHT, Path(folder)) as page,
    ):
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        for count in args.counts:
            for degree in args.degrees:
                path = Path(folder) / f"{count}-{degree}.html"
                sh = 0.2 * torch.randn(
                    count, (degree + 1) ** 2, 3, generator=torch.Generator().manual_seed(0)
                )
                save_splats(path, replace(scene(count), sh=sh))
                loaded(page, path)  # lets the browser compile the page's code
                times = [loaded(page, path) for _ in range(args.runs)]
                ordered, shown = (round(statistics.median(t), 3) for t in zip(*times, strict=True))
                rows[f"{count} splats, degree {degree}"] = {
                    "ordered_s": ordered,
                    "shown_s": shown,
                    "file_bytes": path.stat().st_size,
                }
                size = f"{path.stat().st_size / 1e6:5.1f} MB"
                times = f"ordered {ordered:.2f} s, shown {shown:.2f} s"
                print(f"{count:>8} splats, degree {degree}: {size}, {times}")
    if args.record:
        append("page", {"loads": rows, "runs": args.runs}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))

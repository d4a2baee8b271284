"""How soon a page of splats shows them in headless Chromium, which draws on the CPU: medians of page loads.

`python benchmarks/page.py [--counts 50000 200000] [--degrees 0 3] [--record]`. From the moment the browser turns to the file, which is on
disk, to the end of its first picture, of 900 × 600 pixels; the browser runs already. "ordered" is when the page has unpacked and sorted
the splats and told the graphics card to draw, which here is the CPU too.
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
let made;
Object.defineProperty(window, "gs3d", {
  get: () => made,
  set: (promise) => {
    made = promise;
    promise.then(() => {
      const ready = performance.now(), gl = document.getElementById("view").getContext("webgl2");
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits until what was ordered is drawn
      window.shown = [ready, performance.now()];
    });
  },
});
"""
"""Runs before the page does, and notes the times, in ms since navigation, at which its first picture was ordered and was there."""


@dataclass(frozen=True)
class Args:
    counts: tuple[int, ...] = (50_000, 200_000)
    degrees: tuple[int, ...] = (0, 3)
    runs: int = 5
    record: bool = False


def loaded(page: Page, path: Path) -> tuple[float, float]:
    """Seconds until the picture was ordered, and until it was there."""
    page.call("Page.navigate", url="about:blank")
    page.call("Page.navigate", url=path.as_uri())
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        if times := page.value("window.shown"):
            return times[0] / 1000, times[1] / 1000
        time.sleep(0.2)
    raise SystemExit(
        f"{path.name}: nothing is shown after two minutes; the page said {page.errors}"
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
                loaded(page, path)  # so that the browser has compiled what it will
                times = [loaded(page, path) for _ in range(args.runs)]
                ordered, shown = (round(statistics.median(t), 3) for t in zip(*times, strict=True))
                rows[f"{count} splats, degree {degree}"] = {
                    "ordered_s": ordered,
                    "shown_s": shown,
                    "file_bytes": path.stat().st_size,
                }
                print(
                    f"{count:>8} splats, degree {degree}: {path.stat().st_size / 1e6:5.1f} MB, ordered {ordered:.2f} s, shown {shown:.2f} s"
                )
    if args.record:
        append("page", {"loads": rows, "runs": args.runs}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args))

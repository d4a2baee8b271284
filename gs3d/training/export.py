"""The pictures and files a run leaves: splats first, so that nothing after them can lose them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import Cameras, ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.export import save_splats
from gs3d.raster import rasterize

PREVIEW_VIEWS, PREVIEW_PX = 8, 256
TURNTABLE_FRAMES, TURNTABLE_PX, TURNTABLE_FPS = 72, 256, 24
BACKGROUND = (0.92, 0.92, 0.92)
CHUNK_PX = 16_000_000
"""Pixels rendered at once: some 500 MB with depth and alpha."""


@dataclass(frozen=True)
class Written:
    """What a run left on disk."""

    splats: Splats
    """As they were written: on their device, without gradient, and without those that no viewer can draw."""
    files: list[Path]
    warnings: list[str]
    """A line for each thing that could not be written."""


@torch.no_grad()
def sound(splats: Splats) -> tuple[Splats, int]:
    """The splats that a viewer can draw, and how many were left out: rows with NaN or Inf, no rotation, or no size at all.

    An optimiser may flatten a splat to nothing without harm to the picture; a strict writer would rather refuse the whole file.
    """
    rows = [splats.means, splats.quats, splats.scales, splats.opacities[:, None], splats.sh.flatten(1)]
    good = torch.isfinite(torch.cat(rows, dim=1)).all(dim=1)
    good &= (splats.quats.norm(dim=1) > 1e-8) & (splats.scales.log() > -19).all(dim=1) & (splats.scales.log() < 4.9).all(dim=1)
    kept = Splats(splats.means[good], splats.quats[good], splats.scales[good], splats.opacities[good], splats.sh[good])
    return kept, int((~good).sum())


def frames(splats: Splats, cameras: Cameras, background: tuple[float, float, float] = BACKGROUND, chunk: int = 8) -> Iterator[np.ndarray]:
    """The picture of each camera in turn, [H, W, 3] float32 in [0, 1].

    At most `chunk` cameras and CHUNK_PX pixels are rendered at once, so that memory grows neither with their number nor their size.
    """
    device = splats.means.device
    colour = torch.tensor(background, device=device)
    chunk = max(1, min(chunk, CHUNK_PX // (cameras.width * cameras.height)))
    for i in range(0, len(cameras), chunk):
        with torch.no_grad():  # here and not around the loop: between two pictures the setting is the caller's
            shots = rasterize(splats, cameras[i : i + chunk].to(device), colour).rgb.clamp(0, 1).cpu()
        yield from shots.numpy()


def pictures(splats: Splats, cameras: Cameras, background: tuple[float, float, float] = BACKGROUND, chunk: int = 8) -> Tensor:
    """All of `frames` at once: [B, H, W, 3] in [0, 1] on the CPU."""
    held = torch.empty(len(cameras), cameras.height, cameras.width, 3)
    for i, frame in enumerate(frames(splats, cameras, background, chunk)):
        held[i] = torch.from_numpy(frame)
    return held


def write_results(folder: Path, splats: Splats) -> Written:
    """splats.ply, preview.png and turntable.mp4 in `folder`. Only a failure to write the splats themselves is an error."""
    splats, dropped = sound(splats)
    warnings = [f"{dropped} splats without a finite size or place were left out"] if dropped else []
    save_splats(folder / "splats.ply", splats)
    files = [folder / "splats.ply"]

    def sheet(path: Path) -> None:
        from gs3d.export.png import write_sheet

        write_sheet(path, frames(splats, ring(PREVIEW_VIEWS, PREVIEW_PX)), columns=4)

    def turntable(path: Path) -> None:
        from gs3d.export.mp4 import write_video

        write_video(path, frames(splats, ring(TURNTABLE_FRAMES, TURNTABLE_PX)), fps=TURNTABLE_FPS)

    for name, write in (("preview.png", sheet), ("turntable.mp4", turntable)):
        try:
            write(folder / name)
            files.append(folder / name)
        except UserError as error:
            warnings.append(f"{name}: {error}")
        except Exception as error:
            # Whatever it is (a package that is missing, memory that is full, a bug in a codec), the splats are saved and the caller
            # still has to record the run: a picture of them is not worth ending it with a traceback.
            warnings.append(f"{name}: cannot be made ({type(error).__name__}: {error}); try gs3d render {folder / 'splats.ply'}")
    return Written(splats, files, warnings)

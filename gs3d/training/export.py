"""The pictures and files a run leaves: splats first, so that nothing after them can lose them."""

from pathlib import Path

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


@torch.no_grad()
def pictures(splats: Splats, cameras: Cameras, background: tuple[float, float, float] = BACKGROUND, chunk: int = 8) -> Tensor:
    """[B, H, W, 3] in [0, 1] on the CPU, a few cameras at a time so that memory does not grow with their number."""
    device = splats.means.device
    colour = torch.tensor(background, device=device)
    shots = [rasterize(splats, cameras[i : i + chunk].to(device), colour).rgb.clamp(0, 1).cpu() for i in range(0, len(cameras), chunk)]
    return torch.cat(shots)


def write_results(folder: Path, splats: Splats) -> tuple[list[Path], list[str]]:
    """splats.ply, preview.png and turntable.mp4; the files written and a line for each that could not be.

    Only a failure to write the splats themselves is an error.
    """
    splats, dropped = sound(splats)
    warnings = [f"{dropped} splats without a finite size or place were left out"] if dropped else []
    save_splats(folder / "splats.ply", splats)
    files = [folder / "splats.ply"]

    def sheet(path: Path) -> None:
        from gs3d.export.png import write_sheet

        write_sheet(path, pictures(splats, ring(PREVIEW_VIEWS, PREVIEW_PX)).numpy(), columns=4)

    def turntable(path: Path) -> None:
        from gs3d.export.mp4 import write_video

        write_video(path, pictures(splats, ring(TURNTABLE_FRAMES, TURNTABLE_PX)).numpy(), fps=TURNTABLE_FPS)

    for name, write in (("preview.png", sheet), ("turntable.mp4", turntable)):
        try:
            write(folder / name)
            files.append(folder / name)
        except (UserError, ImportError) as error:  # a package that is missing must not cost the splats either
            warnings.append(f"{name}: {error}")
    return files, warnings

"""The pictures and files a run leaves: splats or mesh first, so that nothing after them can lose them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import Cameras, ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import MESH, SPLATS, save_splats
from gs3d.representations.base import Representation
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.representations.asset import Asset, draw
from gs3d.representations.extract_mesh import mesh_of

PREVIEW_VIEWS, PREVIEW_PX = 8, 256
TURNTABLE_FRAMES, TURNTABLE_PX, TURNTABLE_FPS = 72, 256, 24
BACKGROUND = (0.92, 0.92, 0.92)
CHUNK_PX = 16_000_000
"""Pixels rendered at once: of splats some 500 MB with depth and alpha."""
FACES, TEXTURE_PX = 20_000, 1024
"""Of a mesh: triangles at most, and the side of its texture."""


@dataclass
class Written:
    """What a run left on disk."""

    asset: Asset | None = None
    """As it was written: on its device, without gradient, splats without those that no viewer can draw; None if nothing could be made."""
    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """A line for each thing that could not be written."""

    def attempt(self, path: Path, write: Callable[[Path], None], instead: str) -> None:
        """Write a file; whatever goes wrong becomes a warning, for what matters more is on disk already."""
        try:
            write(path)
            self.files.append(path)
        except UserError as error:
            self.warnings.append(f"{path.name}: {error}")
        except Exception as error:
            # Whatever it is (a package that is missing, memory that is full, a bug in a codec), what it is made from is saved and the
            # caller still has to record the run: this file is not worth ending it with a traceback.
            self.warnings.append(f"{path.name}: cannot be made ({type(error).__name__}: {error}); try {instead}")


@torch.no_grad()
def sound(splats: Splats) -> tuple[Splats, int]:
    """The splats that a viewer can draw, and how many were left out: rows with NaN or Inf, no rotation, or no size at all.

    An optimizer may flatten a splat to nothing without harm to the picture; a strict writer would rather refuse the whole file.
    """
    rows = [splats.means, splats.quats, splats.scales, splats.opacities[:, None], splats.sh.flatten(1)]
    good = torch.isfinite(torch.cat(rows, dim=1)).all(dim=1)
    good &= (splats.quats.norm(dim=1) > 1e-8) & (splats.scales.log() > -19).all(dim=1) & (splats.scales.log() < 4.9).all(dim=1)
    kept = Splats(splats.means[good], splats.quats[good], splats.scales[good], splats.opacities[good], splats.sh[good])
    return kept, int((~good).sum())


def frames(asset: Asset, cameras: Cameras, background: tuple[float, float, float] = BACKGROUND, chunk: int = 8) -> Iterator[np.ndarray]:
    """The picture of each camera in turn, [H, W, 3] float32 in [0, 1].

    At most `chunk` cameras and CHUNK_PX pixels are rendered at once, so that memory grows neither with their number nor their size.
    """
    chunk = max(1, min(chunk, CHUNK_PX // (cameras.width * cameras.height)))
    for i in range(0, len(cameras), chunk):
        yield from draw(asset, cameras[i : i + chunk], background).rgb.clamp(0, 1).cpu().numpy()


def pictures(asset: Asset, cameras: Cameras, background: tuple[float, float, float] = BACKGROUND, chunk: int = 8) -> Tensor:
    """All of `frames` at once: [B, H, W, 3] in [0, 1] on the CPU."""
    held = torch.empty(len(cameras), cameras.height, cameras.width, 3)
    for i, frame in enumerate(frames(asset, cameras, background, chunk)):
        held[i] = torch.from_numpy(frame)
    return held


def write_results(folder: Path, representation: Representation) -> Written:
    """splats.ply, or mesh.glb, mesh.ply and mesh.obj; then preview.png and turntable.mp4, in `folder`.

    Only a failure to write splats is an error: what a mesh is made from is in the checkpoint.
    """
    written = Written()
    if isinstance(representation, Gaussians):
        splats, dropped = sound(representation.splats())
        if dropped:
            written.warnings.append(f"{dropped} splats without a finite size or place were left out")
        save_splats(folder / SPLATS, splats)
        written.asset = splats
        written.files.append(folder / SPLATS)
    else:
        _write_meshes(folder, representation, written)
        if folder / MESH in written.files:  # what the run left when it was stopped while it made splats is no longer its result
            (folder / SPLATS).unlink(missing_ok=True)
    if written.asset is not None:
        _write_pictures(folder, written.asset, written)
    return written


def write_stage(folder: Path, number: int, representation: Representation) -> None:
    """The splats that a stage which is not the last ends with, as stage-1.ply; nothing of what is no splats."""
    if isinstance(representation, Gaussians):
        save_splats(folder / f"stage-{number}.ply", sound(representation.splats())[0])


def _write_meshes(folder: Path, representation: Representation, written: Written) -> None:
    from gs3d.io.mesh import write_mesh

    again = "the same command with --resume"
    try:
        surface = mesh_of(representation, FACES)
        flat = surface.colored()
    except UserError as error:
        written.warnings.append(f"{error}; its last state is in the checkpoint")
        return
    except Exception as error:  # as in `Written.attempt`
        written.warnings.append(f"{MESH}: cannot be made ({type(error).__name__}: {error}); try {again}")
        return
    written.asset = flat

    def textured(path: Path) -> None:
        mesh = surface.textured(TEXTURE_PX)
        write_mesh(path, mesh)
        written.asset = mesh

    written.attempt(folder / MESH, textured, again)
    if written.asset is flat:
        written.attempt(folder / MESH, lambda path: write_mesh(path, flat), again)
    for suffix in (".ply", ".obj"):
        written.attempt((folder / MESH).with_suffix(suffix), lambda path: write_mesh(path, flat), again)


def _write_pictures(folder: Path, asset: Asset, written: Written) -> None:
    def sheet(path: Path) -> None:
        from gs3d.io.image.png import write_sheet

        write_sheet(path, frames(asset, ring(PREVIEW_VIEWS, PREVIEW_PX)), columns=4)

    def turntable(path: Path) -> None:
        from gs3d.io.image.mp4 import write_video

        write_video(path, frames(asset, ring(TURNTABLE_FRAMES, TURNTABLE_PX)), fps=TURNTABLE_FPS)

    for name, write in (("preview.png", sheet), ("turntable.mp4", turntable)):
        written.attempt(folder / name, write, f"gs3d render {written.files[0]}" if written.files else "--resume")

"""The files that a run writes: the splats or the mesh first, then images of them.

The result comes first, so that a failure in an image cannot lose it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from gs3d.core.cameras import Cameras, ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.core.views.inside import around, faces, panorama
from gs3d.io import MESH, SPLATS, save_splats
from gs3d.ops.place import framed
from gs3d.representations.asset import Asset, draw
from gs3d.representations.base import Representation
from gs3d.representations.extract_mesh import mesh_of
from gs3d.representations.gaussians.gaussians import Gaussians

if TYPE_CHECKING:
    from gs3d.representations.dmtet.dmtet import Dmtet
    from gs3d.representations.nerf.nerf import Nerf

PREVIEW_VIEWS, PREVIEW_PX = 8, 256
TURNTABLE_FRAMES, TURNTABLE_PX, TURNTABLE_FPS = 72, 256, 24
PANORAMA_PX = 512
"""Height of the panorama of a scene."""
BACKGROUND = (0.92, 0.92, 0.92)
CHUNK_PX = 16_000_000
"""Pixels rendered at once: some 500 MB for splats, with depth and alpha."""
FACES, TEXTURE_PX = 20_000, 1024
"""Of a mesh: the largest number of triangles, and the side of its texture."""


@dataclass
class Written:
    """What a run wrote."""

    asset: Asset | None = None
    """The saved result: detached, on the device of the run, without splats that no viewer can draw.
    None if nothing could be written."""
    inside: bool = False
    """Whether the result is a scene, which is seen from inside."""
    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """One line for each file that could not be written."""

    def attempt(self, path: Path, write: Callable[[Path], None], instead: str) -> None:
        """Write a file. An error becomes a warning that advises `instead`."""
        try:
            write(path)
            self.files.append(path)
        except UserError as error:
            self.warnings.append(f"{path.name}: {error.for_command_line}")
        except Exception as error:
            # A missing package, full memory or a bug in a codec: the data are saved, and the caller
            # still has to write the record of the run.
            reason = f"{type(error).__name__}: {error}"
            self.warnings.append(f"{path.name}: cannot be made ({reason}); try {instead}")


@torch.no_grad()
def drawable(splats: Splats) -> tuple[Splats, int]:
    """The splats that a viewer can draw, and how many were dropped: rows with NaN or Inf, without
    a rotation, or without size.

    An optimizer may flatten a splat to zero size, which does not change a render; a strict writer
    would refuse the whole file.
    """
    flat = [splats.means, splats.quats, splats.scales, splats.opacities[:, None]]
    good = torch.isfinite(torch.cat([*flat, splats.sh.flatten(1)], dim=1)).all(dim=1)
    good &= splats.quats.norm(dim=1) > 1e-8
    logs = splats.scales.log()
    good &= (logs > -19).all(dim=1) & (logs < 4.9).all(dim=1)
    return splats[good], int((~good).sum())


def frames(
    asset: Asset,
    cameras: Cameras,
    background: tuple[float, float, float] = BACKGROUND,
    chunk: int = 8,
) -> Iterator[np.ndarray]:
    """The render of each camera in turn, [H, W, 3] float32 in [0, 1].

    At most `chunk` cameras and CHUNK_PX pixels are rendered at once, which bounds the memory.
    """
    chunk = max(1, min(chunk, CHUNK_PX // (cameras.width * cameras.height)))
    for i in range(0, len(cameras), chunk):
        yield from draw(asset, cameras[i : i + chunk], background).rgb.clamp(0, 1).cpu().numpy()


def panorama_of(asset: Asset, height: int) -> np.ndarray:
    """All that is seen from the origin, as an equirectangular image [height, 2 · height, 3]
    float32 in [0, 1] with the front in its middle."""
    images = np.stack(list(frames(asset, faces(height))))
    return panorama(torch.from_numpy(images), height).clamp(0, 1).numpy()


def write_result(folder: Path, representation: Representation) -> Written:
    """Write splats.ply, or mesh.glb, mesh.ply and mesh.obj.

    Raises `UserError` only if splats cannot be written; the source of a mesh is in the checkpoint.
    """
    written = Written()
    if isinstance(representation, Gaussians):
        splats, dropped = drawable(representation.splats())
        if dropped:
            written.warnings.append(
                f"{dropped} splats without a finite size or place were left out"
            )
        save_splats(folder / SPLATS, splats)
        written.asset, written.inside = splats, representation.is_scene
        written.files.append(folder / SPLATS)
    else:
        _write_meshes(folder, cast("Nerf | Dmtet", representation), written)
        if folder / MESH in written.files:
            # Splats here come from an earlier, interrupted part of this run.
            (folder / SPLATS).unlink(missing_ok=True)
    return written


def write_stage(folder: Path, number: int, representation: Representation) -> None:
    """Write the splats that a stage before the last ends with, as stage-1.ply; nothing for other
    representations."""
    if isinstance(representation, Gaussians):
        save_splats(folder / f"stage-{number}.ply", drawable(representation.splats())[0])


def _write_meshes(folder: Path, representation: "Nerf | Dmtet", written: Written) -> None:
    from gs3d.io.mesh import write_mesh

    again, target = "the same command with --resume", folder / MESH
    try:
        surface = mesh_of(representation, FACES)
        plain = surface.colored()
    except UserError as error:
        written.warnings.append(f"{error.for_command_line}; its last state is in the checkpoint")
        return
    except Exception as error:  # as in `Written.attempt`
        reason = f"{type(error).__name__}: {error}"
        written.warnings.append(f"{MESH}: cannot be made ({reason}); try {again}")
        return
    written.asset = plain

    def write_textured(path: Path) -> None:
        mesh = surface.textured(TEXTURE_PX)
        write_mesh(path, mesh)
        written.asset = mesh

    def write_plain(path: Path) -> None:
        write_mesh(path, plain)

    written.attempt(target, write_textured, again)
    if written.asset is plain:
        written.attempt(target, write_plain, again)
    for suffix in (".ply", ".obj"):
        written.attempt(target.with_suffix(suffix), write_plain, again)
    if target not in written.files:
        written.asset = None


def write_renders(folder: Path, written: Written) -> None:
    """Write preview.png and turntable.mp4 of what `write_result` wrote, if it wrote anything.

    Of a scene they are a panorama and a look around."""
    if written.asset is None:
        return
    asset = written.asset if written.inside else framed(written.asset)
    of_turn = around if written.inside else ring

    def write_preview(path: Path) -> None:
        from gs3d.io.image.png import write_sheet

        if written.inside:
            write_sheet(path, [panorama_of(asset, PANORAMA_PX)], columns=1)
        else:
            write_sheet(path, frames(asset, ring(PREVIEW_VIEWS, PREVIEW_PX)), columns=4)

    def write_turntable(path: Path) -> None:
        from gs3d.io.image.mp4 import write_video

        turn = frames(asset, of_turn(TURNTABLE_FRAMES, TURNTABLE_PX))
        write_video(path, turn, fps=TURNTABLE_FPS)

    instead = f"gs3d render {written.files[0]}" if written.files else "--resume"
    written.attempt(folder / "preview.png", write_preview, instead)
    written.attempt(folder / "turntable.mp4", write_turntable, instead)

"""The Python API: `generate`, `load`, and the `Scene` they return."""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, Render, Splats, TexturedMesh


@dataclass(frozen=True)
class Scene:
    """What a run has made, or a file holds: splats or a mesh, which can be drawn and saved."""

    asset: Splats | Mesh | TexturedMesh
    folder: Path | None = None
    """Where the run that made it left its files."""
    outcome: str | None = None
    """finished, interrupted, terminated or diverged, for a scene that `generate` made."""

    @property
    def splats(self) -> Splats | None:
        """None if it is a mesh."""
        return self.asset if isinstance(self.asset, Splats) else None

    @property
    def mesh(self) -> Mesh | TexturedMesh | None:
        """None if it is splats."""
        return None if isinstance(self.asset, Splats) else self.asset

    def __len__(self) -> int:
        """Splats, or triangles."""
        from gs3d.representations.asset import primitive_count

        return primitive_count(self.asset)

    def save(self, path: str | Path) -> Path:
        """Write to `path`; its suffix picks the format. Raises `UserError` when that cannot be done."""
        if isinstance(self.asset, Splats):
            from gs3d.io import save_splats

            save_splats(Path(path), self.asset)
        else:
            from gs3d.io.mesh import write_mesh

            write_mesh(path, self.asset)
        return Path(path)

    @torch.no_grad()
    def render(
        self,
        cameras: Cameras,
        background: tuple[float, float, float] = (1.0, 1.0, 1.0),
        normals: bool = False,
    ) -> Render:
        """Pictures [B, H, W, 3] with alpha [B, H, W, 1] and depth; `gs3d.ring(8, 256)` makes cameras all round."""
        from gs3d.representations.asset import draw

        return draw(self.asset, cameras, background, normals)

    def to(self, device: str) -> "Scene":
        """Splats on another device; a mesh is arrays, and stays."""
        if not isinstance(self.asset, Splats):
            return self
        return dataclasses.replace(self, asset=self.asset.to(device))


def load(path: str | Path) -> Scene:
    """Read a splat file or a .glb, ours or another program's, or what a run's folder holds. Raises `UserError` for one that is none."""
    from gs3d.io import load_asset

    return Scene(load_asset(Path(path)))


def generate(
    prompt: str,
    minutes: float | None = None,
    *,
    steps: int | None = None,
    prior: str = "auto",
    guidance: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    config: str | Path | None = None,
    device: str | None = None,
    mode: str = "splats",
    start: str | Path | None = None,
) -> Scene:
    """Make splats from a text, or with `mode` "mesh" or "two-stage" a mesh, as `gs3d generate` does: the same files, and the scene itself.

    `minutes` (3 unless `steps` is given) is wall clock from this call to files on disk; `steps` makes a run that can be repeated.
    `guidance` is "cds" or "sds", `prior` a name or a folder, `start` a run's folder or a splat file whose splats the surface of `mode`
    "mesh" begins as. Raises `UserError` for anything the caller can mend.
    """
    from gs3d.runs.generate import generate as run
    from gs3d.runs.request import Request

    def say(line: str) -> None:
        if line.startswith("warning: "):
            warnings.warn(line.removeprefix("warning: "), stacklevel=4)

    result = run(
        Request(
            prompt=prompt,
            minutes=minutes,
            steps=steps,
            prior=prior,
            loss=guidance,
            seed=seed,
            out=Path(out) if out is not None else None,
            resume=resume,
            config=config,
            device=device,
            mode=mode,
            start=Path(start) if start is not None else None,
        ),
        say=say,
    )
    for line in result.warnings:
        warnings.warn(line, stacklevel=2)
    if result.asset is None:
        raise UserError(
            f"{result.folder}: nothing could be made of what was optimized ({'; '.join(result.warnings)})"
        )
    return Scene(result.asset, result.folder, result.outcome)

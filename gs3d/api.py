"""The Python API: `generate`, `load`, and the `Scene` they return."""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from gs3d.core.cameras import Cameras
from gs3d.core.types import Render, Splats


@dataclass(frozen=True)
class Scene:
    """A cloud of splats that can be drawn and saved."""

    splats: Splats
    folder: Path | None = None
    """Where the run that made it left its files."""
    outcome: str | None = None
    """finished, interrupted, terminated or diverged, for a scene that `generate` made."""

    def __len__(self) -> int:
        return len(self.splats)

    def save(self, path: str | Path) -> Path:
        """Write to `path`; its suffix picks the format. Raises `UserError` when that cannot be done."""
        from gs3d.export import save_splats

        save_splats(Path(path), self.splats)
        return Path(path)

    @torch.no_grad()
    def render(self, cameras: Cameras, background: tuple[float, float, float] = (1.0, 1.0, 1.0), normals: bool = False) -> Render:
        """Pictures [B, H, W, 3] with alpha [B, H, W, 1] and depth; `gs3d.ring(8, 256)` makes cameras all round."""
        from gs3d.raster import rasterize

        device = self.splats.means.device
        return rasterize(self.splats, cameras.to(device), torch.tensor(background, device=device), normals)

    def to(self, device: str) -> "Scene":
        moved = Splats(*(getattr(self.splats, f.name).to(device) for f in dataclasses.fields(Splats)))
        return dataclasses.replace(self, splats=moved)


def load(path: str | Path) -> Scene:
    """Read a splat file, ours or another program's. Raises `UserError` for one that is none."""
    from gs3d.export import load_splats

    return Scene(load_splats(Path(path)))


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
) -> Scene:
    """Make splats from a text, as `gs3d generate` does: the same files in the same place, and the scene itself.

    `minutes` (3 unless `steps` is given) is wall clock from this call to files on disk; `steps` makes a run that can be repeated.
    `guidance` is "cds" or "sds", `prior` a name or a folder. Raises `UserError` for anything the caller can mend.
    """
    from gs3d.training.request import Request
    from gs3d.training.run import generate as run

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
        ),
        say=say,
    )
    for line in result.warnings:
        warnings.warn(line, stacklevel=2)
    return Scene(result.splats, result.folder, result.outcome)

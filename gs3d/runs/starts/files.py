"""What a run starts from: existing splats or a mesh (--start), and at which progress."""

import warnings
from pathlib import Path
from typing import cast

from gs3d.core.errors import UserError, did_you_mean
from gs3d.core.types import Splats
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.distill.settings.stages import RunConfig
from gs3d.io import load_asset, readable, suffix_of
from gs3d.ops.place import framed
from gs3d.representations.gaussians.existing import splats_of_mesh
from gs3d.runs.callbacks import Message
from gs3d.runs.history import read_record
from gs3d.runs.request import Request
from gs3d.runs.starts import shap_e
from gs3d.runs.starts.builtin import NAME, is_builtin
from gs3d.runs.starts.shap_e import is_shap_e, saved_splats

REFINE_FROM = 0.5
"""Progress at which a run begins that refines existing splats (`stages.RunConfig.begin`)."""


def start_splats(request: Request, folder: Path, messages: list[Message]) -> Splats | None:
    """The splats to start from; None without --start, or if there is a checkpoint to go on from."""
    if request.start is None or is_builtin(request.start):
        return None
    if request.resume and newest_checkpoint(folder / "checkpoint") is not None:
        return None
    if is_shap_e(request.start):
        return saved_splats(request, folder)
    if not request.start.exists():
        near = did_you_mean(str(request.start), (NAME, shap_e.NAME))
        near = near or "; expected a run's folder, a splat file, a mesh, builtin, or shap-e"
        raise UserError(f"--start {request.start}: there is no such file or folder{near}")
    # trimesh takes long to import.
    from gs3d.io.foreign_mesh import is_foreign_mesh, read_foreign_mesh

    kinds = (*readable(), ".obj")
    if request.start.is_file() and suffix_of(request.start, kinds) is None:
        raise UserError(f"--start {request.start}: expected a file of {', '.join(kinds)}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        foreign = request.start.is_file() and is_foreign_mesh(request.start)
        asset = read_foreign_mesh(request.start) if foreign else load_asset(request.start)
    messages += [Message(str(found.message), is_warning=True) for found in caught]
    if not isinstance(asset, Splats):
        try:
            asset = splats_of_mesh(asset)
        except ValueError as error:
            raise UserError(f"--start {request.start}: {error}") from None
    return cast(Splats, framed(asset))


def begin_of(request: Request, config: RunConfig) -> float:
    """Progress at which a new run begins."""
    if config.begin is not None:
        return config.begin
    refines = request.start is not None and config.stages[0].representation == "splats"
    return REFINE_FROM if refines else 0.0


def too_many(splats: Splats | None, config: RunConfig) -> list[Message]:
    """A message if a run starts with more splats than it may grow to."""
    stage, count = config.stages[0], 0 if splats is None else len(splats)
    if stage.representation != "splats" or count <= (most := stage.densify.max_count):
        return []
    text = f"starts from {count} splats, more than densify.max_count {most}: none is added"
    return [Message(text)]


def other_prompt(request: Request) -> list[Message]:
    """A warning if the splats to start from were generated for another prompt."""
    start = request.start
    record = read_record(start) if start is not None and start.is_dir() else None
    if record is None or record["prompt"] == request.prompt or request.mode == "splats":
        return []
    text = f"--start {start}: was made for {record['prompt']!r}"
    return [Message(f"{text}; a surface changes little of its splats", is_warning=True)]

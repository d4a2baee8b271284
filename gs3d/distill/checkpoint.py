"""Checkpoints, one safetensors file each, without pickle.

A checkpoint is written to a temporary file and then renamed. The newest valid one is used.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.distill.settings.old_names import rename_checkpoint

KEEP = 2
"""Number of checkpoints to keep."""
MODEL = "model/"
"""Begins the names of a file's tensors that belong to what the loss trains."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything that changes during a run.

    Noise, cameras and prompts are not saved: they are functions of (seed, step, progress).
    """

    step: int
    """Number of finished iterations."""
    elapsed_s: float
    """Seconds spent on the run."""
    progress: float
    """Progress of the run at the last iteration, in [0, 1]."""
    accepted_progress: float
    """Progress of the stage at the last iteration that was not skipped, in [0, 1]."""
    tensors: dict[str, Tensor]
    """State of the representation."""
    stage: int = 0
    """Index of the stage, from 0."""
    gradient_size: float | None = None
    """Running root mean square of the guidance gradient (`step.TrainState`)."""
    model: dict[str, Tensor] = field(default_factory=dict)
    """State of what the loss trains (`guidance.base.LearnedModel`); empty for most losses."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder/step_<n>.safetensors` and delete all but the newest `KEEP` up to it.

    Checkpoints of later steps are deleted too. They exist only if the run was resumed from an
    earlier checkpoint because they are damaged.

    Raises:
        UserError: The file cannot be written.
    """
    from safetensors.torch import save

    path = folder / f"step_{checkpoint.step:07d}.safetensors"
    state = {
        "step": checkpoint.step,
        "elapsed_s": checkpoint.elapsed_s,
        "progress": checkpoint.progress,
        "accepted_progress": checkpoint.accepted_progress,
        "stage": checkpoint.stage,
        "gradient_size": checkpoint.gradient_size,
    }
    tensors = checkpoint.tensors | {MODEL + k: v for k, v in checkpoint.model.items()}
    data = save(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
        metadata={"gs3d": json.dumps(state)},
    )
    temporary = path.with_suffix(".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"checkpoint {path}: cannot be written ({error.strerror}); free some space or choose "
            "another --out, then use --resume"
        ) from None
    existing = sorted(folder.glob("step_*.safetensors"))
    kept = [p for p in existing if p.name <= path.name][-KEEP:]
    for other in set(existing) - set(kept):
        other.unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint in `folder` that is valid; None if there is none.

    Incomplete and damaged files are skipped.
    """
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("step_*.safetensors"), reverse=True):
        try:
            with safe_open(path, "pt") as f:
                tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 - not a dict
                fields, tensors = rename_checkpoint(json.loads(f.metadata()["gs3d"]), tensors)
            model = {k.removeprefix(MODEL): v for k, v in tensors.items() if k.startswith(MODEL)}
            tensors = {k: v for k, v in tensors.items() if not k.startswith(MODEL)}
            return Checkpoint(tensors=tensors, model=model, **fields)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            continue
    return None

"""Checkpoints: one safetensors file each, written beside and renamed, the newest valid one wins. No pickle."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.distill.old_names import rename_checkpoint

KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """All that changes in a run. Noise, cameras and prompts are functions of (seed, step, progress)."""

    step: int
    """Iterations done."""
    elapsed_s: float
    progress: float
    accepted_progress: float
    tensors: dict[str, Tensor]
    stage: int = 0


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder/step_<n>.safetensors` and drop all but the newest `KEEP` up to it.

    Those of later steps go too: a run that was resumed from an earlier one has found them damaged.
    """
    from safetensors.torch import save

    path = folder / f"step_{checkpoint.step:07d}.safetensors"
    state = {
        "step": checkpoint.step,
        "elapsed_s": checkpoint.elapsed_s,
        "progress": checkpoint.progress,
        "accepted_progress": checkpoint.accepted_progress,
        "stage": checkpoint.stage,
    }
    data = save(
        {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()},
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
            f"checkpoint {path}: {error.strerror}; free some space or choose another --out, then use --resume"
        ) from None
    names = sorted(folder.glob("step_*.safetensors"))
    kept = [p for p in names if p.name <= path.name][-KEEP:]
    for other in set(names) - set(kept):
        other.unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read whole; half-written or damaged ones are passed over. None when there is none."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("step_*.safetensors"), reverse=True):
        try:
            with safe_open(path, "pt") as f:
                tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118 - not a dict
                fields, tensors = rename_checkpoint(json.loads(f.metadata()["gs3d"]), tensors)
            return Checkpoint(tensors=tensors, **fields)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            continue
    return None

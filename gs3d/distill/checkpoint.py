"""Checkpoints, one safetensors file each, without pickle.

A checkpoint is written to a temporary file and then renamed. The newest valid one is used.
"""

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.distill.settings.old_names import OF_PARTICLES, rename_checkpoint
from gs3d.distill.state import Round

KEEP = 2
"""Number of checkpoints to keep."""
MODEL = "model/"
"""Begins the names of a file's tensors that belong to what the loss trains."""
PARTICLE = re.compile(r"particle-(\d+)/")
"""Begins the names of those of all particles but the first, which count from 2."""


@dataclass(frozen=True)
class SavedParticle:
    """What changes of one object (`state.Particle`)."""

    tensors: dict[str, Tensor]
    """State of the representation."""
    accepted_progress: float
    """Progress of the stage at its last iteration that was not skipped, in [0, 1]."""
    gradient_size: float | None = None
    """Running root mean square of its guidance gradient; None before its first iteration."""
    number: int = 1
    """Its place among the objects that the run began with, from 1."""
    iterations: int = 0
    """Number of iterations that it has had."""


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
    particles: list[SavedParticle]
    """The objects, usually one."""
    stage: int = 0
    """Index of the stage, from 0."""
    model: dict[str, Tensor] = field(default_factory=dict)
    """State of what the loss trains (`guidance.base.LearnedModel`); empty for most losses."""
    rounds: list[Round] = field(default_factory=list[Round])
    """As `state.TrainState.rounds`."""


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
        "stage": checkpoint.stage,
        "accepted_progress": [p.accepted_progress for p in checkpoint.particles],
        "gradient_size": [p.gradient_size for p in checkpoint.particles],
        "number": [p.number for p in checkpoint.particles],
        "iterations": [p.iterations for p in checkpoint.particles],
    }
    if checkpoint.rounds:
        state["rounds"] = [asdict(one) for one in checkpoint.rounds]
    tensors = {MODEL + k: v for k, v in checkpoint.model.items()}
    for number, particle in enumerate(checkpoint.particles, start=1):
        prefix = "" if number == 1 else f"particle-{number}/"
        tensors |= {prefix + k: v for k, v in particle.tensors.items()}
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
        with contextlib.suppress(OSError):  # the disk may be read-only
            temporary.unlink(missing_ok=True)
        raise UserError(
            f"checkpoint {path}: cannot be written ({error.strerror}); free some space or choose "
            "another --out, then use --resume"
        ) from None
    existing = sorted(folder.glob("step_*.safetensors"))
    kept = [p for p in existing if p.name <= path.name][-KEEP:]
    for other in set(existing) - set(kept):
        with contextlib.suppress(OSError):
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
            return _checkpoint(fields, tensors)
        except (SafetensorError, OSError, LookupError, AttributeError, TypeError, ValueError):
            continue
        except OverflowError:  # a number of steps beyond those of a machine
            continue
        except RecursionError:  # a header of lists thousands deep
            continue
    return None


def _checkpoint(fields: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
    """The checkpoint in the fields and tensors of a file."""
    model: dict[str, Tensor] = {}
    numbers = [fields[name] for name in ("step", "elapsed_s", "progress")]
    numbers += [fields.get("stage", 0), *fields["accepted_progress"]]
    numbers += [*fields["number"], *fields["iterations"]]
    if not all(type(n) in (int, float) and 0 <= n < float("inf") for n in numbers):
        raise ValueError("expected numbers")
    columns = [fields.pop(name) for name in OF_PARTICLES]
    states: list[dict[str, Tensor]] = [{} for _ in columns[0]]
    for name, tensor in tensors.items():
        if name.startswith(MODEL):
            model[name.removeprefix(MODEL)] = tensor
        elif match := PARTICLE.match(name):
            states[int(match[1]) - 1][name[match.end() :]] = tensor
        else:
            states[0][name] = tensor
    particles = [SavedParticle(*parts) for parts in zip(states, *columns, strict=True)]
    rounds = [_round(**values) for values in fields.pop("rounds", ())]
    return Checkpoint(particles=particles, model=model, rounds=rounds, **fields)


def _round(progress: float, scores: dict[str, float], kept: list[int]) -> Round:
    """A round as JSON has it, where keys are texts."""
    found = {int(number): float(score) for number, score in scores.items()}
    return Round(float(progress), found, [int(number) for number in kept])

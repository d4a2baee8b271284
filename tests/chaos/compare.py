"""What two runs of the same steps and seed must have in common, to the bit."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.runs.outputs.preview_strip import STRIP, read_rows
from tests.chaos.life import temporaries

TIMED = ("progress.png", "log.png", "log.jsonl", "run.yaml")
"""Files with times in them."""


def differences(folder: Path, undisturbed: Path, steps: int) -> list[str]:
    """What is wrong about the run in `folder`: how it differs from the undisturbed one."""
    faults = [f"{path.name} stayed" for path in temporaries(folder)]
    names, expected = _names(folder), _names(undisturbed)
    if names != expected:
        faults.append(f"files {sorted(names ^ expected)} differ")
    faults += [
        f"{name} differs"
        for name in sorted(names & expected - set(TIMED))
        if (folder / name).read_bytes() != (undisturbed / name).read_bytes()
    ]
    rows, expected_rows = _rows(folder), _rows(undisturbed)
    if [row["step"] for row in rows] != list(range(steps)):
        faults.append(f"log.jsonl has the steps {[row['step'] for row in rows]}")
    elif rows != expected_rows:
        first = next(i for i, (a, b) in enumerate(zip(rows, expected_rows, strict=True)) if a != b)
        faults.append(f"log.jsonl differs first at step {first}")
    if _record(folder) != _record(undisturbed):
        faults.append("run.yaml differs")
    if not (strip := read_rows(folder / STRIP)) or strip[-1].step != steps:
        faults.append(f"progress.png has the steps {[row.step for row in strip]}")
    return faults + _checkpoint_faults(folder, undisturbed)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != "checkpoint"}


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "elapsed_s"} for row in rows]


def _record(folder: Path) -> dict[str, Any]:
    record = yaml.safe_load((folder / "run.yaml").read_text())
    del record["timings_s"], record["result"]["peak_memory_mb"]
    return record


def _checkpoint_faults(folder: Path, undisturbed: Path) -> list[str]:
    names = sorted(path.name for path in (folder / "checkpoint").iterdir())
    mine, other = (newest_checkpoint(f / "checkpoint") for f in (folder, undisturbed))
    if mine is None or other is None or len(names) > 2:
        return [f"checkpoint has {names}"]
    faults = [
        f"checkpoint: {name} differs"
        for name in ("step", "progress", "stage")
        if getattr(mine, name) != getattr(other, name)
    ]
    (one,), (two,) = mine.particles, other.particles
    if one.tensors.keys() != two.tensors.keys():
        return [*faults, "checkpoint: other tensors"]
    return faults + [
        f"checkpoint: {name} differs"
        for name, tensor in one.tensors.items()
        if not torch.equal(tensor, two.tensors[name])
    ]

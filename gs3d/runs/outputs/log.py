"""log.jsonl: one row a step, enough to plot a run or to replay it."""

import contextlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch

from gs3d.core.errors import UserError
from gs3d.distill.budget import Budget
from gs3d.distill.step import StepLog

LOG = "log.jsonl"


class RunLog:
    """Appends rows to log.jsonl. A full disk ends the log with a warning, not the run."""

    def __init__(self, path: Path, warn: Callable[[str], None]):
        self.path, self.warn = path, warn
        self.file = open(path, "a")  # noqa: SIM115 - open for the whole run

    def add(self, entry: StepLog, budget: Budget) -> None:
        if self.file is None:
            return
        try:
            self.file.write(json.dumps(_row(entry, budget)) + "\n")
            self.file.flush()
        except OSError as error:
            self.warn(f"{self.path}: {error.strerror}; the run continues without a log")
            self.close()

    def close(self) -> None:
        if self.file is not None:
            # Closing flushes once more, and fails again where `add` could not write.
            with contextlib.suppress(OSError):
                self.file.close()
        self.file = None


def read_log(path: Path) -> list[dict]:
    """Read the rows of a log.jsonl. Incomplete lines and lines without a row are skipped."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and {"step", "elapsed_s"} <= row.keys():
            rows.append(row)
    return rows


def trim_log(path: Path, step: int) -> None:
    """Drop the rows of iterations that a resumed run repeats, and half-written ones."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] < step:
                kept.append(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text("".join(row + "\n" for row in kept), "utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free some space, then use --resume"
        ) from None


def _row(entry: StepLog, budget: Budget) -> dict:
    row = {
        "step": entry.step,
        "progress": entry.progress,
        "elapsed_s": round(budget.elapsed_s(), 2),
        "loss": _number(entry.loss),
        "grad_rms": _number(entry.grad_norm),
        entry.counts: entry.count,
        **({} if entry.particle is None else {"particle": entry.particle}),
    }
    if taken := sorted(row.keys() & entry.values.keys()):
        raise UserError(
            f"--guidance: its log has {', '.join(taken)}, which log.jsonl has already; rename it"
        )
    row |= {name: round(value, 4) for name, value in entry.values.items()}
    return row | ({"skipped": True} if entry.skipped else {})


def _number(value: torch.Tensor) -> float | None:
    """Five digits, or None for NaN and Inf, which JSON cannot hold."""
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None

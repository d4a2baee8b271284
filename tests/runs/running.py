"""Helpers for tests that execute whole runs: small configs, and `generate` with plain callbacks."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import torch

from gs3d.core.types import Splats
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.execute import Result, execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request

SPLATS = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [32]}, draws: 4}
gaussians: {count: 150, rates: {iterations: 10}}
densify: {start: 0.2, stop: 0.9, rounds: 4, grow_share: 0.2, max_count: 400}
losses:
  cds: {cfg: {start: 5, end: 5}}
  sds: {cfg: {start: 5, end: 5}}
"""
"""A run of splats alone."""
SPLATS_FILES = {
    "splats.ply",
    "preview.png",
    "turntable.mp4",
    "progress.png",
    "run.yaml",
    "log.jsonl",
    "log.png",
    "checkpoint",
}
"""All files of a finished run of splats."""
FIELD_THEN_SURFACE = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
losses:
  cds: {cfg: {start: 5, end: 5}}
  sds: {cfg: {start: 5, end: 5}}
stages:
  - representation: nerf
    nerf:
      samples: 8
      occupancy_resolution: 8
      occupancy_every: 2
      field: {hidden: 8, grid: {levels: 3, log2_size: 10, coarsest: 4, finest: 16}}
  - {representation: dmtet, normals: 0.5, dmtet: {resolution: 12}}
"""
"""The stages of mode two-stage: a radiance field, then a surface."""
SPLATS_THEN_SURFACE = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
losses:
  cds: {cfg: {start: 5, end: 5}}
  sds: {cfg: {start: 5, end: 5}}
stages:
  - {representation: splats, gaussians: {count: 400}}
  - representation: dmtet
    normals: 0.5
    dmtet:
      resolution: 12
      field: {hidden: 8, grid: {levels: 3, log2_size: 10, coarsest: 4, finest: 16}}
"""
"""The stages of mode mesh: splats, then a surface that starts from them."""


def generate(request: Request, report=None, say=None, control=None) -> Result:
    """Execute `request` with `report` as `on_step`.

    `say` gets each message as a line. Warnings start with "warning: ".
    """
    given = {"on_step": report, "control": control}
    if say is not None:
        given["on_message"] = lambda m: say(f"warning: {m.text}" if m.is_warning else m.text)
    callbacks = Callbacks(**{name: value for name, value in given.items() if value is not None})
    return execute(prepare(request), callbacks)


def request_for(prior: Path, folder: Path, config: str, steps: int, **changes) -> Request:
    """A request that writes to `folder`/run, with the settings `config` as a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(config)
    request = Request(
        "a red mushroom",
        steps=steps,
        prior=str(prior),
        out=folder / "run",
        config=path,
        device="cpu",
    )
    return dataclasses.replace(request, **changes)


def copy_of(finished: Result, request: Request) -> Request:
    """`request`, after copying the files of the run `finished` to its output directory."""
    shutil.copytree(finished.folder, request.out)
    return request


def interrupt_after(step: int) -> Callable:
    """An `on_step` callback that sends Ctrl-C after iteration `step`."""

    def report(entry, budget):
        if entry.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return report


def log_rows(folder: Path) -> list[dict]:
    """The rows of log.jsonl."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def equal(a: Splats, b: Splats) -> bool:
    """Whether two sets of splats are equal to the bit."""
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))

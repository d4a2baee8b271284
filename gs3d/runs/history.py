"""Earlier runs: what their run.yaml and checkpoints hold."""

import json
from pathlib import Path

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.distill.settings.changes import complete_record
from gs3d.distill.settings.config import parse_config, without_objects
from gs3d.distill.settings.stages import RunConfig
from gs3d.distill.state import particle_seed
from gs3d.distill.step import cameras_at
from gs3d.io import result_file
from gs3d.priors.loading.factories import FACTORIES
from gs3d.priors.loading.resolve import NAMES
from gs3d.representations.base import Representation
from gs3d.runs.folders import run_yaml
from gs3d.runs.loop import restore


def read_record(folder: Path) -> dict | None:
    """run.yaml of a run that has ended and whose splats or mesh exist; None for any other
    folder."""
    record = run_yaml(folder)
    return record if has_ended(record) and result_file(folder) else None


def has_ended(record: dict | None) -> bool:
    """Whether what run.yaml holds is of a run that has ended."""
    try:
        return (
            record is not None
            and {"prompt", "seed", "timings_s"} <= record.keys()
            and bool({"guidance", "stages"} & record["config"].keys())
            and "outcome" in record["result"]
        )
    except (AttributeError, KeyError, TypeError):
        return False


def run_folder(folder: Path, record: dict | None) -> Path:
    """The folder with checkpoint and log of a recorded run: for one of several particles but the
    first, the one above."""
    return folder.parent if record is not None and "particle" in record else folder


def config_of(record: dict, where: str) -> RunConfig:
    """The settings of a run. A guidance object, which run.yaml only names, is replaced by the
    default loss. `UserError` if the settings cannot be read."""
    return parse_config(complete_record(without_objects(record["config"])), f"config {where}")


def representation_of(folder: Path, device: str = "cpu") -> Representation:
    """The representation in the newest checkpoint of a run, or of one of its particles. `UserError`
    if there is none."""
    record = read_record(folder)
    checkpoint = newest_checkpoint(run_folder(folder, record) / "checkpoint")
    if record is None or checkpoint is None:
        finished = "a run.yaml of a finished run"
        lacks = finished if record is None else "a checkpoint that can be read"
        raise UserError(f"{folder}: expected the folder of a run, but it has not {lacks}")
    try:
        config = config_of(record, str(folder / "run.yaml"))
        state = restore(config, checkpoint, device)
        return state.particles[record.get("particle", 1) - 1].representation
    except (
        KeyError,
        IndexError,
        RuntimeError,
    ) as error:  # tensors of another version, or of another run
        raise UserError(
            f"{folder}: its checkpoint does not fit its run.yaml ({type(error).__name__}: {error})"
        ) from None


def is_scene(folder: Path) -> bool:
    """Whether a run made a place that is seen from inside; False for what is no run."""
    record = read_record(folder)
    try:
        return record is not None and config_of(record, "run.yaml").stages[0].cameras.inside
    except UserError:
        return False


def training_cameras(folder: Path, iterations: int = 6) -> list[Cameras]:
    """The cameras of `iterations` iterations, evenly spaced over a run, from its run.yaml and
    log.jsonl; none if one of the two cannot be read.

    For a run that got more time in the middle of a stage they are approximate.
    """
    record = read_record(folder)
    if record is None:
        return []
    try:
        config = config_of(record, str(folder / "run.yaml"))
        log = run_folder(folder, record) / "log.jsonl"
        rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        if own := number_in(record):
            rows = [row for row in rows if row["particle"] == own]
            # Its seed gave each of its own iterations cameras.
            rows = [{**row, "step": i} for i, row in enumerate(rows)]
        step = (len(rows) - 1) / max(iterations - 1, 1)
        chosen = [rows[i] for i in sorted({round(k * step) for k in range(iterations)})]
        return [
            _cameras(record, config, int(row["step"]), float(row["progress"])) for row in chosen
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def number_in(record: dict) -> int | None:
    """Which of the objects that a run began with the result is, from 1; None for a run with one."""
    if "seeds" in record:
        return record["result"]["choice"]["number"]
    return record.get("particle", 1) if "particles" in record else None


def _cameras(record: dict, config: RunConfig, step: int, progress: float) -> Cameras:
    number = config.stage_at(progress)
    begin, end = config.ends(number)
    of_stage = min(max((progress - begin) / max(end - begin, 1e-9), 0.0), 1.0)
    views = (record.get("prior") or {}).get("views", 1)
    seed = particle_seed(record["seed"], (number_in(record) or 1) - 1)
    return cameras_at(config.stages[number], number, seed, step, of_stage, views)


def prior_of(record: dict) -> str:
    """What --prior was in a run: a name, or the place of its files. `UserError` if it was an
    object."""
    prior = record.get("prior") or {}
    if "prior" in record.get("python_objects", ()):
        raise UserError(
            f"prior: that run used the object {prior.get('name')!r} of a Python program; "
            "continue it from there"
        )
    known = prior.get("name") in (*NAMES, *FACTORIES) or prior.get("source") in (None, "gs3d")
    return prior.get("name", "auto") if known else prior["source"]


def loras_of(record: dict) -> tuple[str, ...]:
    """What --lora was in a run; for a file its whole path, as the run may be continued from
    another directory."""
    try:
        used = (record.get("prior") or {}).get("lora") or ()
        return tuple(f"{lora['source']}:{lora['weight']}" for lora in used)
    except (AttributeError, KeyError, TypeError):
        raise UserError(
            "--resume: the record of that run names its LoRAs in another form than expected; "
            "repeat its command with --lora"
        ) from None

"""Runs that `gs3d generate` has left: what their run.yaml says, and how they differ."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.distill.config import OF_RUN, config_tree, parse_config, stages_of
from gs3d.distill.stages import RunConfig
from gs3d.distill.step import cameras_at
from gs3d.io import result_file
from gs3d.priors.loading.resolve import NAMES
from gs3d.representations.base import Representation
from gs3d.runs.loop import restore


def read_record(folder: Path) -> dict | None:
    """What run.yaml says of a run that has ended and whose splats or mesh are there; None for any other folder."""
    try:
        record = yaml.safe_load((folder / "run.yaml").read_text("utf-8"))
        settled = {"guidance", "stages"} & record["config"].keys()
        usable = (
            {"prompt", "seed", "timings_s"} <= record.keys()
            and settled
            and "outcome" in record["result"]
        )
    except (OSError, ValueError, AttributeError, KeyError, TypeError, yaml.YAMLError):
        return None
    return record if usable and result_file(folder) else None


OF_ALL_STAGES = ("minutes", "steps", "prior", *OF_RUN)
"""Settings that a run has whatever its stages are."""


def method_names(records: Sequence[dict], of_all: bool = False) -> list[str]:
    """The loss of each run, with what is different about it from the first run of that loss.

    Of a run with stages of other shapes, their shapes, for nearly all settings would be different: the rest of them is told from the first
    run with its loss and shapes. With `of_all`, each says what it has wherever any of them differs from the first.
    """
    stages = [stages_of(record["config"]) for record in records]
    losses = ["+".join(dict.fromkeys(stage["guidance"] for stage in some)) for some in stages]
    representations = [
        "+".join(str(stage.get("representation", "splats")) for stage in some) for some in stages
    ]
    flat = [_flat(_decisive(record)) for record in records]
    first = {loss: i for i, loss in reversed(list(enumerate(losses)))}
    kinds = list(zip(losses, representations, strict=True))
    alike = {kind: i for i, kind in reversed(list(enumerate(kinds)))}
    changed = []
    for loss, kind, settings in zip(losses, kinds, flat, strict=True):
        whole, same = flat[first[loss]], flat[alike[kind]]
        changed.append(
            [
                key
                for key, value in settings.items()
                if (whole if key in OF_ALL_STAGES else same).get(key) != value
            ]
        )
    if of_all:
        # Of runs with one loss, what any of them has other than the first; of settings of a stage, only where the shapes are the same.
        changed = [
            list(
                dict.fromkeys(
                    k
                    for j, keys in enumerate(changed)
                    for k in keys
                    if k in flat[i] and _tells(k, kinds[i], kinds[j])
                )
            )
            for i in range(len(records))
        ]
    names = []
    for (loss, representation), keys, settings in zip(kinds, changed, flat, strict=True):
        other = (
            [] if representation == representations[first[loss]] else [f"stages={representation}"]
        )
        names.append(",".join((loss, *other, *(f"{key}={settings[key]}" for key in keys))))
    return names


def _tells(key: str, one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether a setting is worth comparing between runs of these (loss, shapes)."""
    return one[0] == other[0] if key in OF_ALL_STAGES else one == other


def _decisive(record: dict) -> dict:
    """Budget, prior and settings of a run."""
    return (
        {k: record.get(k) for k in ("minutes", "steps")}
        | {"prior": (record.get("prior") or {}).get("name")}
        | _whole(record["config"])
    )


def _whole(config: dict) -> dict:
    """Settings with what has come since they were written, at its default; as they are if they can no longer be read."""
    try:
        return config_tree(parse_config(config, "run.yaml"))
    except UserError:
        return config


def _flat(tree: dict, place: str = "") -> dict:
    """Nested settings as place → value: losses.cds.cfg.start → 11, of several stages with their number before it."""
    out = {}
    for key, value in tree.items():
        if key == "stages":
            value = dict(enumerate(value, 1))
        out |= (
            _flat(value, f"{place}{key}.") if isinstance(value, dict) else {f"{place}{key}": value}
        )
    return out


def representation_of(folder: Path, device: str = "cpu") -> Representation:
    """What a run has optimized, as its newest checkpoint has it. `UserError` for a folder that holds none."""
    record, checkpoint = read_record(folder), newest_checkpoint(folder / "checkpoint")
    if record is None or checkpoint is None:
        lacks = (
            "a run.yaml of a finished run" if record is None else "a checkpoint that can be read"
        )
        raise UserError(f"{folder}: expected the folder of a run, but it has not {lacks}")
    try:
        return restore(
            parse_config(record["config"], str(folder / "run.yaml")), checkpoint, device
        ).representation
    except (KeyError, RuntimeError) as error:  # tensors of another version, or of another run
        raise UserError(
            f"{folder}: its checkpoint does not fit its run.yaml ({type(error).__name__}: {error})"
        ) from None


def training_cameras(folder: Path, iterations: int = 6) -> list[Cameras]:
    """Those of so many iterations, at even distances over the run in `folder`, as its run.yaml and log.jsonl have them; none where one of
    the two cannot be read. Where a run was given more time in the middle of a stage, they are about what they were."""
    record = read_record(folder)
    try:
        config = parse_config(record["config"], str(folder / "run.yaml"))
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
        spread = [
            rows[i]
            for i in sorted(
                {round(k * (len(rows) - 1) / max(iterations - 1, 1)) for k in range(iterations)}
            )
        ]
        return [
            _cameras(record, config, int(row["step"]), float(row["progress"])) for row in spread
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, UserError):
        return []


def _cameras(record: dict, config: RunConfig, step: int, progress: float) -> Cameras:
    number = config.stage_at(progress)
    begin, end = config.ends(number)
    of_stage = min(max((progress - begin) / max(end - begin, 1e-9), 0.0), 1.0)
    return cameras_at(
        config.stages[number],
        number,
        record["seed"],
        step,
        of_stage,
        (record.get("prior") or {}).get("views", 1),
    )


def prior_of(record: dict) -> str:
    """What `--prior` was in a run, by its record: a name, or where its files were."""
    prior = record.get("prior") or {}
    known = prior.get("name") in NAMES or prior.get("source") in (None, "gs3d")
    return prior.get("name", "auto") if known else prior["source"]

"""Runs that `gs3d generate` has left: what their run.yaml says, and how they differ."""

from collections.abc import Sequence
from pathlib import Path

import yaml


def read_record(folder: Path) -> dict | None:
    """What run.yaml says of a run that has ended and whose splats are there; None for any other folder."""
    try:
        record = yaml.safe_load((folder / "run.yaml").read_text("utf-8"))
        usable = {"prompt", "seed", "timings_s"} <= record.keys() and "guidance" in record["config"] and "outcome" in record["result"]
    except (OSError, ValueError, AttributeError, KeyError, TypeError, yaml.YAMLError):
        return None
    return record if usable and (folder / "splats.ply").is_file() else None


def method_names(records: Sequence[dict]) -> list[str]:
    """The loss of each run, with what is different about it from the first run of that loss."""
    flat = [_flat(_decisive(record)) for record in records]
    first: dict[str, dict] = {}
    for settings in flat:
        first.setdefault(settings["guidance"], settings)
    changes = [[f"{k}={v}" for k, v in f.items() if first[f["guidance"]].get(k) != v] for f in flat]
    return [",".join((settings["guidance"], *changed)) for settings, changed in zip(flat, changes, strict=True)]


def _decisive(record: dict) -> dict:
    """Budget, prior and settings of a run."""
    return {k: record.get(k) for k in ("minutes", "steps")} | {"prior": (record.get("prior") or {}).get("name")} | record["config"]


def _flat(tree: dict, place: str = "") -> dict:
    """Nested settings as place → value: losses.cds.cfg.start → 11."""
    out = {}
    for key, value in tree.items():
        out |= _flat(value, f"{place}{key}.") if isinstance(value, dict) else {f"{place}{key}": value}
    return out

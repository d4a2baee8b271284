"""Names of compared runs: their guidance loss and the settings that differ."""

from collections.abc import Sequence

from gs3d.core.errors import UserError
from gs3d.distill.config import RUN_KEYS, config_tree, stages_of
from gs3d.runs.history import config_of

RUN_SETTINGS = ("minutes", "steps", "prior", *RUN_KEYS)
"""Settings that do not depend on the stages of a run."""
Kind = tuple[str, str]
"""(guidance losses, representations) of a run."""


def method_names(records: Sequence[dict], of_all: bool = False) -> list[str]:
    """Name each run by its guidance loss and its differences from the first run with that loss.

    Runs whose stages have other representations differ in nearly all settings. Their name lists the
    representations, and their settings are compared with the first run that has the same loss and
    representations.

    Args:
        records: The run.yaml of each run.
        of_all: Include in each name every setting in which any of the runs differs from the first.
    """
    kinds = [_kind_of(record) for record in records]
    flat = [_flat(_settings(record)) for record in records]
    first_of_loss, first_of_kind = {}, {}
    for i, kind in enumerate(kinds):
        first_of_loss.setdefault(kind[0], i)
        first_of_kind.setdefault(kind, i)
    changed = []
    for kind, settings in zip(kinds, flat, strict=True):
        run, stage = flat[first_of_loss[kind[0]]], flat[first_of_kind[kind]]
        changed.append(
            [k for k, v in settings.items() if (run if k in RUN_SETTINGS else stage).get(k) != v]
        )
    if of_all:
        changed = [_all_changed(i, kinds, changed, flat[i]) for i in range(len(records))]
    names = []
    for (loss, stages), keys, settings in zip(kinds, changed, flat, strict=True):
        same = stages == kinds[first_of_loss[loss]][1]
        other = [] if same else [f"stages={stages}"]
        names.append(",".join((loss, *other, *(f"{key}={settings[key]}" for key in keys))))
    return names


def _kind_of(record: dict) -> Kind:
    stages = stages_of(record["config"])
    losses = dict.fromkeys(str(stage["guidance"]) for stage in stages)
    representations = (str(stage.get("representation", "splats")) for stage in stages)
    return "+".join(losses), "+".join(representations)


def _all_changed(i: int, kinds: list[Kind], changed: list[list[str]], settings: dict) -> list[str]:
    """Settings of run `i` in which any comparable run differs from the first."""
    keys = [
        key
        for j, others in enumerate(changed)
        for key in others
        if key in settings and _comparable(key, kinds[i], kinds[j])
    ]
    return list(dict.fromkeys(keys))


def _comparable(key: str, one: Kind, other: Kind) -> bool:
    """Return True if the setting `key` of two runs can be compared.

    Settings of a stage can be compared only if the runs have the same representations.
    """
    return one[0] == other[0] if key in RUN_SETTINGS else one == other


def _settings(record: dict) -> dict:
    """Budget, prior and settings of a run. Settings that are newer than the run have defaults."""
    try:
        config = config_tree(config_of(record, "run.yaml"))
    except UserError:
        config = record["config"]
    budget = {k: record.get(k) for k in ("minutes", "steps")}
    return budget | {"prior": (record.get("prior") or {}).get("name")} | config


def _flat(tree: dict, place: str = "") -> dict:
    """Flatten nested settings to path -> value, such as losses.cds.cfg.start -> 11.

    If there are several stages, they are numbered from 1.
    """
    out = {}
    for key, value in tree.items():
        if key == "stages":
            value = dict(enumerate(value, 1))
        path = f"{place}{key}"
        out |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return out

"""Names for runs that are compared: their guidance loss, and the settings that differ."""

from collections.abc import Sequence

from gs3d.core.errors import UserError
from gs3d.distill.config import OF_RUN, config_tree, stages_of
from gs3d.runs.history import config_of

OF_ALL_STAGES = ("minutes", "steps", "prior", *OF_RUN)
"""Settings that a run has whatever its stages are."""
Kind = tuple[str, str]
"""(guidance losses, representations) of a run."""


def method_names(records: Sequence[dict], of_all: bool = False) -> list[str]:
    """For each run its guidance loss, and where it differs from the first run with that loss.

    Runs whose stages have other representations differ in nearly all settings. Their name lists the
    representations; their settings are compared with the first run with the same loss and
    representations. With `of_all`, each name has every setting in which any of the runs differs
    from the first.
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
            [k for k, v in settings.items() if (run if k in OF_ALL_STAGES else stage).get(k) != v]
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
    """Settings of run i in which any comparable run differs from the first."""
    keys = [
        key
        for j, others in enumerate(changed)
        for key in others
        if key in settings and _comparable(key, kinds[i], kinds[j])
    ]
    return list(dict.fromkeys(keys))


def _comparable(key: str, one: Kind, other: Kind) -> bool:
    """Whether a setting of two runs is worth comparing: one of a stage only if the stages are
    alike."""
    return one[0] == other[0] if key in OF_ALL_STAGES else one == other


def _settings(record: dict) -> dict:
    """Budget, prior and settings of a run. Settings that it lacks, because they are newer, have
    their defaults."""
    try:
        config = config_tree(config_of(record, "run.yaml"))
    except UserError:
        config = record["config"]
    budget = {k: record.get(k) for k in ("minutes", "steps")}
    return budget | {"prior": (record.get("prior") or {}).get("name")} | config


def _flat(tree: dict, place: str = "") -> dict:
    """Nested settings as path -> value, such as losses.cds.cfg.start -> 11; several stages are
    numbered from 1."""
    out = {}
    for key, value in tree.items():
        if key == "stages":
            value = dict(enumerate(value, 1))
        path = f"{place}{key}"
        out |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return out

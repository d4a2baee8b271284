"""Names of compared runs: their guidance loss and the settings that differ."""

from collections.abc import Sequence
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.distill.settings.changes import stages_of
from gs3d.distill.settings.config import RUN_KEYS, config_tree
from gs3d.guidance import GUIDANCE
from gs3d.runs.history import config_of
from gs3d.runs.planning.recorded import LOSS
from gs3d.runs.request import OBJECTS

OF_START = ("lora", "start")
"""What is compared between runs with any losses, because it can outweigh them."""
RUN_SETTINGS = ("minutes", "steps", *OBJECTS, "prior", *OF_START, "guidance_file", *RUN_KEYS)
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
    for key in ("lora", "guidance_file"):
        _shorten(key, flat)
    first_of_loss, first_of_kind = {}, {}
    for i, kind in enumerate(kinds):
        first_of_loss.setdefault(kind[0], i)
        first_of_kind.setdefault(kind, i)
    changed = []
    for kind, settings in zip(kinds, flat, strict=True):
        run, stage = flat[first_of_loss[kind[0]]], flat[first_of_kind[kind]]

        def first(key: str, run: dict = run, stage: dict = stage) -> dict:
            return flat[0] if key in OF_START else run if key in RUN_SETTINGS else stage

        changed.append([k for k, v in settings.items() if first(k).get(k) != v])
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
    if key in OF_START:
        return True
    return one[0] == other[0] if key in RUN_SETTINGS else one == other


def _settings(record: dict) -> dict:
    """Budget, prior, start and settings of a run. Settings that are newer than the run have
    defaults."""
    try:
        config = _with_own_losses(config_tree(config_of(record, "run.yaml")), record["config"])
    except UserError:
        config = record["config"]
    found = {k: record.get(k) for k in ("minutes", "steps", "start")}
    found |= {name: record.get(name, 1) for name in OBJECTS}
    prior, file = (_dict(record.get(key)) for key in ("prior", LOSS))
    found |= {"prior": prior.get("name"), "lora": loras_as_texts(prior)}
    of_file = (str(file.get("file")), str(file.get("code_sha256"))[:6])
    found["guidance_file"] = of_file if file else None
    return found | config


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _with_own_losses(config: dict, recorded: dict) -> dict:
    """`config` with the recorded settings of losses that are no part of gs3d, which stand for
    themselves."""
    stages, theirs = stages_of(config), stages_of(recorded)
    own = any(str(stage.get("guidance")) not in GUIDANCE for stage in theirs)
    if not own or len(stages) != len(theirs):
        return config
    taken = [
        {**stage, "losses": old.get("losses", {})}
        for stage, old in zip(stages, theirs, strict=True)
    ]
    return {**config, "stages": taken} if "stages" in config else {**config, **taken[0]}


def _shorten(key: str, runs: list[dict]) -> None:
    """Replace (names, hashes) by the names alone if no two runs have the same names and other
    hashes; else by both. None stays None."""
    known = {run[key] for run in runs if run[key]}
    for run in runs:
        if run[key]:
            names, hashes = run[key]
            alone = sum(other[0] == names for other in known) == 1
            run[key] = names if alone else f"{names}@{hashes}"


def loras_as_texts(prior: dict) -> tuple[str, str] | None:
    """Names and weights of the LoRAs of a recorded prior, "style.safetensors:0.8", and the first
    digits of their hashes, each joined by "+"; None without any."""
    used = prior.get("lora")
    used = [lora for lora in used if isinstance(lora, dict)] if isinstance(used, list) else []
    if not used:
        return None
    names = (f"{Path(str(lora.get('name'))).name}:{lora.get('weight')}" for lora in used)
    return "+".join(names), "+".join(str(lora.get("sha256"))[:6] for lora in used)


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

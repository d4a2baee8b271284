"""Changes to settings: merging a file with its `base`, and single `key.path=value` settings."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from gs3d.core.errors import UserError, shown
from gs3d.distill.settings.build import build, check_loss, optional_of, paths_of
from gs3d.distill.settings.old_names import rename_path, rename_settings, rename_value
from gs3d.distill.settings.stages import RunConfig, StageConfig
from gs3d.guidance import GUIDANCE
from gs3d.io.plain_yaml import load_yaml

NOT_SETTINGS = ("stages", "guidance")
"""Dataclass fields that are no single settings: the list of stages, and the loss object."""


def merge(base: dict, changes: dict) -> dict:
    """Return `base` updated with `changes`.

    Nested dictionaries are merged, and stages are merged by position. Any other value in `changes`
    replaces the value in `base`.
    """
    return {**base, **{key: _merged(key, base.get(key), value) for key, value in changes.items()}}


def _merged(key: str, old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return merge(old, new)
    if key == "stages" and _is_stages(old) and _is_stages(new):
        common = [merge(*pair) for pair in zip(old, new, strict=False)]
        return common + (old if len(old) > len(new) else new)[len(common) :]
    return new


def _is_stages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def without_objects(
    tree: dict, losses: Mapping[str, type] = GUIDANCE, stand_in: str = "cds"
) -> dict:
    """Settings of a run with a guidance that is none of `losses`, which a file only names, with the
    loss `stand_in` and its defaults in its place."""
    stages = stages_of(tree)
    if {str(stage.get("guidance", "cds")) for stage in stages} <= losses.keys():
        return tree
    stages = [{**stage, "guidance": stand_in, "losses": {}} for stage in stages]
    return {**tree, "stages": stages} if "stages" in tree else stages[0]


def stages_of(tree: Any) -> list[dict]:
    """Stages in the `config` of a run.yaml, with all settings; [] if `tree` holds no settings."""
    tree = rename_settings(StageConfig, tree) if isinstance(tree, dict) else {}
    stages = tree.get("stages", [tree])
    stages = stages if isinstance(stages, list) else []
    return [rename_settings(StageConfig, part) for part in stages if isinstance(part, dict)]


def complete_record(config: Any) -> Any:
    """The settings in a run.yaml. Where they are older than a setting, what it was at the time is
    added in place."""
    stages = config.get("stages", [config]) if isinstance(config, dict) else []
    for stage in stages if isinstance(stages, list) else []:
        if isinstance(stage, dict):
            stage.setdefault("regularizer_weights", "absolute")
            if isinstance(gaussians := stage.get("gaussians"), dict):
                gaussians.setdefault("smoothing_px", 0.0)
    return config


def setting_types(losses: Mapping[str, type] = GUIDANCE) -> dict[str, Any]:
    """Path -> type of every setting. A path is, e.g., "gaussians.count" or "losses.sds.t.start"."""
    found = dict(paths_of(RunConfig)) | dict(paths_of(StageConfig))
    for name, loss in losses.items():
        check_loss(loss)
        found |= dict(paths_of(loss, f"losses.{name}."))
    return {path: kind for path, kind in found.items() if path not in NOT_SETTINGS}


def set_value(
    tree: dict, change: str, where: str = "--set", losses: Mapping[str, type] = GUIDANCE
) -> None:
    """Apply PATH=VALUE to `tree`, complete settings from `config.config_tree`, in place.

    The value is YAML. A path without a stage number changes every stage that has the setting;
    "stages.2.batch" changes the second stage alone.

    Raises:
        UserError: The path is unknown (the closest one is suggested), the value has another type,
            or the stage does not exist.
    """
    path, equals, text = change.partition("=")
    path = path.strip()
    if not equals:
        raise UserError(f"{where} {change}: expected PATH=VALUE, such as gaussians.count=5000")
    text = rename_value(path, text)
    trees, path = _stages_for(tree, rename_path(path), f"{where} {change}")
    every = setting_types(losses)
    used = {f"losses.{name}." for part in trees for name in part.get("losses", {})}
    # Settings of a loss that no stage uses would change nothing.
    known = {
        p: kind
        for p, kind in every.items()
        if not p.startswith("losses.") or p.startswith(tuple(used))
    }
    if (loss := _loss_of(path, losses)) and f"losses.{loss}." not in used:
        names = ", ".join(sorted(name.split(".")[1] for name in used))
        raise UserError(f"{where} {change}: the loss in use is {names}; this would change nothing")
    if path not in known:
        advice = _hint(path, list(known), where, losses)
        raise UserError(f"{where} {change}: unknown setting {path!r}; {advice}")
    try:
        value = load_yaml(text)
    except ValueError:
        raise UserError(f"{where} {shown(change, 200)}: the value is not YAML") from None
    section = optional_of(known[path])
    may_be_none = value is None and section is not known[path]
    if is_dataclass(section) and not isinstance(value, dict) and not may_be_none:
        names = [field.name for field in fields(section)]
        raise UserError(
            f"{where} {change}: {path!r} has the settings {', '.join(names)}; "
            f"set one of them, such as {path}.{names[0]}"
        )
    build(known[path], value, f"{where} {change}")
    *parents, key = path.split(".")
    if loss:  # another stage may have another one
        trees = [part for part in trees if loss in part.get("losses", {})]
    targets = [part for part in trees if not parents or parents[0] in part]
    if not targets:
        kinds = ", ".join(str(part.get("representation")) for part in trees)
        raise UserError(f"{where} {change}: no stage has {parents[0]!r}; the stages are {kinds}")
    for target in targets:
        for parent in parents:
            if not isinstance(target.get(parent), dict):
                target[parent] = {}
            target = target[parent]
        target[key] = value


def check_path(change: str, where: str = "--set", losses: Mapping[str, type] = GUIDANCE) -> None:
    """Check the path of PATH=VALUE before the settings are known. `UserError` if no setting has
    it."""
    path = _within_stage(rename_path(change.partition("=")[0].strip()))
    known = setting_types(losses)
    if path and path not in known:
        advice = _hint(path, list(known), where, losses)
        raise UserError(f"{where} {change}: unknown setting {path!r}; {advice}")


def _hint(path: str, known: list[str], where: str, losses: Mapping[str, type]) -> str:
    """Advice for an unknown path."""
    if path == "guidance":
        return f"choose the loss with {'--guidance' if where == '--set' else 'the first word'}"
    first, _, rest = path.partition(".")
    if first == "guidance" or first in losses:
        of_losses = [p for p in known if p.startswith(f"losses.{first}.")]
        of_losses = of_losses or [p for p in known if p.startswith("losses.")]
        near = [p for p in of_losses if p.split(".", 2)[2] == (rest or "cfg")]
        near = near or [p for p in of_losses if p.endswith(".cfg")]
        example = f", such as {(near or of_losses)[0]}" if of_losses else ""
        return f"settings of a loss are under losses{example}"
    if loss := _loss_of(path, losses):
        head = f"losses.{loss}."
        inner = [p.removeprefix(head) for p in known if p.startswith(head)]
        near = difflib.get_close_matches(path.removeprefix(head), inner, 1, 0.6)
        if near:
            return f"did you mean {head + near[0]!r}?"
        names = ", ".join(name for name in inner if "." not in name)
        return f"the settings of losses.{loss} are {names}" if names else f"{loss} has no settings"
    # Users leave out the first parts of a path, so compare with the last parts too.
    depth = path.count(".") + 1
    ends = {".".join(p.split(".")[-depth:]): p for p in reversed(known)}
    near = difflib.get_close_matches(path, [*known, *ends], 1, 0.6)
    if not near:
        return "the presets in configs/ show the settings"
    found = ends.get(near[0], near[0])
    if first != "losses" and (loss := _loss_of(found, losses)):
        inner = found.removeprefix(f"losses.{loss}.")
        # Of many losses, the first one may not be that of the run.
        if sum(f"losses.{name}.{inner}" in known for name in losses) > 1:
            return f"did you mean 'losses.LOSS.{inner}', LOSS being the loss of the run?"
    return f"did you mean {found!r}?"


def _loss_of(path: str, losses: Mapping[str, type]) -> str | None:
    """Name of the loss that a path such as "losses.sds.cfg" belongs to."""
    first, _, rest = path.partition(".")
    name = rest.partition(".")[0]
    return name if first == "losses" and name in losses else None


def _stages_for(tree: dict, path: str, where: str) -> tuple[list[dict], str]:
    """Return the dictionaries that a path refers to, and the path inside them."""
    stages = tree.get("stages", [tree])
    first, _, rest = path.partition(".")
    if first in {name for name, _ in paths_of(RunConfig)} - {"stages"}:
        return [tree], path
    if first != "stages":
        return stages, path
    number, inner = rest.partition(".")[0], _within_stage(path)
    if not inner:
        raise UserError(f"{where}: expected PATH=VALUE with the path of one setting, got {path!r}")
    if number.isdigit() and 1 <= int(number) <= len(stages):
        return [stages[int(number) - 1]], inner
    if len(stages) == 1:
        raise UserError(f"{where}: this run has one stage; name its setting {inner!r}")
    expected = f"stages.1 to stages.{len(stages)}"
    raise UserError(f"{where}: expected {expected} before the setting, got {path!r}")


def _within_stage(path: str) -> str:
    """`path` without "stages." and the number of a stage; "" if nothing is left."""
    first, _, rest = path.partition(".")
    if first != "stages":
        return path
    number, _, inner = rest.partition(".")
    return inner if number.isdigit() else rest


def differences(old: dict, new: dict, most: int = 3) -> str:
    """How two trees of settings differ, such as "batch: 4 -> 8, densify.rounds: 9 -> 4 and 2 more".

    "" if they are equal. Settings that only one tree has are ignored if anything else differs,
    since a different loss, representation or number of stages causes that and is listed.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    paths = dict.fromkeys([*before, *after])
    changed = [path for path in paths if path in before and path in after]
    changed = [path for path in changed if before[path] != after[path]]
    changed = changed or [path for path in paths if (path in before) != (path in after)]
    shown = [f"{p}: {before.get(p, 'unset')} -> {after.get(p, 'unset')}" for p in changed[:most]]
    more = f" and {len(changed) - most} more" if len(changed) > most else ""
    return ", ".join(shown) + more


def _leaves(tree: dict, head: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of each setting in a tree, and ("number of stages", value)."""
    if not head:
        yield "number of stages", len(tree["stages"]) if _is_stages(tree.get("stages")) else 1
    for key, value in tree.items():
        if key == "stages" and _is_stages(value):
            for number, stage in enumerate(value, 1):
                yield from _leaves(stage, f"stages.{number}.")
        elif isinstance(value, dict) and value:
            yield from _leaves(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", value

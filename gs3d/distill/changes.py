"""Changes of settings: a file on top of its `base`, and single `key.path=value` settings."""

import difflib
from typing import Any

from gs3d.core.errors import UserError
from gs3d.distill.build import build, paths_of
from gs3d.distill.stages import RunConfig, StageConfig
from gs3d.guidance import GUIDANCE

NOT_PATHS = ("stages", "guidance")
"""Fields of the dataclasses that are no single settings: the list of stages, and a loss object."""


def merge(base: dict, changes: dict) -> dict:
    """`base` with `changes` on top. Dictionaries are merged; stages are merged by their position;
    any other value replaces the one of `base`."""
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


def setting_types() -> dict[str, Any]:
    """Path -> type of every setting, such as "gaussians.count" or "losses.sds.cfg.start"."""
    found = dict(paths_of(RunConfig)) | dict(paths_of(StageConfig))
    for name, loss in GUIDANCE.items():
        found |= dict(paths_of(loss, f"losses.{name}."))
    return {path: kind for path, kind in found.items() if path not in NOT_PATHS}


def set_value(tree: dict, change: str, where: str = "--set") -> None:
    """Apply PATH=VALUE to complete settings (`config.config_tree`), in place.

    The value is YAML. A path without a stage number changes every stage that has the setting;
    "stages.2.batch" changes the second stage alone.

    Raises:
        UserError: An unknown path (the nearest one is named), a value of another type, or a
            stage that does not exist.
    """
    import yaml

    path, equals, text = change.partition("=")
    path = path.strip()
    if not equals:
        raise UserError(f"{where} {change}: expected PATH=VALUE, such as gaussians.count=5000")
    trees, path = _stages_for(tree, path, f"{where} {change}")
    known = setting_types()
    if path not in known:
        raise UserError(f"{where} {change}: unknown setting {path!r}; {_hint(path, list(known))}")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise UserError(f"{where} {change}: the value is not YAML") from None
    build(known[path], value, f"{where} {change}")
    *parents, key = path.split(".")
    holders = [part for part in trees if not parents or parents[0] in part]
    if not holders:
        kinds = ", ".join(str(part.get("representation")) for part in trees)
        raise UserError(f"{where} {change}: no stage has {parents[0]!r}; the stages are {kinds}")
    for holder in holders:
        for parent in parents:
            if not isinstance(holder.get(parent), dict):
                holder[parent] = {}
            holder = holder[parent]
        holder[key] = value


def _hint(path: str, known: list[str]) -> str:
    """What to write instead of an unknown path."""
    if path == "guidance":
        return "choose the loss with --guidance"
    # People leave out the first parts of a path, so its end is compared too.
    depth = path.count(".") + 1
    ends = {".".join(p.split(".")[-depth:]): p for p in reversed(known)}
    near = difflib.get_close_matches(path, [*known, *ends], 1, 0.6)
    if not near:
        return "the presets in configs/ show the settings"
    return f"did you mean {ends.get(near[0], near[0])!r}?"


def _stages_for(tree: dict, path: str, where: str) -> tuple[list[dict], str]:
    """The dictionaries that a path changes, and the path inside them."""
    stages = tree.get("stages", [tree])
    first, _, rest = path.partition(".")
    if first in {name for name, _ in paths_of(RunConfig)} - {"stages"}:
        return [tree], path
    if first != "stages":
        return stages, path
    number, _, inner = rest.partition(".")
    if path == "stages":
        raise UserError(f"{where}: expected PATH=VALUE with the path of one setting, got 'stages'")
    if not number.isdigit() or not 1 <= int(number) <= len(stages):
        expected = f"stages.1 to stages.{len(stages)}"
        raise UserError(f"{where}: expected {expected} before the setting, got {path!r}")
    return [stages[int(number) - 1]], inner

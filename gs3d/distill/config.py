"""Presets and other YAML to the settings of a run and back, strictly: a key that is none is an error that names the nearest one.

A file says one stage, or what all of several have in common and, under `stages`, what is different in each.
"""

import dataclasses
import difflib
import sys
import types
import typing
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from gs3d.core.errors import UserError
from gs3d.distill.old_names import rename_settings
from gs3d.distill.stages import SECTIONS, RunConfig, StageConfig
from gs3d.guidance import GUIDANCE
from gs3d.representations.dmtet.dmtet import DmtetConfig

OF_RUN = tuple(f.name for f in fields(RunConfig) if f.name != "stages")
OF_STAGE = ("losses", *(f.name for f in fields(StageConfig)))


def preset_names() -> list[str]:
    """Presets shipped with gs3d."""
    return sorted(p.name[:-5] for p in files("gs3d.configs").iterdir() if p.name.endswith(".yaml"))


def load_config(source: str | Path, loss: str | None = None) -> RunConfig:
    """A `RunConfig` from a preset's name, a YAML file or another run's run.yaml; keys not named there keep their defaults.

    `losses` maps a loss to its settings and `guidance` names the one to use; `loss` overrides that choice.
    """
    import yaml

    text = _read(source)
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # Not only its own: for a value like 2024-13-01 or `!!bool x` it lets through what the conversion raised.
        raise UserError(f"config {source}: not YAML: {' '.join(str(error).split())}") from None
    if (
        isinstance(tree, dict) and {"prompt", "config"} <= tree.keys()
    ):  # a run.yaml: its settings without what they were used for
        tree = tree["config"]
        for part in stages_of(tree):
            if loss not in (None, part.get("guidance")):
                raise UserError(
                    f"config {source}: a run with {part.get('guidance')!r}, which says nothing of {loss!r}; give a run of that or a preset"
                )
    return parse_config({} if tree is None else tree, str(source), loss)


def _read(source: str | Path) -> str:
    """The text of a preset or a file."""
    if str(source) in preset_names():
        return files("gs3d.configs").joinpath(f"{source}.yaml").read_text("utf-8")
    path = Path(source)
    try:
        if path.is_dir():
            raise UserError(
                f"config {str(source)!r}: is a folder; expected a YAML file or a preset ({', '.join(preset_names())})"
            )
        if not path.is_file():
            raise UserError(
                f"config {str(source)!r}: no such file or preset; presets are {', '.join(preset_names())}"
            )
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(f"config {str(source)!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"config {str(source)!r}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def stages_of(tree: Any) -> list[dict]:
    """The stages of a run.yaml's settings, each whole; none of what is no settings."""
    tree = tree if isinstance(tree, dict) else {}
    stages = tree.get("stages", [tree])
    return [part for part in stages if isinstance(part, dict)] if isinstance(stages, list) else []


def parse_config(tree: Any, where: str, loss: str | None = None) -> RunConfig:
    """A `RunConfig` from nested dictionaries."""
    if not isinstance(tree, dict):
        raise UserError(
            f"config {where}: expected settings as `key: value`, got {type(tree).__name__}"
        )
    tree = rename_settings(StageConfig, tree)
    for key in tree:
        _known(key, ["stages", *OF_STAGE, *OF_RUN], where)
    common = {key: value for key, value in tree.items() if key in OF_STAGE}
    different = tree.get("stages", [{}])
    if (
        not isinstance(different, list)
        or not different
        or not all(isinstance(part, dict) for part in different)
    ):
        raise UserError(
            f"config {where}: stages: expected a list of settings as `key: value`, got {different!r}"
        )
    different = [rename_settings(StageConfig, part) for part in different]
    several = "stages" in tree
    stages = [
        _stage(_merged(common, part), f"{where}: stages: {i + 1}" if several else where, loss)
        for i, part in enumerate(different)
    ]
    for i, (before, after) in enumerate(zip(stages, stages[1:], strict=False), 1):
        # A surface has its colors from the field it began as, and so that field's sizes.
        if before.representation == "splats":
            continue
        source = before.nerf.field if before.representation == "nerf" else before.dmtet.field
        if after.dmtet.field not in (source, DmtetConfig().field):
            raise UserError(
                f"config {where}: stages: {i + 1}: dmtet: field: is that of the stage before; leave it out"
            )
        stages[i] = dataclasses.replace(after, dmtet=dataclasses.replace(after.dmtet, field=source))
    run = _build(RunConfig, {key: value for key, value in tree.items() if key in OF_RUN}, where)
    try:
        return dataclasses.replace(run, stages=tuple(stages))
    except ValueError as error:
        raise UserError(f"config {where}: {error}") from None


def _merged(common: dict, different: dict) -> dict:
    """`common` with what `different` says otherwise, inside dictionaries too."""
    both = {
        key: _merged(common[key], value) if _dicts(common.get(key), value) else value
        for key, value in different.items()
    }
    return {**common, **both}


def _dicts(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _stage(tree: dict, where: str, loss: str | None) -> StageConfig:
    """`losses` maps a loss to its settings and `guidance` names the one to use; `loss` overrides that choice."""
    for key in tree:
        _known(key, list(OF_STAGE), where)
    losses, named = tree.pop("losses", None), tree.pop("guidance", "cds")
    losses = {} if losses is None else losses
    if not isinstance(losses, dict):
        raise UserError(
            f"config {where}: losses: expected settings as `key: value`, got {losses!r}"
        )
    for choice in (named, loss or named):
        if not isinstance(choice, str) or choice not in GUIDANCE:
            raise UserError(
                f"config {where}: unknown loss {choice!r}; expected one of {', '.join(GUIDANCE)}"
            )
    for name in losses:
        _known(name, list(GUIDANCE), f"{where}: losses")
    # The loss that is not used is read too, so that a fault in it shows now and not on the day it is.
    given = {name: {} if losses.get(name) is None else losses[name] for name in GUIDANCE}
    built = {
        name: _build(GUIDANCE[name], given[name], f"{where}: losses.{name}") for name in GUIDANCE
    }
    return dataclasses.replace(_build(StageConfig, tree, where), guidance=built[loss or named])


def config_tree(config: RunConfig) -> dict:
    """The inverse of `parse_config`, in plain lists and dictionaries; of a stage, what its shape makes use of."""
    stages = [_stage_tree(stage) for stage in config.stages]
    run = {name: _plain(getattr(config, name)) for name in OF_RUN}
    return {**run, **(stages[0] if len(stages) == 1 else {"stages": stages})}


def _stage_tree(stage: StageConfig) -> dict:
    unused = {
        section
        for representation, sections in SECTIONS.items()
        if representation != stage.representation
        for section in sections
    }
    tree = {key: value for key, value in _plain(stage).items() if key not in unused}
    name = next(k for k, v in GUIDANCE.items() if isinstance(stage.guidance, v))
    return {**tree, "guidance": name, "losses": {name: tree["guidance"]}}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _known(key: str, allowed: list[str], where: str) -> None:
    if key not in allowed:
        near = difflib.get_close_matches(str(key), allowed, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(allowed)}"
        raise UserError(f"config {where}: unknown setting {key!r}; {hint}")


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` from YAML as the type `kind`: dataclass, tuple, literal, optional or plain."""
    origin = typing.get_origin(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise UserError(f"config {where}: expected settings as `key: value`, got {value!r}")
        value = rename_settings(kind, value)
        hints = typing.get_type_hints(kind)
        for key in value:
            _known(key, list(hints), where)
        missing = [
            f.name
            for f in fields(kind)
            if f.default is f.default_factory is dataclasses.MISSING and f.name not in value
        ]
        if missing:
            raise UserError(f"config {where}: expected {', '.join(missing)} too, got {value!r}")
        try:
            return kind(**{k: _build(hints[k], v, f"{where}: {k}") for k, v in value.items()})
        except ValueError as error:
            raise UserError(f"config {where}: {error}") from None
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in typing.get_args(kind):
            return None
        return _build(next(k for k in typing.get_args(kind) if k is not type(None)), value, where)
    if origin is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, list) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
            raise UserError(
                f"config {where}: expected a list{'' if inner[-1] is Ellipsis else f' of {len(inner)}'}, got {value!r}"
            )
        return tuple(
            _build(inner[0] if inner[-1] is Ellipsis else inner[i], v, where)
            for i, v in enumerate(value)
        )
    if origin is Literal:
        value = "gray" if value == "grey" else value
        if value not in typing.get_args(kind):
            raise UserError(
                f"config {where}: expected one of {', '.join(map(str, typing.get_args(kind)))}, got {value!r}"
            )
        return value
    # The bound leaves out infinities, NaN, and integers that no float can hold.
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    raise UserError(f"config {where}: expected {kind.__name__}, got {value!r}")

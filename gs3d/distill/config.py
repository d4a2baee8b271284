"""Presets and other YAML files to the settings of a run and back.

A file describes one stage, or what several stages share and, under `stages`, how each differs.
`base: NAME_OR_FILE` takes everything that the file does not set from another preset or file.
"""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.distill.build import build, check_key, plain
from gs3d.distill.changes import merge, set_value
from gs3d.distill.old_names import rename_settings
from gs3d.distill.stages import SECTIONS, RunConfig, StageConfig
from gs3d.guidance import GUIDANCE, Guidance, is_guidance, name_of
from gs3d.representations.dmtet.config import DmtetConfig

OF_RUN = tuple(f.name for f in fields(RunConfig) if f.name != "stages")
OF_STAGE = ("losses", *(f.name for f in fields(StageConfig)))


def preset_names() -> list[str]:
    """Presets shipped with gs3d."""
    return sorted(p.name[:-5] for p in files("gs3d.configs").iterdir() if p.name.endswith(".yaml"))


def load_config(
    source: str | Path, guidance: str | Guidance | None = None, changes: Sequence[str] = ()
) -> RunConfig:
    """The settings in a preset, a YAML file or the run.yaml of an earlier run.

    Args:
        source: Name of a preset, or path of a file. Settings that it lacks keep their defaults.
        guidance: A name of `GUIDANCE`, or an object, that replaces the guidance of every stage.
        changes: "key.path=value" settings, applied last (`changes.set_value`).

    Raises:
        UserError: The source cannot be read, or a setting is unknown or out of range.
    """
    named = guidance if isinstance(guidance, str) else None
    config = parse_config(read_settings(source, named), f"config {source}", named)
    if changes:
        tree = config_tree(config)
        for change in changes:
            set_value(tree, change)
        config = parse_config(tree, "--set", named)
    return config if guidance is None or named else with_guidance(config, guidance)


def with_guidance(config: RunConfig, guidance: Any) -> RunConfig:
    """`config` with one guidance object in every stage. `UserError` if it cannot be called."""
    if not is_guidance(guidance):
        raise UserError(
            f"--guidance: expected one of {', '.join(GUIDANCE)}, or an object that is called as "
            f"gs3d.guidance describes, got {type(guidance).__name__}"
        )
    stages = tuple(dataclasses.replace(stage, guidance=guidance) for stage in config.stages)
    return dataclasses.replace(config, stages=stages)


def read_settings(
    source: str | Path, guidance: str | None = None, chain: tuple[str, ...] = ()
) -> dict:
    """The settings of a preset or file, with those of its `base` below them. `chain` holds the
    files that led here."""
    tree = _yaml_of(source)
    if isinstance(tree, dict) and {"prompt", "config"} <= tree.keys():  # a run.yaml
        tree = tree["config"]
        for stage in stages_of(tree):
            if guidance not in (None, stage.get("guidance")):
                raise UserError(
                    f"config {source}: a run with {stage.get('guidance')!r} has no settings for "
                    f"{guidance!r}; give a run with that guidance, or a preset"
                )
    tree = {} if tree is None else tree
    if not isinstance(tree, dict) or "base" not in tree:
        return tree
    tree = dict(tree)
    base, chain = tree.pop("base"), (*chain, _identity(source))
    if not isinstance(base, str):
        raise UserError(f"config {source}: base: expected a preset or a file, got {base!r}")
    place = base if base in preset_names() else str(_beside(source, base))
    if _identity(place) in chain:
        raise UserError(f"config {source}: base: {base!r} leads back to itself; name another")
    try:
        below = read_settings(place, guidance, chain)
    except UserError as error:
        raise UserError(f"config {source}: base: {error.for_command_line.removeprefix('config ')}") from None
    if not isinstance(below, dict):
        raise UserError(f"config {source}: base: {base!r} holds no settings as `key: value`")
    return merge(rename_settings(StageConfig, below), rename_settings(StageConfig, tree))


def _beside(source: str | Path, base: str) -> Path:
    """A relative path in a file is relative to that file."""
    return Path(base) if str(source) in preset_names() else Path(source).parent / base


def _identity(source: str | Path) -> str:
    return str(source) if str(source) in preset_names() else str(Path(source).resolve())


def _yaml_of(source: str | Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(_read(source))
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        # Not only YAMLError: a value like 2024-13-01 or `!!bool x` raises what its conversion did.
        raise UserError(f"config {source}: not YAML: {' '.join(str(error).split())}") from None


def _read(source: str | Path) -> str:
    """The text of a preset or a file."""
    presets = preset_names()
    if str(source) in presets:
        return files("gs3d.configs").joinpath(f"{source}.yaml").read_text("utf-8")
    path, listed = Path(source), ", ".join(presets)
    try:
        if path.is_dir():
            raise UserError(
                f"config {str(source)!r}: is a folder; expected a YAML file or a preset ({listed})"
            )
        if not path.is_file():
            near = difflib.get_close_matches(path.name, presets, 1, 0.6)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(
                f"config {str(source)!r}: no such file or preset; {hint}presets are {listed}"
            )
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(f"config {str(source)!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"config {str(source)!r}: not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def stages_of(tree: Any) -> list[dict]:
    """The stages in the settings of a run.yaml, each complete; none if `tree` holds no settings."""
    tree = rename_settings(StageConfig, tree) if isinstance(tree, dict) else {}
    stages = tree.get("stages", [tree])
    stages = stages if isinstance(stages, list) else []
    return [rename_settings(StageConfig, part) for part in stages if isinstance(part, dict)]


def parse_config(tree: Any, where: str = "config", guidance: str | None = None) -> RunConfig:
    """A `RunConfig` from nested dictionaries. `UserError` if a setting is unknown or wrong."""
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected settings as `key: value`, got {type(tree).__name__}")
    tree = rename_settings(StageConfig, tree)
    for key in tree:
        check_key(key, ["stages", *OF_STAGE, *OF_RUN], where)
    common = {key: value for key, value in tree.items() if key in OF_STAGE}
    parts = tree.get("stages", [{}])
    if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) for p in parts):
        raise UserError(
            f"{where}: stages: expected a list of settings as `key: value`, got {parts!r}"
        )
    several = "stages" in tree
    stages = []
    for i, part in enumerate(parts, 1):
        settings = merge(common, rename_settings(StageConfig, part))
        stages.append(_stage(settings, f"{where}: stages: {i}" if several else where, guidance))
    _share_fields(stages, where)
    run = build(RunConfig, {k: v for k, v in tree.items() if k in OF_RUN}, where)
    try:
        return dataclasses.replace(run, stages=tuple(stages))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _share_fields(stages: list[StageConfig], where: str) -> None:
    """Give each surface the field settings of the stage before it, which its colors come from."""
    for i, (before, after) in enumerate(zip(stages, stages[1:], strict=False), 1):
        if before.representation == "splats":
            continue
        source = before.nerf.field if before.representation == "nerf" else before.dmtet.field
        if after.dmtet.field not in (source, DmtetConfig().field):
            raise UserError(
                f"{where}: stages: {i + 1}: dmtet: field: is that of the stage before; leave it out"
            )
        surface = dataclasses.replace(after.dmtet, field=source)
        stages[i] = dataclasses.replace(after, dmtet=surface)


def _stage(tree: dict, where: str, guidance: str | None) -> StageConfig:
    """`losses` maps a loss to its settings and `guidance` names the one to use; the argument
    overrides that choice."""
    for key in tree:
        check_key(key, list(OF_STAGE), where)
    tree = dict(tree)
    losses, named = tree.pop("losses", None), tree.pop("guidance", "cds")
    losses = {} if losses is None else losses
    if not isinstance(losses, dict):
        raise UserError(f"{where}: losses: expected settings as `key: value`, got {losses!r}")
    for choice in (named, guidance or named):
        if not isinstance(choice, str) or choice not in GUIDANCE:
            expected = ", ".join(GUIDANCE)
            raise UserError(f"{where}: unknown loss {choice!r}; expected one of {expected}")
    for name in losses:
        check_key(name, list(GUIDANCE), f"{where}: losses")
    # Losses that are not used are built too, so that their faults show now.
    given = {name: {} if losses.get(name) is None else losses[name] for name in GUIDANCE}
    built = {n: build(GUIDANCE[n], given[n], f"{where}: losses.{n}") for n in GUIDANCE}
    stage = build(StageConfig, tree, where)
    # Sections of other representations come from settings that stages share, and change nothing.
    unused = {name: getattr(StageConfig(), name) for name in unused_sections(stage)}
    return dataclasses.replace(stage, guidance=built[guidance or named], **unused)


def config_tree(config: RunConfig) -> dict:
    """The inverse of `parse_config`: plain lists and dictionaries, without the sections that a
    stage's representation does not use."""
    stages = [_stage_tree(stage) for stage in config.stages]
    run = {name: plain(getattr(config, name)) for name in OF_RUN}
    return {**run, **(stages[0] if len(stages) == 1 else {"stages": stages})}


def unused_sections(stage: StageConfig) -> list[str]:
    """Sections of settings that the representation of a stage does not use."""
    other = [names for kind, names in SECTIONS.items() if kind != stage.representation]
    return [name for names in other for name in names]


def _stage_tree(stage: StageConfig) -> dict:
    unused = unused_sections(stage)
    settings = dataclasses.replace(stage, guidance=None)
    tree = {key: value for key, value in plain(settings).items() if key not in unused}
    name = name_of(stage.guidance)
    return {**tree, "guidance": name, "losses": {name: plain(stage.guidance)}}

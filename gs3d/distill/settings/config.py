"""Converts the settings of a run from presets and YAML files, and back."""

import dataclasses
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.distill.settings.build import build, build_losses, check_key, plain, with_usual
from gs3d.distill.settings.changes import merge, set_value, without_objects
from gs3d.distill.settings.files import base_path, read_settings, yaml_of
from gs3d.distill.settings.old_names import rename_settings
from gs3d.distill.settings.stages import SECTIONS, RunConfig, StageConfig
from gs3d.guidance import GUIDANCE, Guidance, losses_with, name_of
from gs3d.guidance.loss_file import LossFile, is_loss_file
from gs3d.representations.dmtet.config import DmtetConfig

RUN_KEYS = tuple(f.name for f in fields(RunConfig) if f.name != "stages")
STAGE_KEYS = ("losses", *(f.name for f in fields(StageConfig)))


def load_config(
    source: str | Path,
    guidance: str | LossFile | Guidance | None = None,
    changes: Sequence[str] = (),
) -> RunConfig:
    """Read the settings in a preset, a YAML file or the run.yaml of an earlier run.

    Args:
        source: Name of a preset, or path of a file. Missing settings come from its `base`, a
            preset or a path relative to the file that names it, or have their defaults.
        guidance: A name in `GUIDANCE`, a file, or an object. It replaces the guidance of every
            stage.
        changes: "key.path=value" settings, applied last (`changes.set_value`).

    Raises:
        UserError: The source cannot be read, or a setting is unknown or out of range.
    """
    name = guidance if isinstance(guidance, (str, LossFile)) else None
    tree = read_settings(source, name)
    if guidance is not None and not isinstance(guidance, str):
        stand_in = guidance.name if isinstance(guidance, LossFile) else "cds"
        tree = without_objects(tree, losses_with(guidance), stand_in)
    try:
        config = parse_config(tree, f"config {source}", name)
    except UserError as error:
        raise UserError(_with_file_at_fault(error.for_command_line, source, name)) from None
    if changes:
        tree = editable_tree(config)
        for change in changes:
            set_value(tree, change, losses=losses_with(guidance))
        config = parse_config(tree, "--set", name)
    return config if guidance is None or name else with_guidance(config, guidance)


def editable_tree(config: RunConfig) -> dict:
    """`config_tree` without the field settings that a surface takes from the stage before it."""
    tree = config_tree(config)
    stages = tree.get("stages", [tree])
    for before, after in zip(stages, stages[1:], strict=False):
        if before["representation"] != "splats":
            after["dmtet"].pop("field")
    return tree


def with_guidance(config: RunConfig, guidance: Any) -> RunConfig:
    """Return `config` with one guidance object in every stage (see `contracts.check_guidance`)."""
    stages = tuple(dataclasses.replace(stage, guidance=guidance) for stage in config.stages)
    return dataclasses.replace(config, stages=stages)


def _with_file_at_fault(message: str, source: str | Path, guidance: str | LossFile | None) -> str:
    """`message` about the settings of `source`, with the `base` that holds the fault, if any."""
    reason = message.removeprefix(f"config {source}")
    while isinstance(tree := yaml_of(source), dict) and isinstance(tree.get("base"), str):
        base = base_path(source, tree["base"])
        try:
            parse_config(read_settings(base, guidance), "", guidance)
            break
        except UserError as error:
            if not reason.endswith(error.for_command_line):
                break
            message = f"config {base} (base of {source}){error.for_command_line}"
        source = base
    return message


def parse_config(
    tree: Any, where: str = "config", guidance: str | LossFile | None = None
) -> RunConfig:
    """Convert nested dictionaries to a `RunConfig`.

    Args:
        tree: The settings.
        where: The source of the settings, for error messages.
        guidance: A loss that replaces the guidance of every stage.

    Raises:
        UserError: A setting is unknown or invalid.
    """
    if not isinstance(tree, dict):
        raise UserError(f"{where}: expected settings as `key: value`, got {type(tree).__name__}")
    tree = rename_settings(StageConfig, tree)
    for key in tree:
        check_key(key, ["stages", *STAGE_KEYS, *RUN_KEYS], where)
    common = {key: value for key, value in tree.items() if key in STAGE_KEYS}
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
    run = build(RunConfig, {k: v for k, v in tree.items() if k in RUN_KEYS}, where)
    try:
        return dataclasses.replace(run, stages=tuple(stages))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _share_fields(stages: list[StageConfig], where: str) -> None:
    """Copy the field settings of each stage to the next, which takes its colors from that field."""
    for i, (before, after) in enumerate(zip(stages, stages[1:], strict=False), 1):
        if before.representation == "splats":
            continue
        source = before.nerf.field if before.representation == "nerf" else before.dmtet.field
        if after.dmtet.field not in (source, DmtetConfig().field):
            raise UserError(
                f"{where}: stages: {i + 1}: dmtet: field: is that of the stage before; "
                "leave its settings out"
            )
        surface = dataclasses.replace(after.dmtet, field=source)
        stages[i] = dataclasses.replace(after, dmtet=surface)


def _stage(tree: dict, where: str, guidance: str | LossFile | None) -> StageConfig:
    """Build one stage.

    In `tree`, `losses` maps each loss to its settings and `guidance` names the loss to use. The
    argument `guidance` overrides that choice. One of a file begins with settings of the
    losses of gs3d (`build.with_usual`).
    """
    for key in tree:
        check_key(key, list(STAGE_KEYS), where)
    tree = dict(tree)
    losses, name_in_tree = tree.pop("losses", None), tree.pop("guidance", "cds")
    known = losses_with(guidance)
    chosen = guidance.name if isinstance(guidance, LossFile) else guidance or name_in_tree
    for choice in (name_in_tree, chosen):
        if not isinstance(choice, str) or choice not in known:
            expected = f"expected one of {', '.join(GUIDANCE)}"
            if is_loss_file(choice):
                expected = "no config may name code; if you trust it, give --guidance " + choice
            raise UserError(f"{where}: unknown loss {choice!r}; {expected}")
    # Unused losses are built too, so that errors in their settings are reported.
    built = build_losses(losses, where, known)
    if isinstance(guidance, LossFile):
        given = (losses or {}).get(chosen) or {}
        try:
            built[chosen] = with_usual(built[chosen], built, name_in_tree, given)
        except ValueError as error:
            raise UserError(
                f"{where}: losses.{chosen}: {error}; the value is the preset's, and the class can "
                "declare its own"
            ) from None
    stage = build(StageConfig, tree, where)
    # Shared settings may have sections for the representations of other stages. Reset them, so
    # that they do not distinguish configs.
    unused = {name: getattr(StageConfig(), name) for name in unused_sections(stage)}
    return dataclasses.replace(stage, guidance=built[chosen], **unused)


def config_tree(config: RunConfig) -> dict:
    """Convert settings to plain lists and dictionaries; the inverse of `parse_config`.

    Sections that the representation of a stage does not use are left out.
    """
    stages = [_stage_tree(stage) for stage in config.stages]
    run = {name: plain(getattr(config, name)) for name in RUN_KEYS}
    return {**run, **(stages[0] if len(stages) == 1 else {"stages": stages})}


def unused_sections(stage: StageConfig) -> list[str]:
    """Names of sections of settings that the representation of a stage does not use."""
    other = [names for kind, names in SECTIONS.items() if kind != stage.representation]
    return [name for names in other for name in names]


def _stage_tree(stage: StageConfig) -> dict:
    unused = unused_sections(stage)
    settings = dataclasses.replace(stage, guidance=None)
    tree = {key: value for key, value in plain(settings).items() if key not in unused}
    name = name_of(stage.guidance)
    return {**tree, "guidance": name, "losses": {name: plain(stage.guidance)}}

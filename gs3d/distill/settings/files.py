"""Reads presets and other YAML files with settings, and merges them over their `base`.

A file describes one stage. With several stages, it holds the settings that they share and, under
`stages`, those of each stage. `base: NAME_OR_FILE` provides all settings that the file itself does
not set; it is the name of a preset, or the path of a file relative to the file that names it.
"""

import difflib
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.distill.settings.changes import complete_record, merge, stages_of
from gs3d.distill.settings.old_names import rename_settings
from gs3d.distill.settings.presets import preset_names, preset_text
from gs3d.distill.settings.stages import StageConfig
from gs3d.guidance.loss_file import LossFile
from gs3d.io.plain_yaml import load_yaml


def read_settings(
    source: str | Path, guidance: str | LossFile | None = None, chain: tuple[str, ...] = ()
) -> dict:
    """Read the settings of a preset or file, merged over those of its `base`.

    `guidance` is the loss that will be used. A run.yaml has settings for its own loss only, so it
    is refused with another of gs3d; a loss of a file needs none. `chain` holds the
    files whose `base` led to this one.

    Raises:
        UserError: The file cannot be read, or its `base` is invalid.
    """
    tree = yaml_of(source)
    if _is_record(tree):
        tree = complete_record(tree["config"])
        for stage in stages_of(tree):
            if isinstance(guidance, str) and guidance != stage.get("guidance"):
                raise UserError(
                    f"config {source}: a run with {stage.get('guidance')!r} has no settings for "
                    f"{guidance!r}; give a run with that guidance, or a preset"
                )
    tree = {} if tree is None else tree
    if not isinstance(tree, dict) or "base" not in tree:
        return tree
    tree = dict(tree)
    base, chain = tree.pop("base"), (*chain, _identity(source))
    if not isinstance(base, str) or not base:
        raise UserError(
            f"config {source}: base: expected the name of a preset, or the path of a file relative "
            f"to this one, got {base!r}"
        )
    base_source = base_path(source, base)
    if _identity(base_source) in chain:
        raise UserError(f"config {source}: base: {base!r} leads back to itself; name another")
    try:
        base_tree = read_settings(base_source, guidance, chain)
    except UserError as error:
        reason = error.for_command_line.removeprefix("config ")
        raise UserError(f"config {source}: base: {reason}") from None
    if not isinstance(base_tree, dict):
        raise UserError(f"config {source}: base: {base!r} holds no settings as `key: value`")
    return merge(rename_settings(StageConfig, base_tree), rename_settings(StageConfig, tree))


def record_in(source: str | Path) -> dict | None:
    """The content of `source` if it is the run.yaml of a run; None for presets and other files."""
    tree = yaml_of(source)
    return tree if _is_record(tree) else None


def _is_record(tree: Any) -> bool:
    return isinstance(tree, dict) and {"prompt", "config"} <= tree.keys()


def base_path(source: str | Path, base: str) -> str:
    """The preset `base`, or the path of the file that `source` names relative to its own folder."""
    presets = preset_names()
    return base if {base, str(source)} & {*presets} else str(Path(source).parent / base)


def _identity(source: str | Path) -> str:
    """Name of a preset or absolute path of a file, to detect cycles."""
    return str(source) if str(source) in preset_names() else str(Path(source).resolve())


def yaml_of(source: str | Path) -> Any:
    """The content of a preset or a file. `UserError` if it cannot be read."""
    text = _read(source)
    try:
        return load_yaml(text)
    except ValueError as error:
        raise UserError(f"config {source}: not YAML: {error}") from None


def _read(source: str | Path) -> str:
    """Read the text of a preset or a file."""
    presets = preset_names()
    if str(source) in presets:
        return preset_text(str(source))
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

"""The presets that are shipped with gs3d: its own, and those of papers."""

from importlib.resources import files
from typing import Any

FOLDERS = (".", "papers")
"""Folders of presets in `gs3d.configs`."""


def preset_names() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(_files())


def preset_text(name: str) -> str:
    """The YAML of the preset with this name."""
    return _files()[name].read_text("utf-8")


def _files() -> dict[str, Any]:
    """Name -> file."""
    found = [file for f in FOLDERS for file in files("gs3d.configs").joinpath(f).iterdir()]
    return {file.name[:-5]: file for file in found if file.name.endswith(".yaml")}

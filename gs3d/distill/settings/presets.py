"""The presets that are shipped with gs3d: its own, and those of papers."""

from importlib.resources import files
from typing import Any

FOLDERS = (".", "papers")
"""Folders of presets in `gs3d.configs`."""


def preset_names() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(_files())


def paper_presets(small: bool) -> list[str]:
    """Names of the presets of papers for large priors or, if `small`, for the built-in prior."""
    papers = {file.name[:-5] for file in files("gs3d.configs").joinpath("papers").iterdir()}
    return sorted(name for name in papers if name.startswith("builtin-") == small)


def preset_text(name: str) -> str:
    """The YAML of the preset with this name."""
    return _files()[name].read_text("utf-8")


def _files() -> dict[str, Any]:
    """Name -> file."""
    found = [file for f in FOLDERS for file in files("gs3d.configs").joinpath(f).iterdir()]
    return {file.name[:-5]: file for file in found if file.name.endswith(".yaml")}

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


def misfit(name: str | None, small: bool) -> str | None:
    """Why a preset is for other priors than a large one or, if `small`, the built-in one, and which
    one to take, for a warning. None for a preset that fits, and for anything but a preset."""
    known = _files()
    if name not in known or (name.partition("-")[0] == "builtin") == small:
        return None
    own = "builtin" if small else "splats-15min"
    other = f"builtin-{name}" if small else name.partition("-")[2]
    kind = "large priors, such as Stable Diffusion" if small else "the built-in prior"
    return f"is for {kind}; for this one there is {other if other in known else own}"


def preset_text(name: str) -> str:
    """The YAML of the preset with this name."""
    return _files()[name].read_text("utf-8")


def _files() -> dict[str, Any]:
    """Name -> file."""
    found = [file for f in FOLDERS for file in files("gs3d.configs").joinpath(f).iterdir()]
    return {file.name[:-5]: file for file in found if file.name.endswith(".yaml")}

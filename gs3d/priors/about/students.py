"""Few-step students: models distilled to make an image in 1 to 8 steps, without guidance.

Such are SD-Turbo and SDXL-Turbo (Sauer et al., arXiv 2311.17042), SDXL-Lightning (Lin et al., arXiv
2402.13929), latent consistency models (Luo et al., arXiv 2310.04378), Hyper-SD (Ren et al., arXiv
2404.13686) and FLUX.1 schnell. They have the parts of the models that they were made from, and load
as those do. Their D at high noise is one sharp image, no mean of images, and a guidance scale far
above 1 oversaturates it.

A latent consistency model whose network has the guidance scale as an input (time_cond_proj_dim) is
refused by `loading.together`: it knows scales of 2 to 14 only, and so no D without guidance.
"""

import re
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.priors.loading.headers import read_object

SCHEDULERS = ("LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler")
"""Schedulers that only consistency models are sampled with."""
NAMES = r"(?<![a-z])(turbo|lightning|lcm|hyper-?sd\w*|schnell)(?![a-z])"
"""Words of the names of students, in lower case."""
STEPS = "1 to 8"


def why_student(folder: Path, name: str) -> str | None:
    """What tells that the model in `folder`, which the user calls `name`, is a few-step student.

    That is the class of its scheduler, or a student's word in its name, if its scheduler also
    spaces its time steps as students need it (trailing) or is one of flow matching, which always
    does. The name is `name`, or the one that model_index.json says it was saved from. None if
    nothing does: most models are none, and a student under another name cannot be told.
    """
    index = _read(folder / "model_index.json")
    settings = _read(folder / "scheduler" / "scheduler_config.json")
    kinds = {str(settings.get("_class_name", "")), _class(index.get("scheduler"))}
    if found := next((kind for kind in SCHEDULERS if kind in kinds), None):
        return f"its scheduler is of the class {found}"
    is_flow = any(kind.startswith("FlowMatch") for kind in kinds)
    if not is_flow and settings.get("timestep_spacing") != "trailing":
        return None
    names = [name, str(index.get("_name_or_path", ""))]
    found = next((m[1] for n in names if (m := re.search(NAMES, _last(n).lower()))), None)
    if found is None:
        return None
    return f'"{found}" in its name' + ("" if is_flow else " and trailing time steps")


def _last(name: str) -> str:
    """The last part of a hub id or path."""
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def _class(entry: Any) -> str:
    """Class of an entry of model_index.json, which is [library, class]."""
    return str(entry[1]) if isinstance(entry, list) and len(entry) == 2 else ""  # pyright: ignore


def _read(path: Path) -> dict[str, Any]:
    """The settings in a file; empty if it cannot be read, which loading the model reports."""
    try:
        return read_object(path, str(path.parent))
    except UserError:
        return {}

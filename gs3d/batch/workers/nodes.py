"""What is tried on each node of a cluster before the first row: the same gs3d, and its places.

Nodes import this module for a small task, so it imports nothing that takes seconds.
"""

import hashlib
import platform
from pathlib import Path
from typing import Any

import gs3d

TOKEN = ".gs3d-shared"
"""File in a folder that all nodes are to see."""


def facts() -> dict[str, str]:
    """What has to be the same on all nodes: versions, and a digest of the code of gs3d."""
    root = Path(gs3d.__file__).parent
    digest = hashlib.sha256()
    # Presets are beside the package in a checkout, and in it once that is installed.
    for file in sorted(f for f in root.rglob("*.py") if "configs" not in f.parts):
        digest.update(f"{file.relative_to(root).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python, "gs3d": gs3d.__version__, "code of gs3d": digest.hexdigest()[:12]}


def difference(here: dict[str, str], there: dict[str, str]) -> str:
    """What is different there, in words; "" if nothing is."""
    for name, value in here.items():
        if (other := there.get(name)) != value:
            return f"{name} is {other} there and {value} here; install the same on all nodes"
    return ""


def report(expected: dict[str, str], folder: str | None, token: str, url: str | None) -> str:
    """Why the node of this process cannot make rows, in words; "" if it can.

    Args:
        expected: The facts of the process that asks.
        folder: Where rows are written, if nodes have to share that.
        token: What `TOKEN` in it holds.
        url: Where rows go instead.
    """
    if found := difference(expected, facts()):
        return found
    if folder is not None:
        try:
            seen = (Path(folder) / TOKEN).read_text("utf-8")
        except OSError:
            seen = None
        if seen != token:
            return (
                f"--out {folder} is not the same folder there; give one that all nodes share, or "
                "a URL such as s3://BUCKET/FOLDER"
            )
    if url is not None:
        from gs3d.batch.remote.folder import check, opened
        from gs3d.core.errors import UserError

        try:
            check(opened(url))
        except UserError as error:
            return error.for_command_line
    return ""


def name_of(node: dict[str, Any]) -> str:
    """A node of `ray.nodes()`, for messages."""
    return f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"


def answer_of(asked: Any, within_s: float) -> str:
    """Why a node cannot make rows, by its answer to `report`; "" if it can."""
    import ray
    from ray import exceptions

    try:
        return ray.get(asked, timeout=0)
    except exceptions.GetTimeoutError:
        return f"does not answer within {within_s:.0f} s"
    except exceptions.RayError as error:
        return f"cannot use gs3d ({in_words(error)}); install it there with gs3d[batch]"


def in_words(error: Exception) -> str:
    """An exception of Ray in one line."""
    error = getattr(error, "cause", None) or error
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""`gs3d --version`: what a bug report needs, without importing torch, which takes a second."""

import importlib.util
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gs3d

ROOT = Path(gs3d.__file__).parents[1]


def version_line() -> str:
    """gs3d, its commit if it runs from a checkout, Python, torch and the CUDA of torch."""
    commit = _commit()
    own = gs3d.__version__ + (f" (commit {commit})" if commit else "")
    return f"gs3d {own}, Python {platform.python_version()}, {_torch()}"


def _commit() -> str:
    if not (ROOT / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _torch() -> str:
    try:
        number, spec = version("torch"), importlib.util.find_spec("torch")
    except (PackageNotFoundError, ValueError):
        return "no torch"
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    try:
        text = (folder / "version.py").read_text("utf-8")
    except (OSError, ValueError):
        return f"torch {number}"
    cuda = re.search(r"^cuda\b[^=]*= *'([\d.]+)'", text, re.M)
    return f"torch {number}, " + (f"CUDA {cuda[1]}" if cuda else "no CUDA")

"""Run a script, benchmark or example in this process, which saves the seconds of its imports."""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_program(monkeypatch, program: str, *arguments: object) -> int:
    """Run a program, such as "scripts/train_clip.py", and return its exit status."""
    path = ROOT / program
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    return 0

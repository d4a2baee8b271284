"""The house keeps its order: a room imports only rooms above it (README, "Where things are")."""

import ast
from pathlib import Path

import pytest

ROOMS = ["core", "raster", "priors", "guidance", "representations", "export", "world", "evaluation", "fitting", "training", "cli"]
ROOT = Path(__file__).parents[1] / "gs3d"
FILES = sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT)


def imported(path: Path) -> set[str]:
    """Rooms that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [f"{node.module}.{a.name}" for a in node.names] if isinstance(node, ast.ImportFrom) else []
        names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
        found |= {n.split(".")[1] for n in names if n.startswith("gs3d.")}
    return found & set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_up_only(path):
    room = path.relative_to(ROOT).parts[0]
    below = {other for other in imported(path) if ROOMS.index(other) > ROOMS.index(room)}
    assert not below, f"{room} may not import {sorted(below)}"


@pytest.mark.parametrize("one,other", [("guidance", "representations"), ("representations", "guidance")])
def test_guidance_and_representations_meet_in_training_only(one, other):
    assert not any(other in imported(p) for p in (ROOT / one).rglob("*.py"))


def test_the_world_stands_on_core_alone():
    assert set().union(*(imported(p) for p in (ROOT / "world").rglob("*.py"))) <= {"core", "world"}


def test_tyro_and_rich_stay_in_the_command_line():
    for path in FILES:
        if path.relative_to(ROOT).parts[0] != "cli":
            text = path.read_text()
            assert "import tyro" not in text and "import rich" not in text and "from rich" not in text, path


def test_viser_stays_in_one_module():
    for path in FILES:
        if path != ROOT / "cli" / "viewer.py":
            assert "import viser" not in path.read_text() and "from viser" not in path.read_text(), path


def test_every_package_is_in_the_wheel():
    """By its line in pyproject.toml: a folder that is not listed there works in a checkout and is missing from what users install."""
    listed = (ROOT.parent / "pyproject.toml").read_text()
    for package in (p.parent.relative_to(ROOT.parent) for p in ROOT.rglob("__init__.py")):
        assert f'    "{".".join(package.parts)}",\n' in listed, package

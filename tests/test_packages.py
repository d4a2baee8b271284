"""The packages keep their order: each imports only packages above it in `PACKAGES`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = [
    "core",
    "raster",
    "priors",
    "guidance",
    "representations",
    "ops",
    "io",
    "world",
    "evaluation",
    "pretraining",
    "distill",
    "runs",
    "experiments",
    "compose",
    "batch",
    "viewer",
    "cli",
]
ROOT = Path(__file__).parents[1] / "gs3d"
FILES = sorted(p for p in ROOT.rglob("*.py") if p.parent != ROOT)
FOLDERS = sorted(p.parent for p in ROOT.rglob("__init__.py"))
KERNELS = ("raster/_project.py", "raster/_tiles.py")
"""Compiled kernels, which may be longer than other files: numba inlines within a file only."""


def imported(path: Path) -> set[str]:
    """Packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = (
            [f"{node.module}.{a.name}" for a in node.names]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
        found |= {n.split(".")[1] for n in names if n.startswith("gs3d.")}
    return found & set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_order(path):
    package = path.relative_to(ROOT).parts[0]
    later = {n for n in imported(path) if PACKAGES.index(n) > PACKAGES.index(package)}
    assert not later, f"{package} may not import {sorted(later)}"


@pytest.mark.parametrize(
    "one,other", [("guidance", "representations"), ("representations", "guidance")]
)
def test_guidance_and_representations_do_not_import_each_other(one, other):
    assert not any(other in imported(p) for p in (ROOT / one).rglob("*.py"))


def test_world_imports_core_alone():
    found = set().union(*(imported(p) for p in (ROOT / "world").rglob("*.py")))
    assert found <= {"core", "world"}


@pytest.mark.parametrize(
    "library,package", [("tyro", "cli"), ("viser", "viewer"), ("matplotlib", "runs")]
)
def test_some_libraries_are_imported_in_one_package_alone(library, package):
    for path in FILES:
        if path.relative_to(ROOT).parts[0] != package:
            text = path.read_text()
            assert f"import {library}" not in text and f"from {library}" not in text, path


def test_only_type_checkers_import_jaxtyping():
    """The shapes in annotations cost nothing at run time."""
    code = "import sys, gs3d; found = [getattr(gs3d, name) for name in gs3d.__all__]; "
    code += "print('jaxtyping' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
                nodes = (n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom))
                assert not any("jaxtyping" in ast.unparse(n) for n in nodes), path


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_packages_stay_small(folder):
    assert len(list(folder.glob("*.py"))) <= 12


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short(path):
    if str(path.relative_to(ROOT)) not in KERNELS:
        assert len(path.read_text().splitlines()) <= 300


def test_every_package_is_in_the_wheel():
    """A package that pyproject.toml does not list works in a checkout and is missing for users."""
    listed = (ROOT.parent / "pyproject.toml").read_text()
    for package in (folder.relative_to(ROOT.parent) for folder in FOLDERS):
        assert f'    "{".".join(package.parts)}",\n' in listed, package

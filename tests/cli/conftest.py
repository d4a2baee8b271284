"""Fixtures for tests of commands."""

import pytest


@pytest.fixture
def tiny(tiny_builtin_folder, tmp_path) -> list[str]:
    """Options of `gs3d generate` for a tiny prior; the last one is the config."""
    folders = ["--prior", str(tiny_builtin_folder), "--out", str(tmp_path / "run")]
    return [*folders, "--device", "cpu", "--config", "builtin"]

"""Fixtures for tests of commands on files."""

import pytest

from gs3d.io import save_splats
from tests.cli.assets.files import ball


@pytest.fixture
def ply(tmp_path):
    path = tmp_path / "in.ply"
    save_splats(path, ball())
    return path

"""What tests of whole runs share."""

import pytest

from gs3d.runs.outputs import files as export


@pytest.fixture
def small_files(monkeypatch):
    """Runs leave pictures and textures of a few pixels."""
    for name, value in (
        ("TEXTURE_PX", 64),
        ("TURNTABLE_FRAMES", 4),
        ("TURNTABLE_PX", 32),
        ("PREVIEW_PX", 32),
    ):
        monkeypatch.setattr(export, name, value)

"""A viewer without a browser."""

import contextlib

import pytest

from gs3d.viewer.server import listen


@pytest.fixture
def viewer():
    pytest.importorskip("viser")
    from gs3d.ops.place import WORLD
    from gs3d.viewer.viewer import Viewer

    with contextlib.closing(Viewer(listen("127.0.0.1", 0), "sphere", WORLD)) as viewer:
        yield viewer

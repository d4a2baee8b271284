"""Fixtures for tests that execute whole runs."""

import pytest

from gs3d.representations import extract_mesh
from gs3d.representations.dmtet import convert
from gs3d.runs import execute
from gs3d.runs.outputs.files import Written
from tests.runs.running import SPLATS, generate, request_for


@pytest.fixture(scope="package", autouse=True)
def fast_conversions():
    """Conversions to a surface take a few steps: from splats, and from a field for its mesh."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "FIT_STEPS", 10)
        patch.setattr(extract_mesh, "FIELD_RESOLUTION", 24)
        yield


@pytest.fixture
def no_results(monkeypatch):
    """Runs write no splats, meshes and renders of them, for tests of the iterations alone."""
    monkeypatch.setattr(execute, "write_result", lambda *_: Written())


@pytest.fixture
def splats_request(tiny_builtin_folder, tmp_path):
    """A request for splats, ten steps."""
    return request_for(tiny_builtin_folder, tmp_path, SPLATS, steps=10)


@pytest.fixture(scope="package")
def finished_splats(tiny_builtin_folder, tmp_path_factory):
    """The finished run of `splats_request`. Tests that change its folder use `copy_of`."""
    folder = tmp_path_factory.mktemp("finished_splats")
    return generate(request_for(tiny_builtin_folder, folder, SPLATS, steps=10))

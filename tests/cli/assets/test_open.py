"""`gs3d open`: a page beside splats, the viewer for a mesh."""

import pytest

from gs3d.cli.assets import open as command
from gs3d.io import save_splats
from tests.cli.assets.files import ball
from tests.cli.commands import one_line_fault, run


@pytest.fixture
def opened(monkeypatch):
    """Addresses that a browser was asked for."""
    found: list[str] = []
    monkeypatch.setattr(command, "open_browser", found.append)
    return found


def test_page_of_a_file_lies_beside_it(capsys, tmp_path, opened):
    save_splats(tmp_path / "a.ply", ball(40))
    status, out, _ = run(capsys, "open", str(tmp_path / "a.ply"))
    page = tmp_path / "a.ply.html"
    assert status == 0 and out == f"40 splats in {page}\n" and "<html" in page.read_text("utf-8")
    assert opened == [page.as_uri()]


def test_page_of_a_run_is_in_its_folder(capsys, tmp_path, opened):
    save_splats(tmp_path / "splats.ply", ball(40))
    status, out, _ = run(capsys, "open", str(tmp_path), "--no-browser")
    assert status == 0 and (tmp_path / "splats.html").exists() and not opened


def test_mesh_goes_to_the_viewer(capsys, tmp_path, monkeypatch):
    from gs3d.io.mesh import write_mesh
    from gs3d.representations.meshing.fusion import mesh_of_splats

    write_mesh(tmp_path / "a.glb", mesh_of_splats(ball(400), resolution=24).textured(64))
    asked: list[list[str]] = []
    monkeypatch.setattr(command, "view", lambda argv: asked.append(argv) or 0)
    assert run(capsys, "open", str(tmp_path / "a.glb"))[0] == 0
    assert asked == [[str(tmp_path / "a.glb")]]


def test_faults(capsys, tmp_path):
    assert "no such file" in one_line_fault(capsys, "open", str(tmp_path / "none.ply"))
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in one_line_fault(capsys, "open", str(tmp_path / "empty"))

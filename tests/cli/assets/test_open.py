"""`gs3d open`: a page beside splats or a mesh."""

import gzip

import pytest

from gs3d.cli.assets import open as command
from gs3d.io import save_splats
from gs3d.io.mesh import read_mesh, write_mesh
from tests.cli.assets.files import ball
from tests.cli.commands import one_line_fault, run
from tests.io.test_html import embedded_file


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


def test_page_of_a_scene_begins_inside(capsys, tmp_path, opened):
    scene = ("generate", "a red chair", "--mode", "scene", "--steps", "1")
    assert run(capsys, *scene, "--out", str(tmp_path / "run"))[0] == 0
    assert run(capsys, "open", str(tmp_path / "run"))[0] == 0
    assert 'data-from="inside"' in (tmp_path / "run" / "splats.html").read_text("utf-8")
    save_splats(tmp_path / "a.ply", ball(40))
    assert run(capsys, "open", str(tmp_path / "a.ply"))[0] == 0
    assert 'data-from="outside"' in (tmp_path / "a.ply.html").read_text("utf-8")


def test_page_of_a_mesh_holds_it_with_its_texture(capsys, tmp_path, opened):
    from gs3d.representations.meshing.fusion import mesh_of_splats

    mesh = mesh_of_splats(ball(400), resolution=24).textured(64)
    write_mesh(tmp_path / "mesh.glb", mesh)
    status, out, _ = run(capsys, "open", str(tmp_path))
    page = tmp_path / "mesh.html"
    assert status == 0 and out == f"{len(mesh.faces)} triangles in {page}\n"
    embedded = gzip.decompress(embedded_file(page.read_text("utf-8")))
    (tmp_path / "again.glb").write_bytes(embedded)
    assert read_mesh(tmp_path / "again.glb").texture.shape == (64, 64, 3)
    assert opened == [page.as_uri()]


def test_pages_that_are_there_are_opened_as_they_are(capsys, tmp_path, opened):
    for name in ("gallery.html", "report.html", "a.html"):
        (tmp_path / name[0]).mkdir()
        page = tmp_path / name[0] / name
        page.write_text("<html></html>")
        given = page if name == "a.html" else page.parent
        assert run(capsys, "open", str(given))[:2] == (0, f"{page}\n")
        assert opened.pop() == page.as_uri() and page.read_text() == "<html></html>"


def test_faults(capsys, tmp_path):
    assert "no such file" in one_line_fault(capsys, "open", str(tmp_path / "none.ply"))
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in one_line_fault(capsys, "open", str(tmp_path / "empty"))

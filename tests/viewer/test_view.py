"""The command `gs3d view` without a browser. tests/viewers tests it in a real one."""

import contextlib

import pytest

from gs3d.io import save_splats
from gs3d.io.mesh import write_mesh
from gs3d.representations.meshing.fusion import mesh_of_splats
from gs3d.viewer.server import listen
from tests.cli.test_main import one_line_fault, run
from tests.viewer.common import sphere_splats, status


@pytest.fixture
def ply(tmp_path):
    save_splats(tmp_path / "sphere.ply", sphere_splats())
    return tmp_path / "sphere.ply"


def test_missing_viser_is_an_error_of_one_line(capsys, ply, monkeypatch):
    from gs3d.cli.assets import view

    monkeypatch.setattr(view, "find_spec", lambda name: None)
    message = one_line_fault(capsys, "view", str(ply))
    assert message == 'gs3d: gs3d view needs viser: pip install "gs3d[view]"\n'


def test_invalid_arguments_of_view(capsys, ply, tmp_path):
    pytest.importorskip("viser")

    def fault(*argv):
        return one_line_fault(capsys, "view", "--no-browser", *argv)

    assert "there is no such file" in fault(str(tmp_path / "none.ply"))
    assert "is no folder of a finished run" in fault(str(tmp_path))
    (tmp_path / "sphere.xyz").touch()
    assert "expected a file name that ends in one of" in fault(str(tmp_path / "sphere.xyz"))
    assert "--port: expected 0 to 65535, got 70000" in fault(str(ply), "--port", "70000")
    assert "--port: expected a whole number, got 'x'" in fault(str(ply), "--port", "x")
    assert "--host 203.0.113.7: expected an address of this machine" in fault(
        str(ply), "--host", "203.0.113.7", "--port", "0"
    )
    assert "--host no.such.host.invalid: expected a name or an address" in fault(
        str(ply), "--host", "no.such.host.invalid"
    )
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
        message = fault(str(ply), "--port", port)
        assert f"--port {port}: already in use; give another port, or 0" in message


@pytest.mark.parametrize("what", ["splats", "mesh", "run"])
def test_view_serves_until_ctrl_c(capsys, ply, tmp_path, monkeypatch, what):
    pytest.importorskip("viser")
    from gs3d.cli.assets import view

    file = ply
    if what == "mesh":
        file = tmp_path / "sphere.glb"
        write_mesh(file, mesh_of_splats(sphere_splats(400), 500, 24).colored())
    if what == "run":
        file = tmp_path / "run"
        file.mkdir()
        ply.rename(file / "splats.ply")
    statuses, opened, sleep = [], [], view.time.sleep

    def ctrl_c(seconds):
        if seconds < 100:  # called from viser
            return sleep(seconds)
        statuses.append(status(int(opened[0].rpartition(":")[2].strip("/")), "/"))
        raise KeyboardInterrupt

    monkeypatch.setattr(view.webbrowser, "open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(view.time, "sleep", ctrl_c)
    code, out, err = run(capsys, "view", str(file), "--port", "0")
    assert (code, err, statuses) == (0, "", [200])
    assert out.startswith("50 splats at http" if what != "mesh" else "")
    assert out.endswith(f" at {opened[0]}; Ctrl-C ends it\n")
    assert ("triangles" in out) == (what == "mesh")


def test_no_browser_is_opened_without_a_display(monkeypatch):
    from gs3d.cli.assets import view

    opened = []
    monkeypatch.setattr(view.webbrowser, "open", opened.append)
    monkeypatch.setattr(view.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    view.open_browser("http://a")
    monkeypatch.setenv("WAYLAND_DISPLAY", "w")
    view.open_browser("http://b")
    assert opened == ["http://b"]

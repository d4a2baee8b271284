"""`gs3d view` without a browser: what is sent, who is let in, and faults of one line. tests/viewers has it in a real one."""

import contextlib
import http.client
import io
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import gs3d
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import save_splats
from gs3d.io.mesh import write_mesh
from gs3d.raster.reference import rotations
from gs3d.representations.meshing.fusion import mesh_of_splats
from gs3d.viewer.server import address_of, admitted, is_loopback, listen, token_for
from tests.cli.test_main import one_line_fault, run


def few(count: int = 50, spread: float = 0.6, center=(0.0, 0.0, 0.0)) -> Splats:
    gen = torch.Generator().manual_seed(0)
    means = spread * torch.nn.functional.normalize(
        torch.randn(count, 3, generator=gen), dim=1
    ) + torch.tensor(center)
    quats = torch.nn.functional.normalize(torch.randn(count, 4, generator=gen), dim=1)
    scales = spread * (0.01 + 0.1 * torch.rand(count, 3, generator=gen))
    return Splats(
        means,
        quats,
        scales,
        0.1 + 0.8 * torch.rand(count, generator=gen),
        torch.randn(count, 4, 3, generator=gen),
    )


@pytest.fixture
def viewer():
    pytest.importorskip("viser")
    from gs3d.viewer.scene import WORLD
    from gs3d.viewer.viewer import Viewer

    with contextlib.closing(Viewer(listen("127.0.0.1", 0), "few", WORLD)) as made:
        yield made


def covariances(splats: Splats) -> np.ndarray:
    axes = rotations(splats.quats) * splats.scales[:, None]
    return (axes @ axes.mT).numpy()


def close_to(got: np.ndarray, expected: np.ndarray, share: float) -> bool:
    return np.abs(got - expected).max() <= share * np.abs(expected).max()


# what is sent


def test_splats_are_sent_as_they_are(viewer):
    from gs3d.viewer.scene import UNITS

    splats = few()
    viewer.show(splats, "")
    node = viewer._node
    assert node.scale == pytest.approx(1 / UNITS)
    assert np.allclose(node.centers / UNITS, splats.means, atol=1e-6)
    assert close_to(node.covariances / UNITS**2, covariances(splats), 1e-3)
    colors = (0.5 + 0.28209479 * splats.sh[:, 0]).clamp(0, 1).numpy()
    assert np.abs(node.rgbs / 255 - colors).max() <= 0.51 / 255
    assert np.abs(node.opacities[:, 0] / 255 - splats.opacities.numpy()).max() <= 0.51 / 255


def test_sliders_change_what_is_sent(viewer):
    from gs3d.viewer.scene import UNITS

    splats = few()
    viewer.show(splats, "")
    viewer.opacity.value = 0.5
    assert (
        np.abs(viewer._node.opacities[:, 0] / 255 - 0.5 * splats.opacities.numpy()).max()
        <= 0.51 / 255
    )
    viewer.size.value = 2.0
    assert close_to(viewer._node.covariances / UNITS**2, 4 * covariances(splats), 1e-3)
    viewer.show(
        few(70), "more"
    )  # the sliders stay where they are, and nothing is left of what was there
    assert len(viewer._node.centers) == 70 and viewer.about.content == "more"
    assert close_to(viewer._node.covariances / UNITS**2, 4 * covariances(few(70)), 1e-3)


def test_huge_splats_stay_finite(viewer):
    splats = few()
    splats.scales[0] = 1e6
    viewer.size.value = 2.0
    viewer.show(splats, "")
    assert np.isfinite(viewer._node.covariances).all()


def test_what_is_elsewhere_is_brought_to_where_cameras_look():
    pytest.importorskip("viser")
    from gs3d.viewer.scene import UNITS, WORLD, gaussians_of, place_of

    assert place_of(few()) is WORLD
    for splats in (few(spread=50, center=(400, -30, 7)), few(spread=0.001), few(1, spread=9.0)):
        place = place_of(splats)
        sent = gaussians_of(splats, place)
        assert (
            place is not WORLD
            and 0.0 <= np.linalg.norm(sent.centers, axis=1).max() <= 1.001 * UNITS
        )
        middle = (sent.centers.max(0) + sent.centers.min(0)) / 2
        assert np.abs(middle).max() < 0.02 * UNITS


def test_a_mesh_takes_the_place_of_splats(viewer):
    viewer.show(few(), "")
    assert viewer.opacity.visible and viewer.size.visible
    viewer.show(mesh_of_splats(few(400), 500, 24).textured(32), "")
    node = viewer._node
    assert node.glb_data[:4] == b"glTF" and not viewer.opacity.visible and not viewer.size.visible
    turn = rotations(torch.from_numpy(np.asarray(node.wxyz))[None])[0].numpy()
    assert np.allclose(turn @ (0, 1, 0), (0, 0, 1)) and np.allclose(
        turn @ (0, 0, 1), (1, 0, 0)
    )  # glTF's up and front
    viewer.opacity.value = 0.3  # does nothing, and no harm
    viewer.show(few(), "")
    assert len(viewer._node.centers) == 50 and viewer.opacity.visible


def test_another_object_is_called_by_its_own_name(viewer, monkeypatch):
    labels = []
    monkeypatch.setattr(viewer.server.gui, "set_panel_label", labels.append)
    for name in (None, "few", "more", "more"):
        viewer.show(few(), "", name)
    assert labels == ["more"] and viewer.name == "more"


def test_presets_move_the_camera_of_whoever_asks(viewer):
    expected = {"front": (1, 0), "right": (0, -1), "back": (-1, 0), "left": (0, 1), "above": (0, 0)}
    assert np.allclose(viewer.server.initial_camera.position, gs3d.ring(1, 8).centers[0])
    for name, (x, y) in expected.items():
        client = SimpleNamespace(camera=SimpleNamespace(), atomic=contextlib.nullcontext)
        viewer._look_from(SimpleNamespace(client=client, target=SimpleNamespace(value=name)))
        position = client.camera.position / np.linalg.norm(client.camera.position)
        level = np.cos(np.radians(0 if name == "above" else 15))
        assert np.allclose(
            position[:2], np.multiply(level, (x, y)), atol=2e-3
        ) and client.camera.look_at == (0, 0, 0)
    assert position[2] > 0.99 and position[0] > 0  # its upper edge is the back


def test_the_background_and_a_saved_picture(viewer, monkeypatch):
    painted = []
    monkeypatch.setattr(
        viewer.server.scene,
        "set_background_image",
        lambda image, format: painted.append((image, format)),
    )
    viewer.background.value = (10, 200, 30)
    assert (painted[0][0] == (10, 200, 30)).all() and painted[0][1] == "png"

    shot, files, said = np.random.default_rng(0).integers(0, 255, (6, 8, 4), np.uint8), {}, []
    client = SimpleNamespace(
        camera=SimpleNamespace(image_height=6, image_width=8),
        get_render=lambda height, width, transport_format, timeout: shot,
        send_file_download=lambda name, data, save_immediately: files.update({name: data}),
        add_notification=lambda title, body: said.append(body),
    )
    viewer._save_picture(SimpleNamespace(client=client))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files["few.png"]))), shot[..., :3])

    def left(*_, **__):
        raise RuntimeError("the client disconnected")

    client.get_render = left
    viewer._save_picture(SimpleNamespace(client=client))
    assert said == ["the client disconnected"] and len(files) == 1


def test_frusta_are_where_the_cameras_are(viewer):
    cameras = gs3d.ring(8, 64)
    viewer.add_frusta("Cameras", [cameras[:3], cameras[3:]])
    assert not any(frustum.visible for frustum in viewer.frusta)
    viewer.shows_frusta.value = True
    assert all(frustum.visible for frustum in viewer.frusta)
    for frustum, center in zip(viewer.frusta, cameras.centers.numpy(), strict=True):
        assert np.allclose(frustum.position, center, atol=1e-5) and frustum.fov == pytest.approx(
            np.radians(38)
        )


# who is let in


@pytest.mark.parametrize(
    "host,loopback",
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
    ]
    + [
        ("192.168.1.5", False),
        ("example.com", False),
        ("", False),
        (None, False),
        ("localhost.example.com", False),
    ],
)
def test_which_hosts_are_this_machine_alone(host, loopback):
    assert is_loopback(host) == loopback


def test_only_addresses_that_others_reach_have_a_token():
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        assert (
            token_for(sock) is None
            and address_of(sock, None) == f"http://127.0.0.1:{sock.getsockname()[1]}/"
        )
    with contextlib.closing(listen("0.0.0.0", 0)) as sock:
        tokens = {token_for(sock) for _ in range(3)}
        assert len(tokens) == 3 and min(map(len, tokens)) >= 22
        assert (
            address_of(sock, "secret")
            == f"http://{socket.gethostname()}:{sock.getsockname()[1]}/secret/"
        )


def test_without_a_token_only_this_machine_s_own_pages_are_let_in():
    assert admitted("/a?b", "localhost:8080", None, None) == "/a?b"
    assert admitted("/", "127.0.0.1:9000", "http://127.0.0.1:9000", None) == "/"
    assert admitted("/", "[::1]:8080", "http://[::1]:8080", None) == "/"
    for host, origin in (
        ("evil.com:8080", None),
        ("evil.com:8080", "http://evil.com:8080"),
        ("127.0.0.1:8080", "http://evil.com"),
        ("127.0.0.1:8080", "http://127.0.0.1:3000"),
        ("127.0.0.1:8080", "null"),
        (None, None),
    ):
        assert admitted("/", host, origin, None) is None


def test_with_a_token_only_addresses_that_begin_with_it():
    for path, asked in (("/key/", "/"), ("/key", "/"), ("/key/a.js", "/a.js"), ("/key?x=1", "/")):
        assert admitted(path, "any.where", "http://any.where", "key") == asked
    for path in ("/", "/kez/", "/keys/", "/?key", "/a/key", "", "/schlüssel"):
        assert admitted(path, "127.0.0.1", None, "key") is None


def status(port: int, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status


def test_pages_and_websockets_are_refused_alike(viewer, capfd):
    pytest.importorskip("viser")
    import viser
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    from gs3d.viewer.scene import WORLD
    from gs3d.viewer.viewer import Viewer

    own = [f"viser-v{viser.__version__}"]
    port = int(viewer.address.rpartition(":")[2].strip("/"))
    assert [status(port, "/"), status(port, "/", Host="evil.com")] == [200, 403]
    with connect(f"ws://127.0.0.1:{port}", subprotocols=own, origin=f"http://127.0.0.1:{port}"):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}", subprotocols=own, origin="http://evil.com")

    with contextlib.closing(Viewer(listen("0.0.0.0", 0), "few", WORLD)) as other:
        port, token = other.address.split(":")[2].strip("/").split("/")
        assert token == other.token
        assert [status(port, p) for p in ("/", "/index.html", f"/{token}/", f"/{token}")] == [
            403,
            403,
            200,
            200,
        ]
        with connect(f"ws://127.0.0.1:{port}/{token}", subprotocols=own):
            pass
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/", subprotocols=own)
        with socket.create_connection(("127.0.0.1", int(port))) as knock:
            knock.sendall(b"\x16\x03\x01 no browser\r\n\r\n")
            knock.settimeout(10)
            with contextlib.suppress(OSError):
                knock.recv(100)
    assert capfd.readouterr() == ("", "")


def test_a_viser_whose_port_cannot_be_guarded_is_not_opened(monkeypatch):
    pytest.importorskip("viser")
    from gs3d.viewer import viewer
    from gs3d.viewer.scene import WORLD

    monkeypatch.setattr(viewer, "guarded", lambda sock, token: contextlib.nullcontext([]))
    with (
        contextlib.closing(listen("127.0.0.1", 0)) as sock,
        pytest.raises(UserError, match="cannot guard the port"),
    ):
        viewer.Viewer(sock, "few", WORLD)


# the command


@pytest.fixture
def ply(tmp_path):
    save_splats(tmp_path / "few.ply", few())
    return tmp_path / "few.ply"


def test_without_viser_it_is_one_line(capsys, ply, monkeypatch):
    from gs3d.cli.assets import view

    monkeypatch.setattr(view, "find_spec", lambda name: None)
    assert (
        one_line_fault(capsys, "view", str(ply))
        == 'gs3d: gs3d view needs viser: pip install "gs3d[view]"\n'
    )


def test_bad_requests_for_a_view(capsys, ply, tmp_path):
    pytest.importorskip("viser")

    def fault(*argv):
        return one_line_fault(capsys, "view", "--no-browser", *argv)

    assert "there is no such file" in fault(str(tmp_path / "none.ply"))
    assert "is no folder of a finished run" in fault(str(tmp_path))
    (tmp_path / "few.xyz").touch()
    assert "expected a file name that ends in one of" in fault(str(tmp_path / "few.xyz"))
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
        assert f"--port {port}: is taken; give another, or 0" in fault(str(ply), "--port", port)


@pytest.mark.parametrize("what", ["splats", "mesh", "run"])
def test_a_view_until_ctrl_c(capsys, ply, tmp_path, monkeypatch, what):
    pytest.importorskip("viser")
    from gs3d.cli.assets import view

    file = ply
    if what == "mesh":
        file = tmp_path / "few.glb"
        write_mesh(file, mesh_of_splats(few(400), 500, 24).colored())
    if what == "run":
        file = tmp_path / "run"
        file.mkdir()
        ply.rename(file / "splats.ply")
    asked, opened, sleep = [], [], view.time.sleep

    def ctrl_c(seconds):
        if seconds < 100:  # somebody else's
            return sleep(seconds)
        asked.append(status(int(opened[0].rpartition(":")[2].strip("/")), "/"))
        raise KeyboardInterrupt

    monkeypatch.setattr(view.webbrowser, "open", opened.append)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(view.time, "sleep", ctrl_c)
    code, said, err = run(capsys, "view", str(file), "--port", "0")
    assert (code, err, asked) == (0, "", [200])
    assert said.startswith("50 splats at http" if what != "mesh" else "") and said.endswith(
        f" at {opened[0]}; Ctrl-C ends it\n"
    )
    assert ("triangles" in said) == (what == "mesh")


def test_no_browser_is_opened_where_there_is_no_window(monkeypatch):
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

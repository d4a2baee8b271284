"""Access control of the viewer, for pages and websockets."""

import contextlib
import socket

import pytest

from gs3d.core.errors import UserError
from gs3d.viewer.server import address_of, allowed_path, is_loopback, listen, token_for
from tests.viewer.common import status


@pytest.mark.parametrize(
    "host,loopback",
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.com", False),
        ("", False),
        (None, False),
        ("localhost.example.com", False),
    ],
)
def test_is_loopback(host, loopback):
    assert is_loopback(host) == loopback


def test_only_addresses_reachable_from_other_machines_have_a_token():
    with contextlib.closing(listen("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert token_for(sock) is None
        assert address_of(sock, None) == f"http://127.0.0.1:{port}/"
    with contextlib.closing(listen("0.0.0.0", 0)) as sock:
        port = sock.getsockname()[1]
        tokens = {token_for(sock) for _ in range(3)}
        assert len(tokens) == 3 and min(map(len, tokens)) >= 22
        assert address_of(sock, "secret") == f"http://{socket.gethostname()}:{port}/secret/"


def test_without_a_token_only_local_hosts_of_the_same_origin_are_allowed():
    assert allowed_path("/a?b", "localhost:8080", None, None) == "/a?b"
    assert allowed_path("/", "127.0.0.1:9000", "http://127.0.0.1:9000", None) == "/"
    assert allowed_path("/", "[::1]:8080", "http://[::1]:8080", None) == "/"
    for host, origin in (
        ("evil.com:8080", None),
        ("evil.com:8080", "http://evil.com:8080"),
        ("127.0.0.1:8080", "http://evil.com"),
        ("127.0.0.1:8080", "http://127.0.0.1:3000"),
        ("127.0.0.1:8080", "null"),
        (None, None),
    ):
        assert allowed_path("/", host, origin, None) is None


def test_with_a_token_only_paths_that_start_with_it_are_allowed():
    for path, rest in (("/key/", "/"), ("/key", "/"), ("/key/a.js", "/a.js"), ("/key?x=1", "/")):
        assert allowed_path(path, "any.where", "http://any.where", "key") == rest
    for path in ("/", "/kez/", "/keys/", "/?key", "/a/key", "", "/schlüssel"):
        assert allowed_path(path, "127.0.0.1", None, "key") is None


def test_access_control_covers_pages_and_websockets(viewer, capfd):
    pytest.importorskip("viser")
    import viser
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    from gs3d.ops.place import WORLD
    from gs3d.viewer.viewer import Viewer

    own = [f"viser-v{viser.__version__}"]
    port = int(viewer.address.rpartition(":")[2].strip("/"))
    assert [status(port, "/"), status(port, "/", Host="evil.com")] == [200, 403]
    with connect(f"ws://127.0.0.1:{port}", subprotocols=own, origin=f"http://127.0.0.1:{port}"):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}", subprotocols=own, origin="http://evil.com")

    with contextlib.closing(Viewer(listen("0.0.0.0", 0), "sphere", WORLD)) as other:
        port, token = other.address.split(":")[2].strip("/").split("/")
        assert token == other.token
        assert [status(port, path) for path in ("/", "/index.html")] == [403, 403]
        assert [status(port, path) for path in (f"/{token}/", f"/{token}")] == [200, 200]
        with connect(f"ws://127.0.0.1:{port}/{token}", subprotocols=own):
            pass
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/", subprotocols=own)
        # A client that does not speak HTTP must not cause output on the terminal.
        with socket.create_connection(("127.0.0.1", int(port))) as client:
            client.sendall(b"\x16\x03\x01 no browser\r\n\r\n")
            client.settimeout(10)
            with contextlib.suppress(OSError):
                client.recv(100)
    assert capfd.readouterr() == ("", "")


WALKS = ("/../client.py", "/%2e%2e/_viser.py", "/..%2f..%2f..%2fetc/hostname", "/..\\_viser.py")
WALKS += ("//etc/hostname", "/%2Fetc/hostname", "/./../../_viser.py", "/a/../../_viser.py", "/%00")


@pytest.mark.parametrize("path", WALKS)
def test_no_path_leads_out_of_the_folder_that_is_served(viewer, path):
    # With http.client, which sends a path as it is.
    port = int(viewer.address.rpartition(":")[2].strip("/"))
    assert status(port, path) in (403, 404)
    if ".." in path:
        assert allowed_path(f"/key{path}", None, None, "key") is None


def test_the_viewer_shows_markdown_of_a_prompt_as_text(viewer):
    """viser would read the image from this machine, and send it to the browser."""
    text = "![a](/etc/hostname) <script>hit()</script> **b**"
    viewer.about.content = text
    assert viewer.about.content == text
    escaped = "![a](/etc/hostname) &lt;script&gt;hit()&lt;/script&gt; **b**</div>"
    assert viewer.about._handle.content.endswith(escaped)


def test_viser_is_not_started_if_its_port_cannot_be_guarded(monkeypatch):
    pytest.importorskip("viser")
    from gs3d.ops.place import WORLD
    from gs3d.viewer import viewer

    monkeypatch.setattr(viewer, "guarded", lambda sock, token: contextlib.nullcontext([]))
    with (
        contextlib.closing(listen("127.0.0.1", 0)) as sock,
        pytest.raises(UserError, match="cannot restrict access to the port"),
    ):
        viewer.Viewer(sock, "sphere", WORLD)

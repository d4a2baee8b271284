"""The socket and address of the viewer, and its access control.

viser has no access control. Anyone who reaches its port can see the scene and press its buttons,
and so can other pages in the same browser.
"""

import contextlib
import errno
import ipaddress
import logging
import secrets
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from gs3d.core.errors import UserError

REFUSAL = "This viewer is only available at the exact address that gs3d printed.\n"


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket at `host` and `port`; port 0 takes any free one.

    Raises:
        UserError: The port is out of range or in use, or `host` is not an address of this machine.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port: expected 0 to 65535, got {port}")
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family)
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"--host {host}: expected a name or an address of this machine; got one that does not "
            "resolve"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--port {port}: already in use; give another port, or 0 for any free one"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"--host {host}: expected an address of this machine; got one of another machine"
            ) from None
        raise UserError(
            f"--host {host} --port {port}: cannot be opened ({error.strerror}); "
            "give another host or port"
        ) from None


def token_for(sock: socket.socket) -> str | None:
    """A random token that URLs must contain; None if only this machine can reach `sock`."""
    return None if is_loopback(sock.getsockname()[0]) else secrets.token_urlsafe(16)


def is_loopback(host: str | None) -> bool:
    """Whether `host` is localhost or a loopback address. Other names are not resolved."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def address_of(sock: socket.socket, token: str | None) -> str:
    """URL to open in a browser.

    A socket that listens at all addresses of this machine gets the machine's name as its host.
    """
    host, port = sock.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{f'{token}/' if token else ''}"


def allowed_path(path: str, host: str | None, origin: str | None, token: str | None) -> str | None:
    """Path of a request without the token, or None if the request must be refused.

    `host` and `origin` are headers of the request. A path with .. is refused: viser serves files of
    a folder by their paths. With a token, the path must start with it.

    Without one, two attacks of web pages are prevented: a websocket from a page of another origin,
    and a foreign host name that resolves to this machine (DNS rebinding).
    """
    if ".." in unquote(path.partition("?")[0]).replace("\\", "/").split("/"):
        return None
    if token is not None:
        first, _, rest = path.partition("?")[0].lstrip("/").partition("/")
        return f"/{rest}" if secrets.compare_digest(first.encode(), token.encode()) else None
    is_local = is_loopback(urlsplit(f"//{host or ''}").hostname) and (
        origin is None or urlsplit(origin).netloc == host
    )
    return path if is_local else None


@contextlib.contextmanager
def guarded(sock: socket.socket, token: str | None) -> Iterator[list]:
    """Make the server that viser starts in this context listen at `sock` and use `allowed_path`.

    viser has no setting for either, so `websockets.asyncio.server.serve` is replaced meanwhile. The
    list that is yielded stays empty if viser opened its port in another way.
    """
    from websockets.asyncio import server

    serve, used = server.serve, []

    def guarded_serve(handler: Callable, *_, process_request: Callable | None = None, **options):
        def check(connection, request):
            path = allowed_path(
                request.path, request.headers.get("Host"), request.headers.get("Origin"), token
            )
            if path is None:
                return connection.respond(HTTPStatus.FORBIDDEN, REFUSAL)
            request.path = path
            return process_request(connection, request) if process_request else None

        used.append(sock)
        return serve(handler, sock=sock, process_request=check, **options)

    # Without a handler, clients that do not speak HTTP cause tracebacks on the terminal.
    logging.getLogger("websockets").addHandler(logging.NullHandler())
    server.serve = guarded_serve
    try:
        yield used
    finally:
        server.serve = serve

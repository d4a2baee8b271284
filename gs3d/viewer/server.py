"""The address that the viewer is opened at, and who may come in.

viser checks nobody: whoever reaches its port, another page in the same browser among them, sees what is shown and can press its buttons.
"""

import contextlib
import errno
import ipaddress
import logging
import secrets
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

from gs3d.core.errors import UserError

REFUSAL = "This viewer opens at the address that gs3d printed, and at no other.\n"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port`, 0 for any free one. `UserError` if that cannot be."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port: expected 0 to 65535, got {port}")
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family)
    except (socket.gaierror, UnicodeError):
        raise UserError(
            f"--host {host}: expected a name or an address of this machine, which this is not"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--port {port}: is taken; give another, or 0 for any that is free"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"--host {host}: expected an address of this machine, which this is not"
            ) from None
        raise UserError(
            f"--host {host} --port {port}: cannot be opened ({error.strerror}); give another"
        ) from None


def token_for(sock: socket.socket) -> str | None:
    """What an address must begin with to be let in; None where only this machine can reach `sock`."""
    return None if is_loopback(sock.getsockname()[0]) else secrets.token_urlsafe(16)


def is_loopback(host: str | None) -> bool:
    """Whether a name or an address is this machine itself, as only this machine sees it. Names other than localhost are not asked for."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def address_of(sock: socket.socket, token: str | None) -> str:
    """What to open in a browser. A socket that listens at every address of this machine is called by the machine's name."""
    host, port = sock.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{f'{token}/' if token else ''}"


def admitted(path: str, host: str | None, origin: str | None, token: str | None) -> str | None:
    """The path that a request asks for, without the token; None if it is to be refused. `host` and `origin` are its headers.

    Without a token, browsers must be kept from bringing in other pages: by a websocket of theirs, which has another origin, or by a name
    of theirs that leads to this machine (DNS rebinding).
    """
    if token is not None:
        first, _, rest = path.partition("?")[0].lstrip("/").partition("/")
        return f"/{rest}" if secrets.compare_digest(first.encode(), token.encode()) else None
    here = is_loopback(urlsplit(f"//{host or ''}").hostname) and (
        origin is None or urlsplit(origin).netloc == host
    )
    return path if here else None


@contextlib.contextmanager
def guarded(sock: socket.socket, token: str | None) -> Iterator[list]:
    """While open, the server that viser starts listens at `sock` and lets in only what is `admitted`; it has no setting for either.

    The list that is given is empty afterwards if viser came by its port in another way.
    """
    from websockets.asyncio import server

    serve, used = server.serve, []

    def ours(handler: Callable, *_, process_request: Callable | None = None, **options):
        def check(connection, request):
            path = admitted(
                request.path, request.headers.get("Host"), request.headers.get("Origin"), token
            )
            if path is None:
                return connection.respond(HTTPStatus.FORBIDDEN, REFUSAL)
            request.path = path
            return process_request(connection, request) if process_request else None

        used.append(sock)
        return serve(handler, sock=sock, process_request=check, **options)

    # Whatever knocks and is no browser would otherwise leave a traceback on the terminal.
    logging.getLogger("websockets").addHandler(logging.NullHandler())
    server.serve = ours
    try:
        yield used
    finally:
        server.serve = serve

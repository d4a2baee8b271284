"""The connection of this process to a Ray cluster."""

import contextlib
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator

from gs3d.core.errors import UserError

ADDRESS = re.compile(r"(?P<host>[^\s:/]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")
CONNECT_S = 10.0
"""Seconds in which the head of a cluster has to answer. Ray tries for minutes."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How HTTP/2 begins, which gRPC and so Ray speaks: the other side sends its settings too."""
SETTINGS = 4
"""Kind of such a message, its fourth byte."""


def connect(address: str) -> bool:
    """Connect to the cluster at an address, or with auto to the one that runs here or that
    RAY_ADDRESS names. Returns whether this process was connected to none before.

    Raises:
        UserError: Ray is not installed, or no cluster is there that this process can join.
    """
    try:
        import ray
    except ImportError:
        raise UserError(
            '--ray: Ray is not installed; `pip install "gs3d[batch]"` here and on all nodes'
        ) from None
    if ray.is_initialized():
        return False
    if address != "auto":
        _reach(address)
    # It would tell of each task that it starts again, which the batch does itself.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        with _elsewhere():
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        if address == "auto":
            hint = "start one with `ray start --head`, or give its address as HOST:PORT"
        else:
            hint = "start the batch on a machine of the cluster, with its Ray and Python"
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--ray {address}: no cluster to join ({reason}); {hint}") from None
    return True


def close() -> None:
    """Leave the cluster."""
    import ray

    ray.shutdown()


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Be in an empty folder meanwhile. Tasks of Ray import modules from the working directory of
    the process that connected, and files beside a list may have any name."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as empty:
        try:
            os.chdir(empty)
            yield
        finally:
            os.chdir(before)


def _reach(address: str) -> None:
    """`UserError` if nothing accepts a connection at an address."""
    if (found := ADDRESS.fullmatch(address)) is None:
        raise UserError(
            f"--ray {address}: expected auto or HOST:PORT, as `ray start --head` prints it; start "
            "the batch on a machine of the cluster"
        )
    try:
        host, port = found["host"].strip("[]"), int(found["port"])
        with socket.create_connection((host, port), CONNECT_S) as head:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                head.sendall(GREETING)
                if head.recv(4)[3:] != bytes([SETTINGS]):
                    raise OSError("it answers, but not as Ray does")
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--ray {address}: no Ray is there ({reason}); expected the address that "
            "`ray start --head` prints"
        ) from None

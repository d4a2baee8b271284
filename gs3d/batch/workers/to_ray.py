"""The connection of this process to a Ray cluster."""

import logging
import re
import socket

from gs3d.core.errors import UserError

ADDRESS = re.compile(r"(?P<host>[^\s:/]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")
CONNECT_S = 10.0
"""Seconds in which the head of a cluster has to accept a connection. Ray tries for minutes."""


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


def _reach(address: str) -> None:
    """`UserError` if nothing accepts a connection at an address."""
    if (found := ADDRESS.fullmatch(address)) is None:
        raise UserError(
            f"--ray {address}: expected auto or HOST:PORT, as `ray start --head` prints it; start "
            "the batch on a machine of the cluster"
        )
    try:
        host, port = found["host"].strip("[]"), int(found["port"])
        socket.create_connection((host, port), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--ray {address}: no Ray is there ({reason}); expected the address that "
            "`ray start --head` prints"
        ) from None

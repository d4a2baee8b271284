"""A row as a task of Ray. Its process keeps the prior for the next row that Ray gives to it."""

import contextlib
import os
import socket
from dataclasses import replace
from typing import Any

from gs3d.batch.workers.silence import ending_if_silent
from gs3d.core.runtime.openmp import spin_briefly

_kept: Any = None
"""`make.Kept` of this process."""
_leaves = False
"""Whether a row has left this process in no state for another one."""


def make_row(
    job: str,
    name: str,
    events: Any,
    expected: dict[str, str],
    threads: int,
    folder: str,
    every_s: float,
    hang_s: float,
) -> dict[str, Any]:
    """Make a row on the node of this process. Returns the event with which it ends.

    Args:
        job: The row, by `job_to`.
        name: Its name, which goes with each event.
        events: The `ray.util.queue.Queue` that takes (name, event) for all events before the last.
        expected: `nodes.facts` of the batch: a node may have come after all were asked.
        threads: Of torch and the rasterizer, without a GPU.
        folder: The working directory of the batch, where relative paths begin, if it is here too.
        every_s: Seconds between two steps that it tells of, at least.
        hang_s: Seconds without an event after which this process ends, so that Ray gives the row
            to another one.
    """
    global _kept, _leaves
    if _leaves:
        os._exit(1)  # Ray gives the row to another process

    def send(event: dict[str, Any]) -> None:
        # Without waiting, as put() would: Ray gives the CPU of a task that waits to another row.
        events.actor.put_nowait.remote((name, event))

    # From here on, since imports and folders may wait for a disk that does not answer.
    with ending_if_silent(hang_s) as heard:
        send({"event": "started", "node": _node()})
        from gs3d.batch.workers import nodes

        if found := nodes.difference(expected, nodes.facts()):
            return {"event": "failed", "reason": f"node {_node()}: {found}"}
        spin_briefly()
        import torch

        from gs3d.batch.workers.job import ALIVE, job_from, seldom
        from gs3d.batch.workers.make import Kept, ended, make

        with contextlib.suppress(OSError):
            os.chdir(folder)
        _kept = _kept or Kept()
        found = job_from(job)
        if found.request.device != "cuda":
            torch.set_num_threads(threads)
        else:
            found = replace(found, request=replace(found.request, device=_card()))
        tell = seldom(send, every_s)

        def alive(event: dict[str, Any]) -> None:
            heard()
            if event != ALIVE:
                tell(event)

        last = ended(lambda: make(found, alive, _kept))
    _leaves = last["leaves"]
    return last


def _node() -> str:
    """The node of this process, as `nodes.name_of` has it."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    return f"{socket.gethostname()} ({own[:8]})"


def _card() -> str:
    """The GPU that Ray has set aside for this row, as a device."""
    import ray

    ids = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return device_of(ids, os.environ)


def device_of(ids: list[str], environment: Any) -> str:
    """The device of a row that has the cards `ids`.

    Ray shows a process the cards of its row alone, but CUDA keeps those that it saw first, and the
    next row of this process may have another one. So CUDA is to see all, and the device is one by
    number. Cards with names, as parts of one by MIG, stay as they are shown.
    """
    if not ids or not str(ids[0]).isdigit():
        return "cuda"
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    return f"cuda:{ids[0]}"

"""Rows as tasks on a Ray cluster, which places them, and moves those whose process or node dies."""

import contextlib
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from gs3d.batch.plan import Planned
from gs3d.batch.request import Batch
from gs3d.batch.workers.job import Event, fault_of, job_of, job_to
from gs3d.batch.workers.nodes import TOKEN, answer_of, facts, in_words, name_of, report
from gs3d.batch.workers.task import make_row
from gs3d.batch.workers.to_ray import close, connect
from gs3d.core.errors import UserError
from gs3d.runs.request import Request

GB = 10**9
LOOK_S = 0.5
"""Seconds between looks for what tasks have said, and for those that ended."""
ANSWER_S = 180.0
"""Seconds in which a node has to answer. It may have to start Python on a slow disk."""
STEPS_A_SECOND = 250
"""Steps that all rows tell of together; what passes them on takes some 2,800 events a second."""
SPARE = 3
"""Starts of a task beyond its retries: of those that ended before their row began."""


@contextlib.contextmanager
def connected(batch: Batch, say: Callable[[str], None]) -> "Iterator[Cluster]":
    """A cluster for a batch.

    Raises:
        UserError: Ray is not installed, no cluster is at the address, or an option does not fit.
    """
    assert batch.ray is not None
    if (batch.device or "").startswith("cuda:"):
        raise UserError(f"--device {batch.device}: expected cuda with --ray, which picks the card")
    own = connect(batch.ray)
    try:
        yield Cluster(batch, say)
    finally:
        if own:
            close()


class Cluster:
    """The rows of a batch on a Ray cluster that this process is connected to."""

    def __init__(self, batch: Batch, say: Callable[[str], None]):
        import ray

        self._batch = batch
        alive = [node for node in ray.nodes() if node["Alive"]]
        has_gpu = any(node["Resources"].get("GPU", 0) >= 1 for node in alive)
        device = batch.device
        if device in (None, "auto"):
            device = "cuda" if has_gpu and batch.gpus != 0 else "cpu"
        self.device: str = device
        gpus = batch.gpus if batch.gpus is not None else float(device == "cuda")
        if device == "cuda" and not gpus:
            raise UserError("--gpus 0: expected more with --device cuda, or --device cpu")
        cpus = batch.cpus if batch.cpus is not None else (1.0 if gpus else 2.0)
        memory = int((batch.memory or 0) * GB)
        self._needs = {"GPU": gpus, "CPU": cpus, "memory": float(memory)}
        self._options: dict[str, Any] = {
            "num_gpus": gpus,
            "num_cpus": cpus,
            "memory": memory or None,
        }
        self._nodes = [node for node in alive if self._room(node)]
        if not self._nodes:
            say(f"warning: --ray {batch.ray}: no node has {self._each}; rows wait until one comes")
        self._facts = facts()
        self._stopping = self._at_once = False
        self._cancelled: set[Any] = set()
        self._tasks: dict[str, Any] = {}
        """Name of each row that has not ended -> the reference to its task."""
        self._rows: dict[str, Planned] = {}
        self._starts: Counter[str] = Counter()
        """How often each row was started."""
        self._told: set[str] = set()
        """Rows whose last event is known."""
        self._failures_left = batch.max_failures

    @property
    def count(self) -> int:
        """Rows at once, now that these nodes are there."""
        return max(sum(map(self._room, self._nodes)), 1)

    @property
    def unit(self) -> tuple[str, float]:
        """What its time is counted in, and how many of these a row takes."""
        name = "GPU" if self._needs["GPU"] else "CPU"
        return name, self._needs[name]

    @property
    def in_words(self) -> str:
        nodes = f"{len(self._nodes)} node" + "s" * (len(self._nodes) != 1)
        return f"{self.count} at once on {nodes}, {self._each} each"

    @property
    def _each(self) -> str:
        needs = [f"{n:g} {name}" for name, n in self._needs.items() if n and name != "memory"]
        needs += [f"{self._needs['memory'] / GB:g} GB"] if self._needs["memory"] else []
        return " and ".join(needs)

    def _room(self, node: dict[str, Any]) -> int:
        """Rows that a node has room for."""
        has = node["Resources"]
        return min(int(has.get(name, 0) / n) for name, n in self._needs.items() if n)

    def check(self) -> None:
        """Ask each node whether it can make rows.

        Raises:
            UserError: One cannot; the message names it.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        folder, url = self._batch.folder.absolute(), self._batch.url
        token = secrets.token_hex(8)
        ask = ray.remote(num_cpus=0, max_retries=0)(report)
        shared = None if url else str(folder)
        if shared:
            (folder / TOKEN).write_text(token, "utf-8")
        try:
            asked = [
                ask.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(self._facts, shared, token, url)
                for node in self._nodes
            ]
            ray.wait(asked, num_returns=len(asked), timeout=ANSWER_S) if asked else None
            for node, answer in zip(self._nodes, asked, strict=True):
                if found := answer_of(answer, ANSWER_S):
                    raise UserError(f"--ray {self._batch.ray}: node {name_of(node)}: {found}")
        finally:
            (folder / TOKEN).unlink(missing_ok=True)

    def stop(self, at_once: bool = False) -> None:
        """Start no more rows. Those that run end after their iteration with what there is, or at
        once. A signal may call this; `run` does it when it looks the next time."""
        self._stopping = True
        self._at_once = at_once

    def run(self, rows: Sequence[Planned]) -> Iterator[Event]:
        """Make the rows, and yield what their tasks say. Closing the iterator stops them."""
        import ray
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # Here, so that it does not end with another node.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        events = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        retries = self._batch.retries + SPARE
        # Without max_calls=0, a process with a GPU would end after each row.
        options = self._options | {"max_calls": 0, "max_retries": retries, "name": "gs3d row"}
        task = ray.remote(**options)(make_row)
        threads = max(int(self._needs["CPU"]), 1)
        times = (self.count / STEPS_A_SECOND, 60 * self._batch.hang_minutes)
        common = (events, self._facts, threads, os.getcwd(), *times)
        for row in rows:
            name = row.row.name
            job = job_to(replace(job_of(row), request=_absolute(row)))
            self._rows[name] = row
            self._tasks[name] = task.remote(job, name, *common)
        try:
            while self._tasks:
                yield from self._look(events)
        finally:
            self._stopping = True
            self._cancel()
            if left := list(self._tasks.values()):
                ray.wait(left, num_returns=len(left), timeout=ANSWER_S)
            events.shutdown(force=True)

    def _look(self, events: Any) -> Iterator[Event]:
        """What has happened since the last look."""
        import ray

        self._cancel()
        names = {task: name for name, task in self._tasks.items()}
        done, _ = ray.wait(list(names), num_returns=len(names), timeout=LOOK_S, fetch_local=False)
        if count := events.qsize():
            for name, values in events.get_nowait_batch(count):
                yield from self._heard(name, values.pop("event"), values)
        for task in done:
            del self._tasks[names[task]]
            yield from self._done(names[task], task)

    def _heard(self, name: str, kind: str, values: dict[str, Any]) -> Iterator[Event]:
        """The events of what a task says."""
        if kind == "started":
            self._starts[name] += 1
            if name in self._told:
                self._kill(name)  # its node died right after it had ended
            elif self._starts[name] == 1:
                yield Event(self._rows[name], kind, values)
            elif self._starts[name] <= self._batch.retries + 1:
                reason = f"Ray starts it again on {values['node']}"
                yield Event(self._rows[name], "lost", {"reason": reason})
            else:
                # Ray itself would go on without end where memory is full each time.
                self._kill(name)
                times = self._batch.retries + 1
                again = f" {times} times" if times > 1 else ""
                silent = f"or said nothing for {self._batch.hang_minutes:g} minutes"
                reason = f"its process or node ended{again}, {silent}; see the logs of Ray"
                yield self._failed(name, reason)
        elif name in self._told:
            return
        elif kind in ("ended", "failed"):
            yield self._ended(name, kind, values)
        else:
            yield Event(self._rows[name], kind, values)

    def _done(self, name: str, task: Any) -> Iterator[Event]:
        """The last event of a row whose task is done."""
        import ray
        from ray import exceptions

        if name in self._told:
            return
        try:
            last: Any = ray.get(task)
            yield from self._heard(name, last.pop("event"), last)
            return
        except exceptions.TaskCancelledError:
            reason = ""
        except exceptions.RayError as error:
            reason = in_words(error)
        if reason and not self._stopping:
            yield self._failed(name, reason)
        elif name in self._starts:
            yield Event(self._rows[name], "stopped", {})

    def _failed(self, name: str, reason: str) -> Event:
        return self._ended(name, "failed", {"reason": reason})

    def _ended(self, name: str, kind: str, values: dict[str, Any]) -> Event:
        """The last event of a row, after starting no more if it failed as one too many."""
        self._told.add(name)
        if fault_of(kind, values) and self._failures_left is not None:
            self._failures_left -= 1
            if self._failures_left <= 0:
                waiting = (task for n, task in self._tasks.items() if n not in self._starts)
                self._cancel_all(waiting)
        return Event(self._rows[name], kind, values)

    def _cancel(self) -> None:
        """Do what `stop` has asked for."""
        if self._at_once:
            for name in list(self._tasks):
                self._kill(name)
        elif self._stopping:
            self._cancel_all(self._tasks.values())

    def _cancel_all(self, tasks: Iterable[Any]) -> None:
        """Interrupt tasks, as Ctrl-C does, each once: a second time would end it at once."""
        import ray

        for task in tasks:
            if task not in self._cancelled:
                self._cancelled.add(task)
                ray.cancel(task)

    def _kill(self, name: str) -> None:
        """End the process of a task."""
        import ray

        if name in self._tasks:
            ray.cancel(self._tasks[name], force=True)


def _absolute(row: Planned) -> Request:
    """The request of a row whose output directory is the same from every working directory."""
    assert row.request.out is not None
    return replace(row.request, out=row.request.out.absolute())

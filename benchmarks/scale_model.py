"""A cluster that makes the rows of one batch, as a simulation of events; for benchmarks/scale.py.

GPUs come in nodes, which are taken away at random and come back. A row works, uploads a checkpoint
now and then, uploads its result while it still holds its GPU, and goes on elsewhere from its newest
checkpoint when its node is gone. What serves all rows is a `Server`, which does one thing after
another (the process that keeps the batch, the queue of its events, Ray's scheduler, the network of
a node), or a `Rate`, which refuses what is too much (S3). The same seed gives the same outcome.
"""

import heapq
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from gs3d.batch.remote.upload import SHARE, WAITS_S
from gs3d.batch.workers.make import EVERY_S

HOUR_S = 3600.0
UNLIMITED = float("inf")


@dataclass(frozen=True)
class Cluster:
    """What is assumed. docs/scale.md says where each number is from."""

    gpus: int = 1000
    gpus_a_node: int = 8
    rows: int = 20_000
    """Of one batch."""
    row_s: float = 900.0
    """Work of a row."""
    load_s: float = 20.0
    """Time of a new process until its first row begins."""
    checkpoint_s: float = 60.0
    lost_a_gpu_hour: float = 0.05
    """How often a node is taken away, in an hour."""
    back_s: float = 600.0
    """Until another node takes its place."""
    retries: int = 2
    checkpoint_bytes: float = 35.2e6
    checkpoint_requests: int = 6
    end_bytes: float = 50.3e6
    end_requests: int = 11
    latency_s: float = 0.15
    """Of a request; those of a row follow one another."""
    stream_bytes_s: float = 85e6
    """Of one connection to S3."""
    node_bytes_s: float = 1.25e9
    """Of the network of a node."""
    requests_s: float = 3500.0
    """Writes that S3 takes from one prefix in a second."""
    dispatch_s: float = 1 / 190
    """Time of Ray for each task that it starts."""
    queued_s: float = 1 / 2836
    """Time of the actor that holds the events for the batch, for each."""
    steps_s: float = 250.0
    """Steps that all rows tell of in a second, at most."""
    step_s: float = 0.05e-3
    """Time of the process that keeps the batch, for an event of a running row."""
    ended_s: float = 0.1e-3
    """The same when a row begins, and when it ends."""
    spent: float = 0.15
    """Share of its time that goes to the index, the gallery and looking for rows that ended."""
    begin_s: float = 30.0
    """Checks of the rows and their submission, in which no GPU works."""
    seed: int = 0


@dataclass(slots=True)
class Server:
    """Does one thing after another."""

    free_at: float = 0.0
    busy_s: float = 0.0
    longest_wait_s: float = 0.0

    def serve(self, now: float, work_s: float) -> float:
        """When it is done with work that comes now."""
        begins = max(now, self.free_at)
        self.longest_wait_s = max(self.longest_wait_s, begins - now)
        self.free_at = begins + work_s
        self.busy_s += work_s
        return self.free_at


@dataclass
class Rate:
    """Takes so many requests in a second, and refuses the rest."""

    a_second: float
    taken: int = 0
    refused: int = 0
    seconds: Counter[int] = field(default_factory=Counter[int])
    """Second -> requests that it took."""
    _level: float = 0.0
    _last: float = 0.0

    def takes(self, now: float, requests: int) -> bool:
        left = self._level - (now - self._last) * self.a_second if self._level else 0.0
        self._level, self._last = max(left, 0.0), now
        if self._level + requests > self.a_second:
            self.refused += requests
            return False
        self._level += requests
        self.taken += requests
        self.seconds[int(now)] += requests
        return True


@dataclass(slots=True)
class Row:
    safe_s: float = 0.0
    """Work that is at the URL."""
    work_s: float = 0.0
    sent_s: float = 0.0
    """Work in the checkpoint on its way, and when it is there."""
    sent_at: float = UNLIMITED
    next_upload: float = 0.0
    """Before this time no checkpoint is uploaded: uploads take at most a share of the time."""
    works_since: float = UNLIMITED
    """Since when it does the work beyond `work_s`."""
    losses: int = 0


@dataclass
class Node:
    gpus: int
    network: Server = field(default_factory=Server)
    since: float = 0.0
    """When it came."""
    life: int = 0
    """Counts its losses: what was planned in an earlier life does not happen."""
    running: dict[int, Row] = field(default_factory=dict[int, Row])
    """Place -> row that works."""
    fresh: set[int] = field(default_factory=set[int])
    """Places whose process has not loaded the prior yet."""


@dataclass
class Outcome:
    done: int = 0
    failed: int = 0
    losses: int = 0
    """Rows whose node was taken away."""
    wall_s: float = 0.0
    """Until the batch knows that all rows have ended."""
    work_end_s: float = 0.0
    """Until the last row has ended."""
    paid_s: float = 0.0
    """Of GPUs, from the start to the end of the batch, but for nodes that are away."""
    lost_s: float = 0.0
    """Of GPUs: work that had to be done again."""
    load_s: float = 0.0
    upload_s: float = 0.0
    sent_bytes: float = 0.0
    skipped: int = 0
    """Checkpoints that S3 refused."""
    peak_requests: int = 0
    busy: dict[str, float] = field(default_factory=dict[str, float])
    """What serves all rows -> share of its capacity in use until the last row ended; above 1,
    work piles up."""


def simulate(a: Cluster) -> Outcome:
    """Make all rows of a batch."""
    return _Run(a).run()


class _Run:
    def __init__(self, a: Cluster):
        self.a, self.out, self.random = a, Outcome(), random.Random(a.seed)
        self.driver, self.queue, self.ray = Server(), Server(), Server()
        self.s3 = Rate(a.requests_s)
        self.every_s = max(EVERY_S, a.gpus / a.steps_s)
        self.waiting = deque(Row() for _ in range(a.rows))
        self.heap: list[tuple[float, int, Any, tuple[Any, ...]]] = []
        self.count = 0
        sizes = [a.gpus_a_node] * (a.gpus // a.gpus_a_node)
        sizes += [rest] if (rest := a.gpus % a.gpus_a_node) else []
        self.nodes = [Node(size) for size in sizes]
        self.free: deque[tuple[Node, int]] = deque()

    def run(self) -> Outcome:
        a, out, now = self.a, self.out, self.a.begin_s
        for node in self.nodes:
            self._comes(now, node)
        while out.done + out.failed < a.rows:
            now, _, what, values = heapq.heappop(self.heap)
            what(now, *values)
        out.work_end_s = now
        out.wall_s = max(now, self.driver.free_at, self.queue.free_at)
        alive = (node for node in self.nodes if node.since < UNLIMITED)
        out.paid_s += sum(node.gpus * (out.wall_s - node.since) for node in alive)
        out.paid_s += a.begin_s * a.gpus
        out.peak_requests = max(self.s3.seconds.values(), default=0)
        lasted = now - a.begin_s
        network = sum(node.network.busy_s for node in self.nodes) / len(self.nodes)
        out.busy = {
            "process of the batch": self.driver.busy_s / lasted,
            "queue of events": self.queue.busy_s / lasted,
            "Ray's scheduler": self.ray.busy_s / lasted,
            "S3, one prefix": (self.s3.taken + self.s3.refused) / a.requests_s / lasted,
            "network of a node": network / lasted,
        }
        return out

    def _at(self, when: float, what: Any, *values: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (when, self.count, what, values))

    def _says(self, now: float, events: float, each_s: float) -> None:
        """A row says something to the batch: through the queue, which the batch reads."""
        heard = self.queue.serve(now, events * self.a.queued_s)
        self.driver.serve(heard, events * each_s / (1 - self.a.spent))

    def _comes(self, now: float, node: Node) -> None:
        node.since, node.fresh = now, set(range(node.gpus))
        self.free.extend((node, place) for place in range(node.gpus))
        if self.a.lost_a_gpu_hour:
            life = self.random.expovariate(self.a.lost_a_gpu_hour / HOUR_S)
            self._at(now + life, self._goes, node)
        self._start(now)

    def _goes(self, now: float, node: Node) -> None:
        """A node is taken away, with its rows."""
        out, a = self.out, self.a
        out.paid_s += node.gpus * (now - node.since)
        node.life, node.since = node.life + 1, UNLIMITED
        self.free = deque(place for place in self.free if place[0] is not node)
        for row in node.running.values():
            out.losses += 1
            row.losses += 1
            if row.sent_at <= now:
                row.safe_s = row.sent_s
            out.lost_s += row.work_s + max(now - row.works_since, 0.0) - row.safe_s
            row.work_s, row.sent_at, row.works_since = row.safe_s, UNLIMITED, UNLIMITED
            if row.losses > a.retries:
                out.failed += 1
                self._says(now, 1, a.ended_s)
            else:
                self.waiting.appendleft(row)
        node.running.clear()
        self._at(now + a.back_s, self._comes, node)
        self._start(now)

    def _start(self, now: float) -> None:
        """Give free places to rows that wait."""
        a = self.a
        while self.waiting and self.free:
            (node, place), row = self.free.popleft(), self.waiting.popleft()
            began = self.ray.serve(now, a.dispatch_s)
            load = 0.0
            if place in node.fresh:
                load = a.load_s * self.random.uniform(0.75, 1.25)
                node.fresh.remove(place)
            if row.safe_s:
                load += 5 * a.latency_s + a.checkpoint_bytes / a.stream_bytes_s
            self.out.load_s += load
            self._says(began, 1, a.ended_s)
            node.running[place] = row
            self._goes_on(began + load, node, place, row)

    def _goes_on(self, now: float, node: Node, place: int, row: Row) -> None:
        """Work until the next checkpoint or the end."""
        work = min(self.a.checkpoint_s, self.a.row_s - row.work_s)
        row.works_since = now
        self._at(now + work, self._worked, node, node.life, place, work)

    def _worked(self, now: float, node: Node, life: int, place: int, work: float) -> None:
        if life != node.life:
            return
        a, row = self.a, node.running[place]
        row.work_s, row.works_since = row.work_s + work, UNLIMITED
        self._says(now, work / self.every_s, a.step_s)
        if row.work_s >= a.row_s:
            self._ends(now, node, life, place, 0, now)
            return
        if now >= row.next_upload:
            if row.sent_at <= now:
                row.safe_s, row.sent_at = row.sent_s, UNLIMITED
            if self.s3.takes(now, a.checkpoint_requests):
                there = self._sent(now, node, a.checkpoint_bytes, a.checkpoint_requests)
                row.sent_s, row.sent_at = row.work_s, there
                row.next_upload = there + (there - now) / SHARE
            else:
                self.out.skipped += 1
        self._goes_on(now, node, place, row)

    def _sent(self, now: float, node: Node, size: float, requests: int) -> float:
        """When so many bytes are at S3."""
        self.out.sent_bytes += size
        through = node.network.serve(now, size / self.a.node_bytes_s)
        return max(through, now + size / self.a.stream_bytes_s) + requests * self.a.latency_s

    def _ends(
        self, now: float, node: Node, life: int, place: int, attempt: int, since: float
    ) -> None:
        """Upload the result of a row, which holds its place until it is there."""
        if life != node.life:
            return
        a = self.a
        if self.s3.takes(now, a.end_requests):
            there = self._sent(now, node, a.end_bytes, a.end_requests)
            self._at(there, self._ended, node, life, place, since, True)
        elif attempt < len(WAITS_S):
            again = now + WAITS_S[attempt]
            self._at(again, self._ends, node, life, place, attempt + 1, since)
        else:
            self._ended(now, node, life, place, since, False)

    def _ended(
        self, now: float, node: Node, life: int, place: int, since: float, is_there: bool
    ) -> None:
        if life != node.life:
            return
        del node.running[place]
        self.out.upload_s += now - since
        self.out.done += is_there
        self.out.failed += not is_there
        self._says(now, 1, self.a.ended_s)
        self.free.append((node, place))
        self._start(now)

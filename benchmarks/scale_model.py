"""A cluster that makes the rows of one batch, as a simulation of events; for benchmarks/scale.py.

GPUs come in nodes, which are taken away at random and come back. A row works, uploads a checkpoint
now and then, uploads its result while it still holds its GPU, and goes on elsewhere from its newest
checkpoint when its node is gone. What serves all rows is a `Server`, which does one thing after
another (the process that keeps the batch, the queue of its events, Ray's scheduler, the network of
a node), or a `Rate`, which refuses what is too much (S3). The same seed gives the same outcome.
"""

import heapq
import random
from collections import deque
from typing import Any

from scale_parts import HOUR_S, UNLIMITED, Cluster, Node, Outcome, Rate, Row, Server

from gs3d.batch.remote.upload import SHARE, WAITS_S
from gs3d.batch.workers.make import EVERY_S


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

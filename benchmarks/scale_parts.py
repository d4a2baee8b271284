"""What benchmarks/scale_model.py simulates: assumptions, what serves all rows, the outcome."""

from collections import Counter
from dataclasses import dataclass, field

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

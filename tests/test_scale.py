"""The simulation of benchmarks/scale.py keeps to what is known of it in closed form."""

import sys
from dataclasses import replace

import pytest

from gs3d.batch.remote.upload import WAITS_S
from tests.programs import ROOT

sys.path.append(str(ROOT / "benchmarks"))
from scale_model import simulate  # noqa: E402 - not a package
from scale_parts import HOUR_S, UNLIMITED, Cluster  # noqa: E402

FREE = Cluster(
    gpus=50,
    gpus_a_node=1,
    rows=500,
    load_s=0.0,
    lost_a_gpu_hour=0.0,
    latency_s=0.0,
    stream_bytes_s=UNLIMITED,
    node_bytes_s=UNLIMITED,
    requests_s=UNLIMITED,
    dispatch_s=0.0,
    queued_s=0.0,
    step_s=0.0,
    steps_s=UNLIMITED,
    ended_s=0.0,
    spent=0.0,
    begin_s=0.0,
)
"""Nothing takes time but work, and nothing fails."""


def test_without_limits_and_failures_the_gpus_are_all_that_counts():
    out = simulate(FREE)
    assert out.done == FREE.rows and out.failed == out.losses == 0 and out.lost_s == 0
    assert out.wall_s == pytest.approx(FREE.rows * FREE.row_s / FREE.gpus)
    assert out.paid_s == pytest.approx(FREE.rows * FREE.row_s)
    sent = 14 * FREE.checkpoint_bytes + FREE.end_bytes  # none at the end of the last minute
    assert out.sent_bytes == pytest.approx(FREE.rows * sent)


@pytest.mark.parametrize("part", ["process of the batch", "queue of events"])
def test_what_serves_all_rows_is_full_where_its_time_says(part):
    """A row says 450 steps, one every two seconds: 25 a second of 50 rows."""
    name = {"process of the batch": "step_s", "queue of events": "queued_s"}[part]
    steps, events = 450, 452  # with the first and the last
    number = steps if name == "step_s" else events
    for load in (0.5, 2.0):
        each_s = load * FREE.row_s / (number * FREE.gpus)
        out = simulate(replace(FREE, **{name: each_s}))
        assert out.busy[part] == pytest.approx(load, rel=1e-6)
        work_s = FREE.rows * FREE.row_s / FREE.gpus
        assert out.work_end_s == pytest.approx(work_s)  # rows do not wait for it
        assert out.wall_s == pytest.approx(work_s * max(load, 1.0), rel=0.04)


def test_rows_that_tell_of_fewer_steps_keep_the_process_as_busy_as_a_few_rows():
    some = simulate(replace(FREE, step_s=1e-3, steps_s=10.0))
    assert some.busy["process of the batch"] == pytest.approx(10.0 * 1e-3)


def test_gpus_that_are_taken_away_waste_half_the_time_between_checkpoints():
    cluster = replace(FREE, gpus=200, rows=4000, lost_a_gpu_hour=1.0, retries=1000)
    out = simulate(cluster)
    assert out.done == cluster.rows
    assert out.losses / (out.paid_s / HOUR_S) == pytest.approx(1.0, rel=0.12)
    assert out.lost_s / out.losses == pytest.approx(cluster.checkpoint_s / 2, rel=0.08)
    assert out.paid_s >= cluster.rows * cluster.row_s + out.lost_s
    assert simulate(cluster) == out  # the same seed
    assert simulate(replace(cluster, seed=1)) != out


def test_rows_fail_that_lose_their_node_too_often():
    cluster = replace(FREE, rows=5000, lost_a_gpu_hour=2.0, retries=0)
    out = simulate(cluster)
    # A row of a quarter of an hour loses its node with 1 - exp(-1/2).
    assert out.failed + out.done == cluster.rows
    assert out.failed / cluster.rows == pytest.approx(0.393, abs=0.03)


def test_s3_refuses_what_is_too_much_and_rows_try_again():
    """All fifty end in one second. Those that are refused wait, and hold their GPU meanwhile."""
    cluster = replace(FREE, rows=50, checkpoint_s=FREE.row_s, requests_s=10 * FREE.end_requests)
    out = simulate(cluster)
    assert out.done == 50 and out.peak_requests <= cluster.requests_s
    # Ten at first, then ten each after 1, 2, 4 and 8 seconds more.
    assert out.wall_s == pytest.approx(FREE.row_s + sum(WAITS_S[:4]))
    assert out.upload_s > 0
    never = simulate(replace(cluster, requests_s=FREE.end_requests - 1))
    assert never.failed == 50 and never.wall_s == pytest.approx(FREE.row_s + sum(WAITS_S))


def test_a_network_that_is_too_slow_holds_the_gpus_at_the_end_of_rows():
    slow = replace(FREE, checkpoint_s=FREE.row_s, node_bytes_s=FREE.end_bytes / 10)
    out = simulate(slow)
    assert out.upload_s == pytest.approx(10.0 * FREE.rows)
    assert out.wall_s == pytest.approx(FREE.rows / FREE.gpus * (FREE.row_s + 10))

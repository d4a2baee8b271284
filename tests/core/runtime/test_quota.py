"""Limits of control groups, as files of a file system that is made up."""

import os

import pytest

from gs3d.core.runtime import openmp, threads
from gs3d.core.runtime.quota import cpu_quota

V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    "files,quota",
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        # A path outside of what the container sees.
        ({"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1.0),
        (
            {
                "proc/self/cgroup": "3:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n",
                f"{V1}/cpu.cfs_quota_us": "50000\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "2:cpu,cpuacct:/\n",
                f"{V1}/cpu.cfs_quota_us": "-1\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "what is this\n\n"}, None),
    ],
)
def test_the_smallest_limit_counts(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == quota


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_cores_are_not_more_than_the_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(3, 67)))
    assert threads.cores() == list(range(3, 67))
    monkeypatch.setattr(threads, "cpu_quota", lambda: 2.5)
    found = threads.cores()
    assert len(set(found)) == 3 and set(found) < set(range(3, 67)) and found == threads.cores()


@pytest.mark.parametrize(
    "quota,set_before,expected", [(1.5, None, "2"), (1.5, "7", "7"), (None, None, None)]
)
def test_torch_has_no_more_threads_than_the_quota(monkeypatch, quota, set_before, expected):
    monkeypatch.setattr(openmp, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is as before afterwards
    monkeypatch.delenv("OMP_NUM_THREADS")
    if set_before:
        monkeypatch.setenv("OMP_NUM_THREADS", set_before)
    openmp.keep_to_quota()
    assert os.environ.get("OMP_NUM_THREADS") == expected

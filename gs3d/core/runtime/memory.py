"""Free memory, reuse of freed memory by the C library, and peak memory of this process."""

import ctypes
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameter names and numbers of glibc's mallopt(3)."""
NEVER_TRIM = 2**31 - 1
TOP_PAD_BYTES = 64 * 2**20
CGROUP = Path("/sys/fs/cgroup")


def keep_freed_blocks() -> bool:
    """Make this process reuse large freed blocks instead of returning them to the kernel.

    Returns whether the C library accepted the settings. A network on the CPU frees and allocates
    the same few megabytes hundreds of times per second. By default glibc maps every such block
    again, and the kernel clears it page by page each time. The cost of the setting is that the
    process stays as large as its peak.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        # musl has no mallopt.
        return False
    return all(
        [
            mallopt(M_MMAP_MAX, 0),
            mallopt(M_TRIM_THRESHOLD, NEVER_TRIM),
            mallopt(M_TOP_PAD, TOP_PAD_BYTES),
        ]
    )


def free_memory(device: torch.device) -> int | None:
    """Bytes that a program can still have on a device; None where that cannot be told.

    In a Linux container it is what the container may have, if that is less.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError):
        return None
    try:
        most, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        # Files that were read, such as weights, and that the system can forget.
        used -= next(
            int(line.split()[1])
            for line in (CGROUP / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
    except (
        OSError,
        StopIteration,
        ValueError,
    ):  # no container, or one without a limit, which says "max"
        return free
    return min(free, max(most - used, 0))


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process in MiB; None where the system does not report it.

    On Linux this reads VmHWM, because getrusage includes the peak of the parent process.
    """
    try:
        with open("/proc/self/status") as status:
            kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        return round(int(kilobytes) / 1024, 1)
    except (OSError, StopIteration, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    # ru_maxrss is in bytes on macOS and in kilobytes elsewhere.
    units_per_mb = 2**20 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_per_mb, 1)

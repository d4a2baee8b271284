"""How the C library keeps memory that was freed, and how much a process has held at most."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""glibc's names and numbers, mallopt(3)."""
KEEP = 2**31 - 1
PAD = 64 * 2**20


def keep_freed_blocks() -> bool:
    """Let this process reuse its big blocks instead of giving each back to the kernel; whether the C library could be told so.

    A network on the CPU frees and takes the same few megabytes hundreds of times a second. glibc by default maps every such block anew,
    and the kernel clears it page by page each time. The price is that the process stays as large as it once was.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, KEEP), mallopt(M_TOP_PAD, PAD)])


def peak_memory_mb() -> float | None:
    """The most memory that this process has held; None where the system does not say.

    Linux is asked for VmHWM: what getrusage says begins with the parent's.
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
    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (2**20 if sys.platform == "darwin" else 1024),
        1,
    )

"""How much of the processors a container may use, which may be less than the cores that it sees."""

from pathlib import Path

ROOT = Path("/")
"""Of the file system."""


def cpu_quota(root: Path = ROOT) -> float | None:
    """Processors that the control groups of this process allow, such as 1.5; None without a limit.

    Source: the Linux kernel's documentation of control groups, cpu.max of version 2 and
    cpu.cfs_quota_us of version 1.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    limits: list[float] = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            mounts = ["sys/fs/cgroup"]
        elif "cpu" in controllers.split(","):
            mounts = ["sys/fs/cgroup/cpu", f"sys/fs/cgroup/{controllers}"]
        else:
            continue
        # Groups above it limit it too. In a container its own is often that of the mount.
        for mount in mounts:
            group = Path(path.lstrip("/"))
            limits += [
                limit
                for above in (group, *group.parents)
                if ".." not in above.parts and (limit := _limit(root / mount / above)) is not None
            ]
    return min(limits, default=None)


def _limit(folder: Path) -> float | None:
    """Processors that one control group allows; None without a limit."""
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text("utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text("utf-8")
            period = (folder / "cpu.cfs_period_us").read_text("utf-8")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None  # "max", or no such file

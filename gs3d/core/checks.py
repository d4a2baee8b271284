"""Ranges of settings: what a config dataclass demands of its values, said in one line when they do not hold."""

from typing import Any


def require(name: str, value: Any, ok: bool, expected: str) -> None:
    """ValueError that names the setting, what was expected and what was given, unless `ok`."""
    if not ok:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def within(name: str, value: float | tuple[float, ...], interval: str) -> None:
    """A number, or each of a tuple, lies in an interval as mathematics writes it: "[0, 1]", "(0, 1]", "[1, inf)".

    An end at infinity is written open, so that an interval always asks for finite numbers too; NaN lies in none.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    values = value if isinstance(value, (tuple, list)) else (value,)
    ok = all(
        low <= v <= high and (v > low or interval[0] == "[") and (v < high or interval[-1] == "]")
        for v in values
    )
    require(
        name,
        value,
        ok,
        f"{'numbers' if isinstance(value, (tuple, list)) else 'a number'} in {interval}",
    )


def ordered(name: str, pair: tuple[float, float], interval: str) -> None:
    """A range (low, high) inside an interval."""
    within(name, pair, interval)
    require(name, pair, pair[0] <= pair[1], "the lower end first")

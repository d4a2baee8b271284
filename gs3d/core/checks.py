"""Range checks for the values of config dataclasses. Messages are one line."""

from typing import Any


def require(name: str, value: Any, ok: bool, expected: str) -> None:
    """Raise `ValueError` unless `ok`.

    The message contains the setting's name, what was expected, and the given value.
    """
    if not ok:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def within(name: str, value: float | tuple[float, ...], interval: str) -> None:
    """Raise `ValueError` unless `value`, a number or a tuple of numbers, lies in `interval`.

    `interval` uses mathematical notation: "[0, 1]", "(0, 1]", "[1, inf)". An infinite end must be
    open, so every interval also requires finite numbers. NaN lies in no interval.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    values = value if isinstance(value, (tuple, list)) else (value,)
    ok = all(
        low <= v <= high and (v > low or interval[0] == "[") and (v < high or interval[-1] == "]")
        for v in values
    )
    expected = "numbers" if isinstance(value, (tuple, list)) else "a number"
    require(name, value, ok, f"{expected} in {interval}")


def ordered(name: str, pair: tuple[float, float], interval: str) -> None:
    """Raise `ValueError` unless `pair` is (low, high) with low ≤ high, both in `interval`."""
    within(name, pair, interval)
    require(name, pair, pair[0] <= pair[1], "the lower end first")

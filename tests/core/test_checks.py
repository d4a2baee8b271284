import math

import pytest

from gs3d.core.checks import ordered, require, within


@pytest.mark.parametrize(
    "value,interval",
    [
        (0, "[0, 1]"),
        (1.0, "(0, 1]"),
        (1e-9, "(0, 1]"),
        ((0.5, 1), "(0, 1]"),
        (10**9, "[1, inf)"),
        ((), "(0, 1)"),
        (-5, "(-inf, inf)"),
    ],
)
def test_within_accepts_values_in_the_interval(value, interval):
    within("x", value, interval)


@pytest.mark.parametrize(
    "value,interval",
    [
        (0, "(0, 1]"),
        (1, "[0, 1)"),
        (1.1, "[0, 1]"),
        ((0.5, 2), "[0, 1]"),
        (math.inf, "[1, inf)"),
        (math.nan, "(-inf, inf)"),
    ],
)
def test_within_reports_the_interval_and_the_value(value, interval):
    with pytest.raises(ValueError) as caught:
        within("x", value, interval)
    message = str(caught.value)
    expected = "numbers" if isinstance(value, tuple) else "a number"
    assert message.startswith(f"x: expected {expected} in ")
    assert interval in message and message.endswith(f"got {value!r}")


def test_ordered_requires_the_lower_end_first():
    ordered("x", (1, 1), "[0, 2]")
    with pytest.raises(ValueError, match="lower end first, got"):
        ordered("x", (2, 1), "[0, 2]")
    with pytest.raises(ValueError, match=r"\[0, 2\]"):
        ordered("x", (1, 3), "[0, 2]")


def test_require_message():
    require("x", 1, True, "one")
    with pytest.raises(ValueError, match="^x: expected one, got 2$"):
        require("x", 2, False, "one")

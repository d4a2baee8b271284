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
def test_what_lies_in_an_interval_passes(value, interval):
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
def test_what_does_not_is_named_with_the_interval_and_the_value(value, interval):
    with pytest.raises(ValueError) as caught:
        within("x", value, interval)
    said = str(caught.value)
    assert said.startswith(
        "x: expected number" if isinstance(value, tuple) else "x: expected a number"
    )
    assert interval in said and said.endswith(f"got {value!r}")


def test_a_range_has_its_lower_end_first():
    ordered("x", (1, 1), "[0, 2]")
    with pytest.raises(ValueError, match="lower end first, got"):
        ordered("x", (2, 1), "[0, 2]")
    with pytest.raises(ValueError, match=r"\[0, 2\]"):
        ordered("x", (1, 3), "[0, 2]")


def test_require():
    require("x", 1, True, "one")
    with pytest.raises(ValueError, match="^x: expected one, got 2$"):
        require("x", 2, False, "one")

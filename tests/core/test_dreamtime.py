"""The ramp with DreamTime's schedule of times."""

import math

import pytest

from gs3d.core.schedules import Ramp

STEPS = 20000


def weight(t):
    """W(t) with m1 = 0.8, m2 = 0.5, s1 = 0.3 and s2 = 0.1."""
    if t > 0.8:
        return math.exp(-((t - 0.8) ** 2) / (2 * 0.3**2))
    return 1.0 if t >= 0.5 else math.exp(-((t - 0.5) ** 2) / (2 * 0.1**2))


@pytest.mark.parametrize("start, end", [(0.98, 0.02), (0.7, 0.1), (1.0, 0.0), (0.1, 0.6)])
@pytest.mark.parametrize("progress", [0.05, 0.3, 0.5, 0.9, 0.999])
def test_the_share_of_the_weight_between_start_and_time_is_the_progress(start, end, progress):
    # The paper's t(i) has the sum of normalized weights above it that is nearest to i/N.
    t = Ramp(start, end, "dreamtime")(progress)
    inside = [start + (end - start) * (i + 0.5) / STEPS for i in range(STEPS)]
    above = [u for u in inside if min(start, t) <= u <= max(start, t)]
    share = sum(map(weight, above)) / sum(map(weight, inside))
    assert share == pytest.approx(progress, abs=2e-4)


def test_it_is_slow_in_the_middle_and_fast_at_small_times():
    ramp = Ramp(0.98, 0.02, "dreamtime")
    assert (ramp(0.0), ramp(1.0), ramp(-1.0), ramp(2.0)) == pytest.approx((0.98, 0.02, 0.98, 0.02))
    times = [ramp(i / 1000) for i in range(1001)]
    assert times == sorted(times, reverse=True)
    middle = sum(0.5 <= t <= 0.8 for t in times)
    small = sum(t < 0.3 for t in times)
    assert middle > 480 and small < 20
    assert all(0.02 <= t <= 0.98 for t in times)


def test_a_constant_stays_and_only_times_are_allowed():
    assert Ramp(0.6, 0.6, "dreamtime")(0.4) == pytest.approx(0.6)
    for ends in ((7.5, 1.0), (0.5, -0.1)):
        with pytest.raises(ValueError, match="times in \\[0, 1\\] for curve 'dreamtime'"):
            Ramp(*ends, "dreamtime")

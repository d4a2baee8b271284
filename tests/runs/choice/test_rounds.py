"""When a run with several seeds gives some of them up."""

import pytest

from gs3d.distill.settings.config import load_config
from gs3d.runs.choice.rounds import last_of, left_at, share_of_best


@pytest.mark.parametrize(
    "candidates,left",
    [
        (1, [1, 1, 1, 1]),
        (2, [2, 2, 1, 1]),
        (3, [3, 2, 1, 1]),
        (4, [4, 2, 1, 1]),
        (5, [5, 2, 1, 1]),
    ],
)
def test_objects_that_are_left(candidates, left):
    assert [left_at(candidates, p) for p in (0.0, 0.34, 0.5, 1.0)] == left


def test_one_is_left_at_the_end_of_the_rounds_whatever_their_number():
    for candidates in range(1, 40):
        counts = [left_at(candidates, p / 1000) for p in range(1001)]
        assert counts[0] == candidates and counts[500:] == [1] * 501
        assert counts == sorted(counts, reverse=True)


def test_share_of_the_best():
    assert share_of_best(1) == 1.0
    assert share_of_best(2) == pytest.approx(0.5 / 2 + 0.5)
    assert share_of_best(4) == pytest.approx(0.25 / 4 + 0.25 / 2 + 0.5)


def test_rounds_end_before_a_second_stage_begins():
    assert last_of(load_config("builtin")) == 0.5
    for name in ("builtin-two-stage", "magic3d"):
        config = load_config(name)
        assert last_of(config) == min(0.5, config.ends(0)[1])

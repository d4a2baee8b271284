import itertools
from dataclasses import replace

import numpy as np
import pytest

from gs3d.world.captions import Thing
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.sample import sample
from gs3d.world.splits import PAIR_SHARE, UNSEEN_SHARE, split_of


def test_a_fifth_of_the_combinations_is_unseen_in_every_kind_and_color():
    unseen = {
        (k, c, p): split_of(Thing(k, c, p)) == "unseen"
        for k, c, p in itertools.product(KINDS, NAMED, (None, "spots", "stripes"))
    }
    assert np.mean(list(unseen.values())) == pytest.approx(UNSEEN_SHARE, abs=0.03)
    for at, names in ((0, KINDS), (1, NAMED)):
        for name in names:
            assert np.mean([value for key, value in unseen.items() if key[at] == name]) < 0.5


def test_a_tenth_of_the_pairs_of_kind_and_color_is_never_seen_whatever_else_is_said():
    dressings = [
        Thing("", "", p, c, "legs", q)
        for p in ("spots", "stripes", None)
        for c in ("white", "red")
        for q in NAMED
    ]

    def dressed(kind, color):
        return [split_of(replace(d, kind=kind, color=color)) for d in (*dressings, Thing("", ""))]

    never = [set(dressed(k, c)) == {"unseen"} for k, c in itertools.product(KINDS, NAMED)]
    assert np.mean(never) == pytest.approx(PAIR_SHARE, abs=0.04)


def test_what_is_said_beside_the_combination_does_not_change_its_split():
    for color in NAMED:
        thing = Thing("mug", color, "spots", "white", "handle", "red")
        assert split_of(thing) == split_of(
            replace(thing, pattern_color="blue", material="metal", size="tall")
        )


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_samples_keep_to_their_split(split):
    rng = np.random.default_rng(0)
    made = [sample(rng, split=split) for _ in range(200)]
    assert {split_of(m.thing) for m in made} == {split}
    others = {split_of(m.other) for m in made if m.other}
    assert others == {"seen"} or split == "unseen" and others


def test_a_combination_of_the_other_split_is_named():
    other = {"seen": "unseen", "unseen": "seen"}[split_of(Thing("mug", "red"))]
    with pytest.raises(ValueError, match=f"no plain red mug is {other}"):
        sample(np.random.default_rng(0), "mug", "red", plain=True, split=other)

"""The split of attribute combinations into seen and unseen ones."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from gs3d.world.captions import Thing
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.sample import sample
from gs3d.world.splits import PAIR_SHARE, UNSEEN_SHARE, split_of


def test_unseen_share_overall_and_for_every_kind_and_color():
    unseen = {
        (k, c, p): split_of(Thing(k, c, p)) == "unseen"
        for k, c, p in itertools.product(KINDS, NAMED, (None, "spots", "stripes"))
    }
    assert np.mean(list(unseen.values())) == pytest.approx(UNSEEN_SHARE, abs=0.03)
    for position, names in ((0, KINDS), (1, NAMED)):
        for name in names:
            assert np.mean([value for key, value in unseen.items() if key[position] == name]) < 0.5


def test_share_of_pairs_of_kind_and_color_that_are_never_seen():
    attributes = [
        Thing("", "", p, c, "legs", q)
        for p in ("spots", "stripes", None)
        for c in ("white", "red")
        for q in NAMED
    ]

    def splits(kind, color):
        return {split_of(replace(a, kind=kind, color=color)) for a in (*attributes, Thing("", ""))}

    never_seen = [splits(k, c) == {"unseen"} for k, c in itertools.product(KINDS, NAMED)]
    assert np.mean(never_seen) == pytest.approx(PAIR_SHARE, abs=0.04)


def test_other_attributes_do_not_change_the_split():
    for color in NAMED:
        thing = Thing("mug", color, "spots", "white", "handle", "red")
        changed = replace(thing, pattern_color="blue", material="metal", size="tall")
        assert split_of(thing) == split_of(changed)


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_samples_belong_to_requested_split(split):
    rng = np.random.default_rng(0)
    samples = [sample(rng, split=split) for _ in range(200)]
    assert {split_of(s.thing) for s in samples} == {split}
    others = {split_of(s.other) for s in samples if s.other}
    assert others == {"seen"} or split == "unseen" and others


def test_sample_outside_the_split_raises():
    other = {"seen": "unseen", "unseen": "seen"}[split_of(Thing("mug", "red"))]
    with pytest.raises(ValueError, match=f"no plain red mug is {other}"):
        sample(np.random.default_rng(0), "mug", "red", plain=True, split=other)

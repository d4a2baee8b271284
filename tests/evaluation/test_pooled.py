"""Pooled metrics: KID over pairs of prompts, and the spread over seeds."""

import dataclasses

import pytest
import torch

from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.metrics.kid import pair_table
from gs3d.evaluation.pooled import Seen, _spread, bootstrap_pairs, pooled_table
from gs3d.evaluation.reference import reference_splats
from gs3d.world.captions import Meaning, Thing
from gs3d.world.sample import reference_objects
from tests.evaluation.test_report import result


def sets(shift: float, prompts: int = 30, seed: int = 0) -> list[torch.Tensor]:
    """Features of 8 images of each prompt: a mean of the prompt's own, and noise."""
    common = torch.Generator().manual_seed(0)
    means = torch.randn(prompts, 1, 6, generator=common)
    gen = torch.Generator().manual_seed(seed)
    return list(means + shift + 0.3 * torch.randn(prompts, 8, 6, generator=gen))


def test_kid_is_zero_for_equal_sets_and_grows_with_the_difference():
    means = []
    for shift in (0.0, 0.3, 1.0):
        table = pair_table(sets(0.0, seed=1), sets(shift, seed=2))
        mean, low, high = bootstrap_pairs(table)
        assert low <= mean <= high
        means.append(mean)
    assert abs(means[0]) < 0.05 < 0.1 < means[1] < means[2]


def test_pairs_of_a_prompt_with_itself_do_not_count():
    table = pair_table(sets(0.0, seed=1), sets(0.5, seed=2))
    changed = table.clone().fill_diagonal_(1e6)
    assert bootstrap_pairs(changed) == bootstrap_pairs(table)


def test_spread_is_the_distance_of_objects_of_one_prompt():
    zeros, ones = torch.zeros(8, 5), torch.ones(8, 5)
    objects = {"a": [Seen(zeros, zeros), Seen(zeros, 2 * ones)], "b": [Seen(zeros, ones)]}
    assert _spread(objects) == pytest.approx(2.0)
    assert _spread({"b": objects["b"]}) is None


@pytest.fixture(scope="module")
def ducks():
    objects = reference_objects(Meaning(Thing("duck", "red")), 9)[7:]
    return [reference_splats(o.parts, 64) for o in objects]


def test_table_has_a_row_for_each_method_and_the_references(ducks):
    rows = [result("sds", seed=s) for s in (0, 1)]
    rows.append(result("cds", seed=0))
    table = pooled_table(rows, lambda r: ducks[r.seed], Classifier.load())
    assert [row[0] for row in table[1:]] == ["sds", "cds", "reference objects"]
    # One prompt is too few for a KID, and one seed has no spread.
    assert all(row[1:3] == ["–", "–"] for row in table[1:])
    assert 30 < int(table[1][3]) < 300 and table[2][3] == "–"
    assert [row[4] for row in table[1:]] == ["2", "1", "2"]


def test_prompts_outside_the_world_have_no_table(ducks):
    row = dataclasses.replace(result("sds"), prompt="a photo of an astronaut")
    assert pooled_table([row], lambda r: ducks[0], Classifier.load()) is None

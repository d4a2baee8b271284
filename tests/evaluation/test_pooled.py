"""Pooled metrics: KID over pairs of prompts, and the spread over seeds."""

import dataclasses

import pytest
import torch

from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.metrics.kid import pair_table
from gs3d.evaluation.pooled import (
    Pooled,
    Seen,
    _spread,
    bootstrap_pairs,
    pooled_metrics,
    pooled_table,
)
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


def test_there_is_a_row_for_each_method_and_the_references(ducks):
    rows = [result("sds", seed=s) for s in (0, 1)]
    rows.append(result("cds", seed=0))
    pooled = pooled_metrics(rows, lambda r: ducks[r.seed], Classifier.load())
    assert [p.method for p in pooled] == ["sds", "cds", "reference objects"]
    assert [p.runs for p in pooled] == [2, 1, 2]
    # One prompt is too few for a KID, and one seed has no spread.
    assert all(p.kid_pixels is None and p.kid_features is None for p in pooled)
    assert pooled[0].spread is not None and 0.3 < pooled[0].spread < 3
    assert pooled[1].spread is None


def test_prompts_outside_the_world_have_none(ducks):
    row = dataclasses.replace(result("sds"), prompt="a photo of an astronaut")
    assert pooled_metrics([row], lambda r: ducks[0], Classifier.load()) == []


def test_table_shows_what_is_missing_as_a_dash():
    some = Pooled("sds", (0.0314, 0.025, 0.038), None, 1.25, 48)
    assert pooled_table([some])[1] == ["sds", "3.1 (2.5 to 3.8)", "–", "125", "48"]

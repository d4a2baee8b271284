"""Runs that begin with several seeds and keep the best."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.io import load_asset
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs import loop
from gs3d.runs.choice import choose
from gs3d.runs.choice.score import WORST
from gs3d.runs.history import representation_of, training_cameras
from tests.runs.running import (
    SPLATS,
    SPLATS_THEN_SURFACE,
    equal,
    generate,
    interrupt_after,
    log_rows,
    request_for,
)

STEPS = 20
SCORES = {1: 0.1, 2: 0.4, 3: 0.3, 4: 0.2}


@pytest.fixture
def four(tiny_sd_folder, tmp_path):
    made = request_for(tiny_sd_folder, tmp_path, SPLATS, STEPS, guidance="sds")
    return dataclasses.replace(made, seeds=4)


@pytest.fixture
def scored(monkeypatch):
    """Scores by number, as if all had been seen."""
    calls: list[int] = []

    def score_of(representation, task, progress, rows):
        calls.append(1)
        return SCORES[len(calls) if len(calls) <= 4 else {5: 2, 6: 3}[len(calls)]]

    monkeypatch.setattr(choose, "score_of", score_of)
    return calls


def nan_from(index, monkeypatch):
    """A `control` after whose first call renders of the object at `index` are NaN."""
    real, bad = Gaussians.render, [None]

    def render(self, *arguments):
        out = real(self, *arguments)
        return dataclasses.replace(out, rgb=out.rgb * float("nan")) if self is bad[0] else out

    monkeypatch.setattr(Gaussians, "render", render)

    def control(state):
        bad[0] = bad[0] or state.particles[index].representation
        return "continue"

    return control


def record_in(folder):
    return yaml.safe_load((folder / "run.yaml").read_text("utf-8"))


def test_the_better_half_goes_on_after_each_round(four, scored):
    said: list[str] = []
    result = generate(four, say=said.append)
    assert "--seeds 4: the best one has about 69 % of the iterations" in said
    rows = [row["particle"] for row in log_rows(result.folder)]
    # A quarter of the run for all, a quarter for two, half of it for one.
    assert rows == [1, 2, 3, 4, 1, *[2, 3, 2, 3, 2], *[2] * 10]
    record = record_in(result.folder)
    choice = record["result"]["choice"]
    assert record["seeds"] == 4 and choice["number"] == 2
    assert choice["rounds"][0] == {"progress": 0.25, "scores": SCORES, "kept": [2, 3]}
    assert choice["rounds"][1] == {"progress": 0.5, "scores": {2: 0.4, 3: 0.3}, "kept": [2]}
    assert [line for line in said if "by score" in line] == [
        "seeds by score: 2 (0.400), 3 (0.300), 4 (0.200), 1 (0.100); 2 and 3 go on",
        "seeds by score: 2 (0.400), 3 (0.300); 2 goes on",
    ]
    pictures = [np.asarray(Image.open(result.folder / f"candidates-{i}.png")) for i in (1, 2)]
    assert pictures[0].shape[0] == 2 * pictures[1].shape[0]
    assert {"candidates-1.png", "candidates-2.png"} <= {path.name for path in result.files}
    assert result.others == [] and not (result.folder / "particle-2").exists()


def test_the_kept_seed_is_reached_by_every_command(four, scored):
    result = generate(four)
    kept = representation_of(result.folder).splats()
    assert len(kept) == len(load_asset(result.folder))
    cameras = training_cameras(result.folder, iterations=STEPS)
    own = [row for row in log_rows(result.folder) if row["particle"] == 2]
    assert len(cameras) == len(own)


def test_kept_seed_has_the_cameras_and_noise_of_a_run_with_it_alone(four, scored, tmp_path):
    result = generate(four)
    seed = record_in(result.folder)["result"]["choice"]["seed"]
    steps = sum(row["particle"] == 2 for row in log_rows(result.folder))
    changes = {"seeds": 1, "seed": seed, "steps": steps, "out": tmp_path / "alone"}
    alone = generate(dataclasses.replace(four, **changes))
    found, expected = (training_cameras(r.folder, STEPS) for r in (result, alone))
    assert len(found) == len(expected) == steps
    # Those of the first iteration; later ones are drawn by progress, which differs.
    assert found[0].world_to_camera.equal(expected[0].world_to_camera)


@pytest.mark.parametrize("step", [2, 6, 14])
def test_interrupted_in_any_round_and_resumed_equals_uninterrupted(four, step, tmp_path):
    whole = generate(dataclasses.replace(four, out=tmp_path / "whole"))
    stopped = generate(four, report=interrupt_after(step))
    assert stopped.outcome == "interrupted" and stopped.asset is not None
    said: list[str] = []
    resumed = generate(dataclasses.replace(four, seeds=1, resume=True), say=said.append)
    assert "that run has 4 seeds, and goes on with them" in said
    assert equal(whole.splats, resumed.splats)
    one, other = (record_in(r.folder)["result"]["choice"] for r in (whole, resumed))
    assert one == other and len(one["rounds"]) == 2
    again = newest_checkpoint(resumed.folder / "checkpoint")
    assert len(again.particles) == 1 and again.particles[0].number == one["number"]
    with pytest.raises(UserError, match="that run has seeds 4, not 2"):
        generate(dataclasses.replace(four, seeds=2, resume=True))


def test_the_choice_is_before_a_second_stage(tiny_sd_folder, tmp_path):
    request = request_for(tiny_sd_folder, tmp_path, SPLATS_THEN_SURFACE, 12, guidance="sds")
    result = generate(dataclasses.replace(request, seeds=2))
    assert result.mesh is not None
    assert len({row["particle"] for row in log_rows(result.folder)[6:]}) == 1
    assert (result.folder / "stage-1.ply").exists() and not (result.folder / "particle-2").exists()


def test_a_seed_that_is_not_finite_is_given_up(four, monkeypatch):
    monkeypatch.setattr(loop, "MAX_SKIPPED", 1)
    said: list[str] = []
    result = generate(four, say=said.append, control=nan_from(1, monkeypatch))
    assert result.outcome == "finished" and result.steps == STEPS
    assert "warning: seeds: number 2 gave NaN or Inf; the others go on" in said
    rounds = record_in(result.folder)["result"]["choice"]["rounds"]
    assert rounds[0]["scores"] == {2: WORST} and rounds[0]["kept"] == [1, 3, 4]
    assert set(rounds[1]["scores"]) == {1, 3, 4}


def test_a_seed_that_gave_nan_last_is_behind_all_others(four, monkeypatch):
    monkeypatch.setattr(choose, "score_of", lambda *_: 1.0)
    result = generate(four, control=nan_from(0, monkeypatch))
    rounds = record_in(result.folder)["result"]["choice"]["rounds"]
    assert result.outcome == "finished" and rounds[0]["kept"] == [2, 3]


def test_full_memory_while_they_are_judged_ends_no_run(four, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(choose, "score_of", full)
    said: list[str] = []
    result = generate(four, say=said.append)
    assert result.outcome == "finished"
    assert "warning: seeds: no memory to judge them; the first go on" in said
    assert record_in(result.folder)["result"]["choice"]["number"] == 1


def test_none_is_given_up_before_all_have_had_an_iteration(four):
    result = generate(dataclasses.replace(four, steps=4))
    assert [row["particle"] for row in log_rows(result.folder)] == [1, 2, 3, 4]
    choice = record_in(result.folder)["result"]["choice"]
    # At the end, so that the best one is exported.
    assert choice["left"] == 1 and len(choice["rounds"][0]["scores"]) == 4


def test_stopped_before_the_first_round(four):
    stopped = generate(four, report=interrupt_after(1))
    choice = record_in(stopped.folder)["result"]["choice"]
    assert (choice["number"], choice["left"], choice["rounds"]) == (1, 4, [])


def test_seeds_that_would_begin_alike_or_late_are_refused(four, tmp_path):
    finished = generate(dataclasses.replace(four, seeds=1, steps=2, out=tmp_path / "one"))
    with pytest.raises(UserError, match="give seeds or start, not both"):
        generate(dataclasses.replace(four, start=finished.folder))
    with pytest.raises(UserError, match="seeds 4: the config begins at 0.3 of the schedules"):
        generate(dataclasses.replace(four, set=("begin=0.3",)))


def test_all_seeds_are_kept_as_particles(four):
    result = generate(dataclasses.replace(four, keep="all", steps=4))
    assert len(result.others) == 3 and record_in(result.folder)["particles"] == 4


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"seeds": 0}, "--seeds: expected a whole number, 1 or more, got 0"),
        ({"seeds": "4"}, "--seeds: expected a whole number, 1 or more, got '4'"),
        ({"seeds": 21}, "--seeds 21: more than --steps 20"),
        ({"keep": "worst"}, "--keep worst: expected best or all"),
        ({"particles": 2}, "give --particles or --seeds, not both"),
    ],
)
def test_wrong_numbers_are_one_line(four, changes, message):
    with pytest.raises(UserError) as told:
        generate(dataclasses.replace(four, **changes))
    assert message in told.value.for_command_line and "\n" not in str(told.value)

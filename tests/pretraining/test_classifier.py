import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gs3d.core.rng import generator
from gs3d.evaluation.augment import augment, backgrounds, grain
from gs3d.pretraining import classifier as classifier
from gs3d.pretraining import renders, resume
from gs3d.pretraining.classifier import FitConfig, fit
from gs3d.pretraining.renders import ring_pictures
from gs3d.world import dataset as dataset
from tests.pretraining.killed import SHORT, draw_little, in_two_parts


def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    draw_little(monkeypatch)
    monkeypatch.setattr(classifier, "metrics_of", lambda classifier, config: {"kind": 1.0})

    def config(name):
        out = tmp_path / name
        return FitConfig(tmp_path / "pool", out, weights=out / "r.safetensors", **SHORT)

    trained = {"images_trained_on": 48, "distinct_images": 64, "seed": 1001}
    assert fit(config("whole")) == trained | {"kind": 1.0}
    in_two_parts(fit, config("parts"), at=24)
    whole, parts = (load_file(tmp_path / name / "r.safetensors") for name in ("whole", "parts"))
    for key in whole:
        assert torch.equal(parts[key], whole[key]), key
    assert (
        json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])["images"] == 48
    )
    assert json.loads((tmp_path / "whole" / "r.json").read_text()) == trained | {"kind": 1.0}
    monkeypatch.setattr(classifier, "metrics_of", lambda classifier, config: {"kind": 0.5})
    again = dataclasses.replace(
        config("whole"), metrics_only=True, images=7, dataset=tmp_path / "no pool"
    )
    assert fit(again) == trained | {
        "kind": 0.5
    }  # what the weights have seen, not what is asked for now
    assert torch.equal(load_file(tmp_path / "whole" / "r.safetensors")[key], whole[key])


def test_what_an_older_trainer_or_world_left_is_named(tmp_path, monkeypatch):
    weight = torch.zeros(1)
    save_file(
        {"model.w": weight, "optimizer.0.step": torch.ones(1)},
        tmp_path / resume.NAME,
        metadata={"images": "8"},
    )
    with pytest.raises(ValueError, match="written by an older trainer; begin again"):
        resume.resume(tmp_path, {"model": {"w": weight}}, [torch.optim.AdamW([weight])])
    monkeypatch.setattr(dataset, "SHARD", 8)
    monkeypatch.setattr(renders, "SHARD", 8)
    assert len(renders.rendered(tmp_path, 5, 1)) == len(renders.rendered(tmp_path, 5, 1)) == 8
    monkeypatch.setattr(renders, "source_digest", lambda: "another")
    with pytest.raises(
        ValueError, match="pictures of another version of the world; remove the folder"
    ):
        renders.rendered(tmp_path, 5, 1)


def test_grain_is_on_the_object_alone_and_on_half_of_the_pictures():
    rgba = torch.zeros(200, 4, 64, 64)
    rgba[:, :, 16:48, 16:48] = torch.tensor([0.6, 0.3, 0.1, 1.0])[:, None, None]
    grainy = grain(rgba, generator(0))
    assert torch.equal(grainy[:, 3], rgba[:, 3]) and not grainy[:, :, :16].any()
    inside = grainy[:, :3, 16:48, 16:48] / rgba[:, :3, 16:48, 16:48]
    assert inside.min() >= 2 / 3 - 1e-6 and inside.max() <= 4 / 3 + 1e-6
    assert torch.allclose(
        inside[:, 0], inside[:, 2], atol=1e-5
    )  # lighter and darker, never another color
    touched = (inside.std((1, 2, 3)) > 1e-4).float().mean()
    assert 0.35 < touched < 0.65


def test_augmented_pictures_stay_pictures_and_repeat():
    rgba = torch.zeros(16, 64, 64, 4)
    rgba[:, 20:44, 20:44] = torch.tensor([0.8, 0.1, 0.1, 1.0])
    behind = backgrounds(np.random.default_rng(0), 16)
    one, two = (augment(rgba, behind, generator(0)) for _ in range(2))
    assert one.shape == (16, 3, 64, 64) and one.min() >= 0 and one.max() <= 1
    torch.testing.assert_close(one, two)
    assert (
        one[:, 0, 28:36, 28:36].mean((1, 2)) > one[:, 2, 28:36, 28:36].mean((1, 2)) + 0.3
    ).all()  # a red square is still red there


def test_the_pictures_of_grading_go_round_each_object():
    images, rows = ring_pictures(5, objects=2, size_px=32)
    assert images.shape == (16, 32, 32, 3) and len(rows) == 16
    assert [r["view"] for r in rows[:8]] == [
        "front",
        "front",
        "side",
        "back",
        "back",
        "back",
        "side",
        "front",
    ]
    assert len({r["kind"] for r in rows[:8]}) == 1
    torch.testing.assert_close(images[0, 0, 0], torch.full((3,), 0.92))

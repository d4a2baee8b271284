"""Training of the classifier, its checkpoints, and the augmentation of its images."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gs3d.core.rng import generator
from gs3d.evaluation.augment import augment, backgrounds, grain
from gs3d.pretraining import classifier, renders, resume
from gs3d.pretraining.classifier import FitConfig, fit
from gs3d.pretraining.renders import ring_pictures
from gs3d.world import dataset
from tests.pretraining.killed import SHORT, in_two_parts, render_small_shards


def test_killed_training_resumes_to_the_same_weights(tmp_path, monkeypatch):
    render_small_shards(monkeypatch)
    monkeypatch.setattr(classifier, "metrics_of", lambda classifier, config: {"kind": 1.0})

    def config(name):
        out = tmp_path / name
        return FitConfig(tmp_path / "dataset", out, weights=out / "r.safetensors", **SHORT)

    trained = {"images_trained_on": 48, "distinct_images": 64, "seed": 1001}
    assert fit(config("one")) == trained | {"kind": 1.0}
    in_two_parts(fit, config("killed"), at=24)
    one, killed = (load_file(tmp_path / name / "r.safetensors") for name in ("one", "killed"))
    for key in one:
        assert torch.equal(killed[key], one[key]), key
    last = (tmp_path / "one" / "log.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["images"] == 48
    assert json.loads((tmp_path / "one" / "r.json").read_text()) == trained | {"kind": 1.0}
    monkeypatch.setattr(classifier, "metrics_of", lambda classifier, config: {"kind": 0.5})
    metrics_only = dataclasses.replace(
        config("one"), metrics_only=True, images=7, dataset=tmp_path / "missing"
    )
    # The metrics keep the facts of the training, whatever the settings are now.
    assert fit(metrics_only) == trained | {"kind": 0.5}
    assert torch.equal(load_file(tmp_path / "one" / "r.safetensors")[key], one[key])


def test_older_checkpoint_or_world_raises(tmp_path, monkeypatch):
    weight = torch.zeros(1)
    save_file(
        {"model.w": weight, "optimizer.0.step": torch.ones(1)},
        tmp_path / resume.NAME,
        metadata={"images": "8"},
    )
    with pytest.raises(ValueError, match="checkpoint of an older version; start again"):
        resume.resume(tmp_path, {"model": {"w": weight}}, [torch.optim.AdamW([weight])])
    monkeypatch.setattr(dataset, "SHARD", 8)
    monkeypatch.setattr(renders, "SHARD", 8)
    assert len(renders.rendered(tmp_path, 5, 1)) == len(renders.rendered(tmp_path, 5, 1)) == 8
    monkeypatch.setattr(renders, "source_digest", lambda: "another")
    with pytest.raises(
        ValueError, match="images of another version of the procedural world; remove the directory"
    ):
        renders.rendered(tmp_path, 5, 1)


def test_grain_affects_only_the_object_in_half_of_the_images():
    rgba = torch.zeros(200, 4, 64, 64)
    rgba[:, :, 16:48, 16:48] = torch.tensor([0.6, 0.3, 0.1, 1.0])[:, None, None]
    grainy = grain(rgba, generator(0))
    assert torch.equal(grainy[:, 3], rgba[:, 3]) and not grainy[:, :, :16].any()
    inside = grainy[:, :3, 16:48, 16:48] / rgba[:, :3, 16:48, 16:48]
    assert inside.min() >= 2 / 3 - 1e-6 and inside.max() <= 4 / 3 + 1e-6
    # The brightness changes, the hue does not.
    assert torch.allclose(inside[:, 0], inside[:, 2], atol=1e-5)
    changed = (inside.std((1, 2, 3)) > 1e-4).float().mean()
    assert 0.35 < changed < 0.65


def test_augmentation_keeps_the_range_and_color_and_is_reproducible():
    rgba = torch.zeros(16, 64, 64, 4)
    rgba[:, 20:44, 20:44] = torch.tensor([0.8, 0.1, 0.1, 1.0])
    background = backgrounds(np.random.default_rng(0), 16)
    one, two = (augment(rgba, background, generator(0)) for _ in range(2))
    assert one.shape == (16, 3, 64, 64) and one.min() >= 0 and one.max() <= 1
    torch.testing.assert_close(one, two)
    middle = one[:, :, 28:36, 28:36].mean((2, 3))
    assert (middle[:, 0] > middle[:, 2] + 0.3).all()  # the red square is still red


def test_ring_pictures_show_each_object_from_all_sides():
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

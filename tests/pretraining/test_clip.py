"""Training of the small CLIP: resuming, loss, captions, and metrics."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gs3d.evaluation.clip import Clip
from gs3d.pretraining import clip
from gs3d.pretraining.clip import FitConfig, fit, loss_of, meanings, metrics_on_renders, said
from gs3d.world import dataset
from tests.pretraining.killed import SHORT, in_two_parts, render_small_shards


def test_killed_training_resumes_to_the_same_model_and_it_loads(tmp_path, monkeypatch):
    render_small_shards(monkeypatch)
    monkeypatch.setattr(clip, "metrics_on_renders", lambda model, seed: {"test_seed": seed})

    def config(name):
        out = tmp_path / name
        return FitConfig(tmp_path / "dataset", out, weights=out / "model", **SHORT)

    assert fit(config("one"))["test_seed"] == 1003
    in_two_parts(fit, config("killed"), at=24)
    one, killed = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "killed")
    )
    assert all(torch.equal(killed[key], one[key]) for key in one)
    last = (tmp_path / "one" / "log.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["images"] == 48
    model = Clip.load(str(tmp_path / "one" / "model"), "cpu")
    texts = model.texts(
        [
            "a red mug",
            "a DSLR photo of a tall glossy blue chair with white spots and yellow legs",
            "a red mug",
        ]
    )
    assert texts.shape == (3, 128)
    assert torch.allclose(texts[0], texts[2], atol=1e-5)
    assert not torch.allclose(texts[0], texts[1], atol=0.01)
    assert model.pictures(torch.rand(2, 64, 64, 3)).shape == (2, 128)
    metrics = fit(
        dataclasses.replace(
            config("one"), metrics_only=True, images=7, dataset=tmp_path / "missing"
        )
    )
    # The metrics keep the facts of the training, whatever the settings are now.
    assert metrics["images_trained_on"] == 48 and metrics["distinct_images"] == 64


def test_loss_is_contrastive_and_excludes_equal_meanings():
    logits = torch.tensor([[3.0, 0.0, 1.0], [0.5, 2.0, 0.0], [1.0, 0.0, 4.0]])

    def entropy(row, right):
        return math.log(sum(math.exp(v) for v in row)) - row[right]

    different = loss_of(logits, torch.tensor([0, 1, 2]))
    rows = [entropy(logits[i].tolist(), i) for i in range(3)]
    columns = [entropy(logits[:, i].tolist(), i) for i in range(3)]
    assert different.item() == pytest.approx((sum(rows) + sum(columns)) / 6, abs=1e-6)
    equal = loss_of(logits, torch.tensor([0, 1, 0]))
    rows[0], columns[0] = entropy([3.0, 0.0], 0), entropy([3.0, 0.5], 0)
    rows[2], columns[2] = entropy([0.0, 4.0], 1), entropy([0.0, 4.0], 1)
    assert equal.item() == pytest.approx((sum(rows) + sum(columns)) / 6, abs=1e-6)


def test_meanings_ignore_wording_and_view(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD", 64)
    dataset.write_shard(tmp_path, 1, 0)
    labels = dataset.Dataset.open(tmp_path).labels
    numbers = meanings(labels).tolist()
    for i, one in enumerate(labels):
        for j, other in enumerate(labels):
            same = all(
                one[k] == other[k]
                for k in one
                if k not in ("caption", "view", "exact_view", "normals")
            )
            assert (numbers[i] == numbers[j]) == same
    assert len(set(numbers)) < len(labels)  # four views of each object


def test_a_share_of_the_captions_gets_a_prefix():
    texts = said(["a red mug"] * 300, np.random.default_rng(0), 1 / 3)
    prefixed = [text for text in texts if text != "a red mug"]
    assert 60 < len(prefixed) < 140 and all(text.endswith(" of a red mug") for text in prefixed)


def test_metrics_are_the_share_of_views_that_match_their_text(monkeypatch):
    monkeypatch.setattr(clip, "KINDS", ("mug",))
    monkeypatch.setattr(clip, "NAMED", ("red", "blue"))

    class ConstantClip:
        """Matches every image to the middle prompt."""

        size_px = 16

        def texts(self, prompts):
            self.count = len(prompts)
            return torch.eye(self.count)

        def pictures(self, images):
            rows = torch.zeros(len(images), self.count)
            rows[:, self.count // 2] = 1
            return rows

    metrics = metrics_on_renders(ConstantClip(), 5, prompts=4, splats=4)
    assert metrics["anything"] == {"prompts": 4, "pictures": 32, "r_precision": 0.25}
    assert metrics["plain"]["r_precision"] == round(1 / metrics["plain"]["prompts"], 4)
    assert metrics["true_splats"] == {"objects": 4, "r_precision": 0.25}

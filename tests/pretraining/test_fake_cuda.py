"""Training of the classifier and CLIP on a CUDA device; the prior's is in test_prior.py."""

import pytest
import torch
from safetensors.torch import load_file

from gs3d.pretraining import classifier, clip
from tests.pretraining.killed import SHORT, in_two_parts, render_small_shards

TRAININGS = {
    "classifier": (classifier, "metrics_of", "r.safetensors", ""),
    "clip": (clip, "metrics_on_renders", "model", "model.safetensors"),
}
"""Name → module, its function for metrics, and the path of its weights in two parts."""


@pytest.mark.gpu
@pytest.mark.parametrize("name", TRAININGS)
def test_training_on_cuda_resumes(name, tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    module, metrics, weights, file = TRAININGS[name]
    render_small_shards(monkeypatch)
    monkeypatch.setattr(module, metrics, lambda *_: {})
    settings = SHORT | {"device": "cuda", "weights": tmp_path / weights}
    in_two_parts(
        module.fit, module.FitConfig(tmp_path / "dataset", tmp_path / "out", **settings), at=24
    )
    assert all(torch.isfinite(w).all() for w in load_file(tmp_path / weights / file).values())

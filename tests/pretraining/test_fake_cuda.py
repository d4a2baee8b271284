"""The judges' trainings on a CUDA card; the prior's is in test_fitting_prior.py."""

import pytest
import torch
from safetensors.torch import load_file

from gs3d.pretraining import classifier as classifier
from gs3d.pretraining import clip
from tests.pretraining.killed import SHORT, draw_little, in_two_parts

JUDGES = {
    "classifier": (classifier, "metrics_of", "r.safetensors", ""),
    "clip": (clip, "metrics_on_renders", "model", "model.safetensors"),
}


@pytest.mark.gpu
@pytest.mark.parametrize("classifier", JUDGES)
def test_a_card_trains_a_judge_too_and_goes_on(classifier, tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    module, marks, weights, file = JUDGES[classifier]
    draw_little(monkeypatch)
    monkeypatch.setattr(module, marks, lambda *_: {})
    settings = SHORT | {"device": "cuda", "weights": tmp_path / weights}
    in_two_parts(
        module.fit, module.FitConfig(tmp_path / "pool", tmp_path / "out", **settings), at=24
    )
    assert all(torch.isfinite(w).all() for w in load_file(tmp_path / weights / file).values())

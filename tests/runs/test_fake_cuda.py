"""Whole runs on a card that is none (`tests/fake_cuda.py`): nothing lies on the wrong device, and they make what the CPU makes."""

import dataclasses

import pytest
import torch
import yaml

import gs3d
from gs3d.priors import load
from gs3d.priors.images import memory_format
from gs3d.runs import setup
from gs3d.runs.request import Request
from tests import fake_cuda
from tests.fake_cuda import NAME
from tests.runs import test_mesh_mode, test_two_stage
from tests.runs.running import generate

SPLATS = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
gaussians: {count: 400}
densify: {rounds: 4}
guidance: cds
"""
CONFIGS = {"splats": SPLATS, "mesh": test_mesh_mode.CONFIG, "two-stage": test_two_stage.CONFIG}

pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    def made(mode: str, device: str, **more) -> Request:
        (path := tmp_path / f"{mode}.yaml").write_text(CONFIGS[mode])
        asked = Request(
            "a red mushroom",
            steps=12,
            prior=str(tiny_builtin_folder),
            out=tmp_path / f"{mode} {device}",
            config=path,
            device=device,
        )
        return dataclasses.replace(asked, **more)

    return made


@pytest.mark.parametrize("mode", CONFIGS)
def test_a_run_on_the_card(mode, request_, card):
    result = generate(request_(mode, "cuda"))
    assert result.outcome == "finished" and not result.warnings and result.asset is not None
    assert yaml.safe_load((result.folder / "run.yaml").read_text())["hardware"]["gpu"] == NAME
    assert card.landed > 1000 and (card.drawn == 0 if mode == "two-stage" else card.drawn >= 6)


def test_it_makes_what_the_cpu_makes(request_, monkeypatch):
    ours = generate(request_("splats", "cpu")).folder

    def exact(*args, **kwargs):
        """In single precision and in the layout of weights that a CPU has: rounding alone would lead two runs apart."""
        prior = load(*args, **kwargs)
        prior.network.backbone.to(
            dtype=torch.float32, memory_format=memory_format(torch.device("cpu"))
        )
        prior.text.model.float()
        return prior

    monkeypatch.setattr(setup, "load", exact)
    with fake_cuda.install(monkeypatch):
        theirs = generate(request_("splats", "cuda")).folder
    one, other = (gs3d.load(folder).splats for folder in (ours, theirs))
    for field in dataclasses.fields(one):
        assert torch.equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_a_run_goes_on_there(request_, card):
    generate(request_("splats", "cuda", steps=6))
    again = generate(request_("splats", "cuda", resume=True))
    assert again.outcome == "finished" and again.steps == 12


@pytest.mark.parametrize("prior", ["tiny_sd_folder", "tiny_multiview_folder"])
def test_with_other_priors(prior, request_, card, request):
    result = generate(
        request_("splats", "cuda", prior=str(request.getfixturevalue(prior)), steps=4)
    )
    assert result.outcome == "finished" and not result.warnings and card.drawn >= 4

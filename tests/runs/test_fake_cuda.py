"""Runs on a fake CUDA device (tests/fake_cuda.py): devices of tensors, equality with the CPU."""

import dataclasses

import pytest
import torch
import yaml

import gs3d
from gs3d.core.errors import UserError
from gs3d.priors import load
from gs3d.priors.images import memory_format
from gs3d.priors.plain import layers
from gs3d.runs import prepare, setup
from gs3d.runs.planning import devices
from tests import fake_cuda
from tests.fake_cuda import NAME
from tests.runs.running import (
    FIELD_THEN_SURFACE,
    SPLATS_THEN_SURFACE,
    equal,
    generate,
    request_for,
)

SPLATS = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
gaussians: {count: 400}
densify: {rounds: 4}
guidance: cds
"""
CONFIGS = {
    "splats": SPLATS,
    "mesh": SPLATS_THEN_SURFACE,
    "two-stage": FIELD_THEN_SURFACE,
}


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    """A function that returns a request for a mode and a device."""

    def request(mode: str, device: str, steps: int = 6):
        folder = tmp_path / f"{mode} {device}"
        return request_for(tiny_builtin_folder, folder, CONFIGS[mode], steps, device=device)

    return request


@pytest.mark.parametrize("mode", CONFIGS)
def test_run_finishes_on_fake_cuda(mode, request_, card):
    result = generate(request_(mode, "cuda"))
    assert result.outcome == "finished" and not result.warnings and result.asset is not None
    assert yaml.safe_load((result.folder / "run.yaml").read_text())["hardware"]["gpu"] == NAME
    assert card.landed > 1000
    assert card.drawn == 0 if mode == "two-stage" else card.drawn >= 3


def load_alike(*args, **kwargs):
    """Use one precision and one memory layout; other rounding would change the run."""
    prior = load(*args, **kwargs)
    prior.network.backbone.to(dtype=torch.float32, memory_format=memory_format(torch.device("cpu")))
    prior.text.model.float()
    for layer in prior.network.backbone.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data = layer.weight.data.contiguous()
    return prior


@pytest.mark.parametrize("raster", ["auto", "cpu"])
def test_fake_cuda_run_equals_cpu_run(request_, monkeypatch, raster):
    # The network of the CPU adds up in another order.
    monkeypatch.setattr(layers, "is_inference_on_cpu", lambda x: False)
    monkeypatch.setattr(setup, "load", load_alike)
    on_cpu = generate(request_("splats", "cpu", steps=12)).folder
    with fake_cuda.install(monkeypatch):
        request = dataclasses.replace(request_("splats", "cuda", steps=12), raster=raster)
        on_cuda = generate(request).folder
    assert equal(gs3d.load(on_cpu).splats, gs3d.load(on_cuda).splats)


def test_run_resumes_on_fake_cuda(request_, card):
    generate(request_("splats", "cuda", steps=3))
    resumed = generate(dataclasses.replace(request_("splats", "cuda", steps=6), resume=True))
    assert resumed.outcome == "finished" and resumed.steps == 6


@pytest.mark.parametrize("prior", ["tiny_sd_folder", "tiny_multiview_folder"])
def test_other_priors_run_on_fake_cuda(prior, request_, card, request):
    other = str(request.getfixturevalue(prior))
    result = generate(dataclasses.replace(request_("splats", "cuda", steps=2), prior=other))
    assert result.outcome == "finished" and not result.warnings and card.drawn >= 2


@pytest.mark.parametrize("noise", ["fixed", "surface"])
def test_network_on_a_card_and_splats_on_the_cpu(request_, card, noise):
    request = request_("splats", "cuda", steps=4)
    request = dataclasses.replace(request, set=(f"losses.cds.noise={noise}",))
    result = generate(dataclasses.replace(request, raster="cpu"))
    assert result.outcome == "finished" and not result.warnings
    assert card.drawn == 0 and card.landed > 100
    hardware = yaml.safe_load((result.folder / "run.yaml").read_text())["hardware"]
    assert (hardware["device"], hardware["raster_device"]) == ("cuda", "cpu")
    resumed = generate(dataclasses.replace(request, raster="cpu", steps=6, resume=True))
    assert (resumed.outcome, resumed.steps) == ("finished", 6)


def test_without_a_toolkit_splats_are_rendered_on_the_cpu(request_, card, monkeypatch):
    monkeypatch.setattr(devices, "build_state", lambda: "no CUDA toolkit")
    request = request_("splats", "cuda", steps=2)
    (message,) = prepare.prepare(request).messages
    assert message.is_warning and message.text == (
        "gsplat cannot run here (no CUDA toolkit; see `gs3d doctor`): splats are rendered on the "
        "CPU, which takes longer"
    )
    assert generate(request).outcome == "finished" and card.drawn == 0


def test_fields_and_surfaces_stay_on_the_card_without_a_toolkit(request_, card, monkeypatch):
    monkeypatch.setattr(devices, "build_state", lambda: "no CUDA toolkit")
    plan = prepare.prepare(request_("two-stage", "cuda"))
    assert plan.raster_device == "cuda" and not plan.messages
    with pytest.raises(UserError, match="raster gsplat: it cannot run here .no CUDA toolkit"):
        prepare.prepare(dataclasses.replace(request_("splats", "cuda"), raster="gsplat"))

"""Runs with a replacement autoencoder, and the setting `compile`."""

import dataclasses

import pytest
import torch
import yaml

from gs3d.experiments.methods import Method
from gs3d.runs.execute import Result, execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.priors.loading.helpers import message, scale_weights


@pytest.fixture
def request_(tiny_sd_folder, tiny_autoencoder, tmp_path):
    """A run of two steps on the CPU with a replacement autoencoder."""
    (config := tmp_path / "small.yaml").write_text(
        f"vae: {tiny_autoencoder}\nbatch: 4\n"
        "cameras: {resolution_px: {at: [0.0], values: [16]}}\n"
    )
    return Request(
        "a car",
        steps=2,
        prior=str(tiny_sd_folder),
        out=tmp_path / "run",
        config=config,
        device="cpu",
    )


def run(request: Request, **changes) -> Result:
    return execute(prepare(dataclasses.replace(request, **changes)))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_run_with_replacement_autoencoder(device, request_, tiny_autoencoder, request):
    fake_cuda = request.getfixturevalue("card") if device == "cuda" else None
    result = run(request_, device=device)
    assert result.outcome == "finished" and not result.warnings
    assert fake_cuda is None or fake_cuda.drawn >= 2
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["prior"]["vae"] == str(tiny_autoencoder) == record["config"]["vae"]


def test_resume_needs_same_autoencoder_weights(request_, tiny_autoencoder):
    run(request_)
    assert run(request_, steps=3, resume=True).steps == 3
    scale_weights(tiny_autoencoder)
    line = message(lambda: run(request_, steps=4, resume=True))
    assert "other weights of its autoencoder" in line


def test_resume_may_change_compilation(request_, monkeypatch):
    run(request_)
    request_.config.write_text(request_.config.read_text() + "compile: true\n")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: None)
    assert run(request_, steps=3, resume=True).steps == 3


def test_pixel_prior_does_not_request_autoencoder(
    request_, hub_cache, no_network, tiny_builtin_folder
):
    request_.config.write_text("vae: taesd\n")
    line = message(lambda: run(request_, prior=str(tiny_builtin_folder)))
    assert "works on pixels and has no autoencoder" in line and no_network == []


def test_misspelled_autoencoder_is_refused_before_download(request_, hub_cache, no_network):
    request_.config.write_text("vae: taesf\n")
    assert message(lambda: run(request_, prior="sd21-base")).startswith("vae taesf: ")
    assert no_network == []


def test_fingerprint_depends_on_autoencoder_weights(request_, tiny_autoencoder):
    base, method = str(request_.config), Method.parse("sds")
    before = method.fingerprint(base)
    scale_weights(tiny_autoencoder)
    assert method.fingerprint(base) != before


def test_fingerprint_ignores_defaults_of_newer_settings():
    """Runs from before `vae` and `compile` existed have the fingerprint of their defaults."""
    settings = Method("sds").settings("preview")
    assert settings["vae"] is None and settings["compile"] is False
    default = Method("sds").fingerprint("preview")
    for change in ("vae=null", "compile=false"):
        assert Method.parse(f"sds,{change}").fingerprint("preview") == default
    assert Method.parse("sds,compile=true").fingerprint("preview") != default


def test_compiler_failure_is_one_line(request_, monkeypatch):
    from torch._inductor import config

    torch._dynamo.reset()
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    request_.config.write_text(request_.config.read_text() + "compile: true\n")
    try:
        line = message(lambda: run(request_))
        assert "compile: torch cannot compile the networks here" in line
    finally:
        torch._dynamo.reset()

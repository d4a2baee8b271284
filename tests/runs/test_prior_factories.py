"""A prior of `FACTORIES`, the one of examples/own_prior.py, by its name."""

import sys

import pytest
import yaml

import gs3d
from gs3d.core.errors import UserError
from gs3d.priors import load
from gs3d.priors.loading.factories import FACTORIES, code
from gs3d.runs.history import prior_of, read_record
from tests.cli.commands import one_line_fault, run
from tests.programs import ROOT

SMALL = ("--set", "gaussians.count=100", "--set", "cameras.resolution_px.values=[24]")


@pytest.fixture(autouse=True)
def disk(monkeypatch, tmp_path):
    """`--prior disk`."""
    (tmp_path / "disk_prior.py").write_text(
        "from own_prior import DiskPrior\n\n\ndef disk(device):\n    return DiskPrior()\n"
    )
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FACTORIES, "disk", "disk_prior:disk")
    yield
    sys.modules.pop("disk_prior", None)


def test_run_by_name_is_recorded_and_resumed(capsys, tmp_path):
    options = ["a red ball", "--prior", "disk", "--out", str(tmp_path / "run"), "--device", "cpu"]
    status, out, err = run(capsys, "generate", *options, "--steps", "2", *SMALL)
    assert status == 0, err
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert record["prior"]["name"] == "disk" and "python_objects" not in record
    status, out, err = run(capsys, "generate", *options, "--steps", "3", *SMALL, "--resume")
    assert status == 0 and "after 3 steps" in out, err
    assert prior_of(read_record(tmp_path / "run")) == "disk"


def test_load_makes_it_and_other_uses_are_refused(capsys):
    assert load("disk", "cpu").name == "disk"
    assert "it has no model folder" in one_line_fault(capsys, "vocab", "--prior", "disk")
    with pytest.raises(UserError, match="vae: only for a prior with a model folder, not for "):
        gs3d.generate("a red ball", steps=1, prior="disk", set=("vae=taesd",), device="cpu")
    assert "did you mean disk" in one_line_fault(
        capsys, "generate", "a red ball", "--steps", "1", "--prior", "disc"
    )


def test_code_of_a_prior_is_part_of_an_evaluation(tmp_path):
    before = code("disk")
    sys.modules.pop("disk_prior")
    (tmp_path / "disk_prior.py").write_text("def disk(device):\n    raise NotImplementedError\n")
    assert code("disk") != before


def test_prior_with_another_name_or_without_members_is_refused(monkeypatch):
    monkeypatch.setitem(FACTORIES, "plate", "disk_prior:disk")
    with pytest.raises(UserError, match="made a prior with the name 'disk'; give it 'plate'"):
        load("plate", "cpu")
    with pytest.raises(UserError, match="it has no model folder|no model folder; leave `vae` out"):
        load("disk", "cpu", vae="taesd")
    monkeypatch.delattr("own_prior.DiskPrior.latent_shape")
    with pytest.raises(UserError, match="got DiskPrior without latent_shape"):
        gs3d.generate("a red ball", steps=1, prior="disk", device="cpu")


@pytest.mark.parametrize(
    "place",
    ["own_prior:DiskPrior", "disk_prior:dsik", "no_module:disk", "disk_prior", "own_prior:COLORS"],
)
def test_line_that_names_no_function_of_a_device(monkeypatch, capsys, place):
    monkeypatch.setitem(FACTORIES, "plate", place)
    message = one_line_fault(
        capsys, "generate", "a red ball", "--steps", "1", "--prior", "plate", "--device", "cpu"
    )
    assert f"module:function, which takes a torch.device, got '{place}'" in message

"""Runs with a single file and with LoRAs: what run.yaml holds, and what --resume compares."""

import dataclasses
import hashlib
import os

import pytest
import yaml

from gs3d.core.errors import UserError
from gs3d.priors import load
from gs3d.runs.execute import execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.priors.files.adapters import layers_of, random_pairs, write_diffusers, write_kohya
from tests.priors.files.original import write_original
from tests.priors.loading.helpers import message


@pytest.fixture
def request_(tmp_path):
    (config := tmp_path / "small.yaml").write_text(
        "guidance: cds\nbatch: 4\ncameras: {resolution_px: {at: [0.0], values: [16]}}\n"
        "gaussians: {count: 100}\n"
    )
    return Request("a red car", steps=2, out=tmp_path / "run", config=config, device="cpu")


def run(request: Request) -> dict:
    """run.yaml of a run."""
    result = execute(prepare(request))
    assert result.outcome == "finished" and not result.warnings
    return yaml.safe_load((result.folder / "run.yaml").read_text())


def test_run_with_a_single_file(request_, configurations, tmp_path, tiny_sd_folder):
    file = write_original(tiny_sd_folder, tmp_path / "model.safetensors")
    request = dataclasses.replace(request_, prior=str(file))
    used = run(request)["prior"]
    assert used["source"] == str(file)
    assert used["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    # Without --prior the file is that of the record.
    again = dataclasses.replace(request_, steps=3, resume=True)
    assert run(again)["result"]["steps"] == 3
    write_original(tiny_sd_folder, file, other="header")
    assert "other weights of the prior" in message(
        lambda: run(dataclasses.replace(request, steps=4, resume=True))
    )


def test_run_with_loras(request_, tmp_path, tiny_sd_folder, monkeypatch):
    pytest.importorskip("peft")
    pairs = random_pairs(layers_of(load(tiny_sd_folder, "cpu")))
    one = write_kohya(tmp_path / "one.safetensors", pairs, 1.0)
    two = write_diffusers(tmp_path / "two.safetensors", pairs)
    (folder := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    request = dataclasses.replace(
        request_, prior=str(tiny_sd_folder), lora=(f"{one.name}:0.7", two.name)
    )
    assert run(request)["prior"]["lora"] == [
        {
            "name": file.name,
            "weight": weight,
            "source": str(file),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file, weight in ((one, 0.7), (two, 1.0))
    ]
    # Without --lora they are those of the record, by their whole path.
    monkeypatch.chdir(folder)
    resumed = dataclasses.replace(request, steps=3, resume=True, lora=())
    assert len(run(resumed)["prior"]["lora"]) == 2
    for lora in ((f"{one}:0.7",), (f"{one}:0.6", str(two)), (f"{two}:0.7", str(one))):
        line = message(lambda: run(dataclasses.replace(resumed, steps=4, lora=lora)))  # noqa: B023
        assert "that run used the LoRA" in line and "repeat its command" in line
    # A file that was moved is the same.
    os.replace(one, tmp_path / "moved.safetensors")
    moved = (f"{tmp_path / 'moved.safetensors'}:0.7", str(two))
    assert run(dataclasses.replace(resumed, steps=4, lora=moved))["result"]["steps"] == 4


def test_run_without_loras_takes_none_later(request_, tmp_path, tiny_sd_folder):
    pytest.importorskip("peft")
    file = write_kohya(
        tmp_path / "x.safetensors", random_pairs(layers_of(load(tiny_sd_folder, "cpu"))), 1.0
    )
    request = dataclasses.replace(request_, prior=str(tiny_sd_folder))
    assert "lora" not in run(request)["prior"]
    later = dataclasses.replace(request, steps=3, resume=True, lora=(str(file),))
    assert "that run used no LoRA" in message(lambda: run(later))


@pytest.mark.parametrize("lora", [3, (3,), {"a": 1}])
def test_wrong_types(lora, request_):
    line = message(lambda: prepare(dataclasses.replace(request_, lora=lora)))
    assert line.startswith("lora: expected a file, a folder or owner/name, or NAME:WEIGHT, got ")


def test_command_line(tmp_path, tiny_sd_folder, request_, capsys):
    pytest.importorskip("peft")
    from gs3d.cli.main import main

    pairs = random_pairs(layers_of(load(tiny_sd_folder, "cpu")))
    one = write_kohya(tmp_path / "one.safetensors", pairs, 1.0)
    argv = ["generate", "a red car", "--steps", "2", "--prior", str(tiny_sd_folder), "--lora"]
    argv += [f"{one}:0.5", "--config", str(request_.config), f"--lora={one}:-0.25", "--device"]
    assert main([*argv, "cpu", "--out", str(tmp_path / "out")]) == 0
    record = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text())
    assert [lora["weight"] for lora in record["prior"]["lora"]] == [0.5, -0.25]
    assert main([*argv[:-1], "--lora"]) != 0
    assert "expected FILE, FOLDER or owner/name, got nothing" in capsys.readouterr().err


def test_prior_object_takes_no_lora(request_, tmp_path, tiny_sd_folder):
    pytest.importorskip("peft")
    prior = load(tiny_sd_folder, "cpu")
    file = write_kohya(tmp_path / "x.safetensors", random_pairs(layers_of(prior)), 1.0)
    with pytest.raises(UserError, match="takes no LoRA"):
        prepare(dataclasses.replace(request_, prior=prior, lora=(str(file),)))

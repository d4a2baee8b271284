"""Whole runs with VSD: stopped and resumed ones, and what cannot be run."""

import dataclasses

import pytest
from safetensors.torch import load_file

from gs3d.core.errors import UserError
from tests.runs.running import equal, generate, interrupt_after, log_rows, request_for

CONFIG = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [32]}, draws: 4}
gaussians: {count: 150, rates: {iterations: 10}}
densify: {start: 0.2, stop: 0.9, rounds: 4, grow_share: 0.2, max_count: 400}
losses:
  vsd: {cfg: {start: 5, end: 5}, lora_rate: 0.01, lora_steps: 2}
"""


@pytest.fixture
def request_vsd(tiny_sd_folder, tmp_path):
    return request_for(tiny_sd_folder, tmp_path, CONFIG, 8, guidance="vsd")


def test_interrupted_and_resumed_run_equals_uninterrupted_run(request_vsd, tmp_path):
    whole = generate(dataclasses.replace(request_vsd, out=tmp_path / "whole"))
    stopped = generate(request_vsd, report=interrupt_after(3))
    assert stopped.outcome == "interrupted" and stopped.steps == 4
    resumed = generate(dataclasses.replace(request_vsd, resume=True))
    assert resumed.steps == 8 and equal(whole.splats, resumed.splats)
    rows, expected = log_rows(resumed.folder), log_rows(whole.folder)
    assert [row["lora_loss"] for row in rows] == [row["lora_loss"] for row in expected]
    saved = [
        load_file(result.folder / "checkpoint" / "step_0000008.safetensors")
        for result in (whole, resumed)
    ]
    assert saved[0].keys() == saved[1].keys()
    assert all((saved[0][name] == saved[1][name]).all() for name in saved[0])
    assert any(name.startswith("model/adam.") for name in saved[0])


def test_rank_beyond_the_network_is_one_line(request_vsd):
    with pytest.raises(UserError, match="lora_rank: expected at most 16") as caught:
        generate(dataclasses.replace(request_vsd, set=("losses.vsd.lora_rank=17",)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["lora_rank=0", "lora_rate=-1.0", "lora_steps=0"])
def test_settings_out_of_range_are_one_line(request_vsd, change):
    name = change.partition("=")[0]
    with pytest.raises(UserError, match=f"losses.vsd: {name}: expected a number in") as caught:
        generate(dataclasses.replace(request_vsd, set=(f"losses.vsd.{change}",)))
    assert "\n" not in str(caught.value)

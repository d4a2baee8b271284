"""Resumed runs: equality with uninterrupted ones, larger budgets, refusals and damaged files."""

import dataclasses
import os
import shutil
import signal
import subprocess
import time

import pytest
from safetensors.torch import load_file, save_file

from gs3d.core.errors import UserError
from tests.runs.running import (
    SPLATS,
    copy_of,
    equal,
    generate,
    interrupt_after,
    log_rows,
)
from tests.small import GS3D


def test_interrupted_and_resumed_run_equals_uninterrupted_run(splats_request, finished_splats):
    interrupted = generate(splats_request, report=interrupt_after(4))
    assert interrupted.outcome == "interrupted" and interrupted.steps == 5
    resumed = generate(dataclasses.replace(splats_request, resume=True))
    assert resumed.steps == 10 and equal(finished_splats.splats, resumed.splats)
    expected, rows = log_rows(finished_splats.folder), log_rows(resumed.folder)
    assert [r["step"] for r in expected] == [r["step"] for r in rows] == list(range(10))
    assert [r["progress"] for r in expected] == [r["progress"] for r in rows]
    assert len(finished_splats.splats) > expected[0]["splats"]  # some were added on the way


def test_more_steps_continue_a_finished_run(splats_request, finished_splats):
    request = copy_of(finished_splats, splats_request)
    longer = generate(dataclasses.replace(request, steps=12, resume=True))
    progress = [row["progress"] for row in log_rows(request.out)[-2:]]
    assert longer.steps == 12 and progress == pytest.approx([10 / 12, 11 / 12])
    before, after = (
        result.splats.means.norm(dim=1).mean().item() for result in (finished_splats, longer)
    )
    assert before != after == pytest.approx(before, rel=0.1)


def test_killed_run_resumes_from_newest_valid_checkpoint(splats_request):
    splats_request.config.write_text(SPLATS + "checkpoint_every_s: 0.05\n")
    request = dataclasses.replace(splats_request, steps=100000)
    command = [*GS3D, "generate", request.prompt, "--steps", "100000"]
    command += ["--prior", request.prior, "--out", str(request.out)]
    command += ["--config", str(request.config), "--device", "cpu"]
    process = subprocess.Popen(command)
    checkpoints, deadline = [], time.monotonic() + 120
    while len(checkpoints) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        checkpoints = sorted((request.out / "checkpoint").glob("step_*.safetensors"))
    process.kill()
    process.wait()
    *_, older, newest = sorted((request.out / "checkpoint").glob("step_*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:1000])  # as if killed while writing it
    done, lines = int(older.stem.split("_")[1]), []
    result = generate(
        dataclasses.replace(request, resume=True),
        say=lines.append,
        report=lambda entry, budget: os.kill(os.getpid(), signal.SIGINT),
    )
    assert f"at step {done} after" in " ".join(lines) and result.steps == done + 1


def test_other_prompt_seed_or_settings_are_refused(splats_request, finished_splats):
    request = copy_of(finished_splats, splats_request)
    with pytest.raises(UserError, match="already holds splats.ply; add resume"):
        generate(request)
    for change, what in (
        ({"prompt": "a blue car"}, "prompt 'a red mushroom', not 'a blue car'"),
        ({"seed": 3}, "seed 0, not 3"),
        ({"guidance": "sds"}, r"other settings \(guidance: cds -> sds\); repeat its command"),
        ({"set": ("batch=8",)}, r"other settings \(batch: 4 -> 8\); repeat its command"),
    ):
        with pytest.raises(UserError, match=f"resume .*: that run has {what}"):
            generate(dataclasses.replace(request, resume=True, **change))
    assert (request.out / "splats.ply").exists()


def test_damaged_checkpoints_are_refused_and_keep_the_splats(splats_request, finished_splats):
    request = copy_of(finished_splats, splats_request)
    before = (request.out / "splats.ply").read_bytes()
    for path in (request.out / "checkpoint").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="no checkpoint can be read"):
        generate(dataclasses.replace(request, resume=True))
    assert (request.out / "splats.ply").read_bytes() == before


def test_changed_weights_of_the_prior_are_refused(splats_request, tmp_path):
    prior = tmp_path / "prior"
    shutil.copytree(splats_request.prior, prior)
    request = dataclasses.replace(splats_request, prior=str(prior), steps=1)
    generate(request)
    path = prior / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({k: v * 0.9 for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="used other weights of the prior"):
        generate(dataclasses.replace(request, resume=True))


def test_prior_may_be_written_in_another_way(splats_request, tmp_path, monkeypatch):
    shutil.copytree(splats_request.prior, tmp_path / "prior")
    monkeypatch.chdir(tmp_path)
    request = dataclasses.replace(splats_request, prior="prior", steps=1)
    generate(request)
    # Without --prior it is that of the record, also from another directory.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for steps, prior in enumerate(("auto", "../prior", str(tmp_path / "prior")), 2):
        again = dataclasses.replace(request, prior=prior, steps=steps, resume=True)
        assert generate(again).steps == steps
    shutil.copytree(tmp_path / "prior", "other")
    with pytest.raises(UserError, match="that run used the prior .*; pass it with prior"):
        generate(dataclasses.replace(request, prior="other", steps=5, resume=True))


def test_newest_run_is_resumed_by_default(splats_request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = dataclasses.replace(splats_request, out=None, steps=3)
    generate(request)
    assert generate(request, report=interrupt_after(0)).steps == 1
    resumed = generate(dataclasses.replace(request, resume=True))
    assert resumed.folder.name == "a-red-mushroom-s0-2" and resumed.steps == 3


def test_resuming_a_finished_run_reports_that_nothing_is_left(splats_request, finished_splats):
    request, lines = copy_of(finished_splats, splats_request), []
    assert generate(dataclasses.replace(request, resume=True), say=lines.append).steps == 10
    expected = "nothing left to do but its files; give more --minutes or --steps"
    assert any(expected in line for line in lines)

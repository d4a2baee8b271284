"""Runs that are paused, stopped or fail: what they keep, and what they report."""

import dataclasses
import os
import signal
import time

import pytest
import torch

import gs3d
from gs3d.core.errors import UserError
from gs3d.distill import step
from gs3d.runs import loop, setup
from gs3d.runs import signals as stop
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.execute import execute
from gs3d.runs.history import read_record
from gs3d.runs.prepare import prepare
from tests.runs.running import SPLATS_FILES, equal, generate, log_rows


@pytest.fixture
def spoil_gradients(monkeypatch):
    """A function that multiplies the guidance gradients of the given iterations by `factor`."""

    def spoil(steps, factor: float) -> None:
        calls, surrogate_loss = [], step.surrogate_loss

        def spoiled(z0, grad):
            calls.append(None)
            # The first call is the warm-up.
            return surrogate_loss(z0, grad * factor if len(calls) - 2 in steps else grad)

        monkeypatch.setattr(step, "surrogate_loss", spoiled)

    return spoil


def test_control_callback_pauses_without_changing_the_result(
    splats_request, finished_splats, monkeypatch
):
    monkeypatch.setattr(stop, "WAIT_S", 0.01)
    calls = []

    def control(state):
        calls.append((state.step, len(state.representation.splats())))
        return "pause" if len(calls) in (3, 4, 5) else "continue"

    began = time.monotonic()
    result = generate(splats_request, control=control)
    assert result.outcome == "finished" and equal(finished_splats.splats, result.splats)
    assert [s for s, _ in calls] == [1, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10]
    assert result.seconds <= time.monotonic() - began - 0.03


def test_control_callback_stops_a_run_like_ctrl_c(splats_request):
    result = generate(splats_request, control=lambda s: "stop" if s.step == 4 else "continue")
    assert result.outcome == "interrupted" and result.steps == 4
    assert (result.folder / "splats.ply").exists()
    assert generate(dataclasses.replace(splats_request, resume=True)).outcome == "finished"


def test_ctrl_c_ends_a_paused_run(splats_request):
    def control(state):
        if state.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return "pause" if state.step == 2 else "continue"

    result = generate(splats_request, control=control)
    assert result.outcome == "interrupted" and result.steps == 2


def test_steps_with_nan_are_skipped_and_logged(splats_request, spoil_gradients):
    spoil_gradients((2, 3), float("nan"))
    result = generate(splats_request)
    assert [r["step"] for r in log_rows(result.folder) if r.get("skipped")] == [2, 3]
    assert result.outcome == "finished" and torch.isfinite(result.splats.means).all()


def test_densification_of_a_skipped_step_happens_in_the_next(splats_request, spoil_gradients):
    # The first densification is due at progress 0.2, which is step 2.
    spoil_gradients((2,), float("nan"))
    rows = log_rows(generate(splats_request).folder)
    assert rows[2].get("skipped")
    assert rows[1]["splats"] == rows[2]["splats"] < rows[3]["splats"]


def test_diverged_run_exports_the_last_finite_state(splats_request, spoil_gradients):
    spoil_gradients(range(3, 100), float("inf"))
    result = generate(dataclasses.replace(splats_request, steps=40))
    assert result.outcome == "diverged" and result.steps == 3 + loop.MAX_SKIPPED
    assert torch.isfinite(gs3d.load(result.folder / "splats.ply").splats.means).all()


def test_short_run_of_nan_alone_has_diverged(splats_request, spoil_gradients):
    spoil_gradients(range(100), float("nan"))
    result = generate(dataclasses.replace(splats_request, steps=3))
    assert (result.outcome, result.steps) == ("diverged", 3)


def test_full_disk_loses_the_checkpoint_but_not_the_splats(splats_request, monkeypatch):
    def full(*_):
        raise UserError("checkpoint: No space left on device")

    monkeypatch.setattr(loop, "save_checkpoint", full)
    lines = []
    result = generate(dataclasses.replace(splats_request, steps=2), say=lines.append)
    assert result.outcome == "finished" and (result.folder / "splats.ply").exists()
    assert "warning: checkpoint: No space left on device" in lines


def test_out_of_memory_exports_the_current_state(splats_request, monkeypatch):
    iterate = loop.iterate

    def failing(*arguments):
        if arguments[0].step == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return iterate(*arguments)

    monkeypatch.setattr(loop, "iterate", failing)
    result = generate(splats_request)
    assert result.outcome == "out of memory" and result.steps == 4
    assert (result.folder / "splats.ply").exists()


def test_out_of_memory_before_the_first_step_gives_advice(splats_request, monkeypatch):
    def failing(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(setup, "warm_up", failing)
    with pytest.raises(UserError, match="use a smaller micro_batch, batch or resolution"):
        generate(splats_request)


def test_folder_of_a_run_in_progress_is_refused(splats_request):
    refused = []

    def start_another(entry, budget):
        if entry.step == 2:
            with pytest.raises(UserError, match="another run is writing there") as error:
                generate(dataclasses.replace(splats_request, resume=True))
            refused.append(error)

    request = dataclasses.replace(splats_request, steps=4)
    result = generate(request, report=start_another)
    assert len(refused) == 1 and result.steps == 4
    assert {p.name for p in result.folder.iterdir()} == SPLATS_FILES


def test_callback_that_raises_at_a_warning_leaves_a_complete_record(splats_request, monkeypatch):
    def fail(*_):
        raise OSError("no space")

    def strict(message):
        assert not message.is_warning

    monkeypatch.setattr("gs3d.runs.outputs.plot.write_plot", fail)
    with pytest.raises(AssertionError):
        execute(prepare(splats_request), Callbacks(on_message=strict))
    assert read_record(splats_request.out)["result"]["outcome"] == "finished"


def test_last_iterations_without_effect_are_a_warning(splats_request, spoil_gradients, no_results):
    spoil_gradients(range(7, 10), float("nan"))
    lines = []
    execute(prepare(splats_request), Callbacks(on_message=lambda m: lines.append(m.text)))
    assert "NaN or Inf: the last 3 iterations changed nothing" in lines


def test_wrong_result_of_the_control_callback_is_named(splats_request):
    with pytest.raises(UserError, match="control returned None; expected continue or pause or st"):
        execute(prepare(splats_request), Callbacks(control=lambda state: None))


def test_guidance_cannot_log_over_columns_of_the_run(splats_request):
    def guidance(prior, condition, z0, progress, seed, step):
        return gs3d.GuidanceOut(torch.zeros_like(z0), log={"t": 0.5, "loss": 2.0})

    with pytest.raises(UserError, match="guidance: its log has loss, which log.jsonl has already"):
        generate(dataclasses.replace(splats_request, guidance=guidance))


def test_callbacks_are_functions():
    with pytest.raises(UserError, match="callbacks: on_step: expected a function, got 3"):
        Callbacks(on_step=3)

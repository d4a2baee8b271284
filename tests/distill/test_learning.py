"""Iterations with a loss that trains a model: VSD, and one of the user's own."""

import copy
import math
from dataclasses import dataclass

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.distill import step as step_module
from gs3d.distill.contracts import check_guidance
from gs3d.distill.settings.config import load_config
from gs3d.distill.start import begin
from gs3d.distill.state import Particle, Task, TrainState
from gs3d.distill.step import iterate, warm_up
from gs3d.guidance import GuidanceOut, Sds
from gs3d.priors import load
from gs3d.priors.prompts import ViewPrompts
from gs3d.runs.loop import enter_stage, restore, to_checkpoint

SMALL = ("batch=4", "gaussians.count=60", "cameras.resolution_px.values=[24]")


def started(prior, *changes, guidance="vsd", config="builtin"):
    run = load_config(config, guidance, [*SMALL, *changes])
    prompts = ViewPrompts.of(prior, "a red duck")
    return TrainState([Particle(begin(run.stages[0], 0, "cpu"))]), Task(
        prior, prompts, run, 0, prompts
    )


def run_steps(state, task, count):
    return [iterate(state, task, state.step / 10, 0.1) for _ in range(count)]


def tensors(state):
    found = {f"model {k}": v for k, v in state.model.state_tensors().items()}
    return {k: v.clone() for k, v in (found | state.representation.state_tensors()).items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_first_gradient_without_guidance_is_zero(tiny_sd):
    state, task = started(tiny_sd, "losses.vsd.cfg.start=1", "losses.vsd.cfg.end=1")
    first, second, *_ = run_steps(state, task, 2)
    assert float(first.grad_norm) == 0 and float(second.grad_norm) > 0
    assert first.values["lora_loss"] > 0 and {"t", "cfg", "lora_loss"} == first.values.keys()


def test_warm_up_changes_nothing(tiny_sd):
    state, task = started(tiny_sd)
    warm_up(state, task)
    before = tensors(state)
    warm_up(state, task)
    assert equal(before, tensors(state))
    other, _ = started(tiny_sd)
    run_steps(state, task, 2)
    run_steps(other, task, 2)
    assert equal(tensors(state), tensors(other))


def test_restored_state_goes_on_to_the_bit(tiny_sd):
    state, task = started(tiny_sd)
    run_steps(state, task, 6)
    half, _ = started(tiny_sd)
    run_steps(half, task, 3)
    again = restore(task.config, to_checkpoint(half, 0.0), "cpu")
    # Saved before its first iteration, as after a signal.
    again = restore(task.config, to_checkpoint(again, 0.0), "cpu")
    run_steps(again, task, 3)
    assert equal(tensors(state), tensors(again))


@pytest.mark.parametrize("rows", [2, 1])
def test_micro_batches_give_the_same(tiny_sd, rows):
    # The first update of Adam takes the sign of a gradient, however small: fewer steps than others.
    whole, task = started(tiny_sd, "losses.vsd.lora_rate=0.00001")
    parts, split = started(tiny_sd, "losses.vsd.lora_rate=0.00001", f"micro_batch={rows}")
    for entry, other in zip(run_steps(whole, task, 2), run_steps(parts, split, 2), strict=True):
        assert float(entry.grad_norm) == pytest.approx(float(other.grad_norm), rel=1e-4)
        assert entry.values["lora_loss"] == pytest.approx(other.values["lora_loss"], rel=1e-4)
    assert parts.model.rows == rows


def test_a_shortage_while_the_lora_learns_halves_the_micro_batch(tiny_sd, monkeypatch):
    state, task = started(tiny_sd)
    expected, _ = started(tiny_sd)
    run_steps(state, task, 1)
    run_steps(expected, task, 1)
    real = type(state.model).train

    def train(model, *arguments):
        if model.rows > 2:
            raise torch.OutOfMemoryError
        return real(model, *arguments)

    monkeypatch.setattr(type(state.model), "train", train)
    (entry,) = run_steps(state, task, 1)
    monkeypatch.undo()
    (other,) = run_steps(expected, task, 1)
    assert state.micro_batch == 2 and not entry.skipped
    # Not only the LoRA has learned: the gradients of the splats are still there.
    assert entry.values["lora_loss"] == pytest.approx(other.values["lora_loss"], rel=1e-5)
    for name, value in expected.representation.state_tensors().items():
        found = state.representation.state_tensors()[name]
        torch.testing.assert_close(found, value, atol=1e-6, rtol=1e-5, msg=name)


def test_a_lora_that_is_not_finite_skips_the_iteration(tiny_sd, monkeypatch):
    state, task = started(tiny_sd)
    run_steps(state, task, 1)
    before = tensors(state)
    monkeypatch.setattr(state.model, "_factor", lambda sigma: sigma * math.nan)
    (entry,) = run_steps(state, task, 1)
    assert entry.skipped and math.isnan(entry.values["lora_loss"])
    assert equal(before, tensors(state)) and state.step == 2
    monkeypatch.undo()
    assert not run_steps(state, task, 1)[0].skipped and not equal(before, tensors(state))


def test_a_skipped_iteration_does_not_train_the_lora(tiny_sd, monkeypatch):
    state, task = started(tiny_sd)
    run_steps(state, task, 1)
    before = tensors(state)
    monkeypatch.setattr(step_module, "surrogate_loss", lambda z0, grad: z0.mean() * math.nan)
    (entry,) = run_steps(state, task, 1)
    assert entry.skipped and "lora_loss" not in entry.values and equal(before, tensors(state))


def test_a_new_stage_begins_a_new_lora(tiny_builtin):
    small = ("stages.1.gaussians.count=200", "stages.2.dmtet.resolution=8")
    state, task = started(tiny_builtin, *small, config="builtin-mesh")
    run_steps(state, task, 1)
    first = state.model
    ball = begin(task.config.stages[1], 0, "cpu")
    state.particles[0].representation = ball  # its conversion is quick
    state.stage = 0
    enter_stage(state, task.config, 0.99)
    assert state.stage == 1 and state.model is None and state.model_tensors == {}
    iterate(state, task, 0.99, 0.1)
    assert state.model is not first


@dataclass(frozen=True)
class Own:
    """A loss of the user's own that trains the mean of the renders."""

    share: float = 0.5

    def new_model(self, prior, seed):
        return Mean(self.share)

    def __call__(self, prior, condition, z0, progress, seed, step, *, model=None, cameras=None):
        assert len(cameras) == len(z0)
        estimate = model.denoise(z0, None, condition.text, cameras)
        return GuidanceOut(z0.detach() - estimate - 1.0, log={"t": 0.5})


class Mean:
    rows = None

    def __init__(self, share):
        self.share, self.value = share, torch.zeros(())

    def denoise(self, z, sigma, text, cameras):
        return self.value.expand_as(z)

    def train(self, condition, z0, cameras, seed, step):
        self.value = self.value.lerp(z0.mean(), self.share)
        return {"mean": float(self.value)}

    def state_tensors(self):
        return {"value": self.value}

    def load(self, tensors):
        self.value = tensors["value"].clone()


def test_a_loss_of_the_users_own_may_train_a_model(tiny_sd):
    check_guidance(Own())
    state, task = started(tiny_sd, guidance=Own())
    run_steps(state, task, 3)
    assert float(state.model.value) != 0
    again = restore(task.config, copy.deepcopy(to_checkpoint(state, 0.0)), "cpu")
    expected, found = run_steps(state, task, 1), run_steps(again, task, 1)
    assert found[0].values == expected[0].values and found[0].values.keys() == {"t", "mean"}


def test_wrong_own_loss_with_a_model_gets_one_line(tiny_sd):
    class NoKeywords(Own):
        def __call__(self, prior, condition, z0, progress, seed, step):
            return GuidanceOut(z0)

    with pytest.raises(UserError, match="NoKeywords has new_model, .* model and cameras by name"):
        check_guidance(NoKeywords())

    class NoModel(Own):
        def new_model(self, prior, seed):
            return torch.nn.Linear(1, 1)

    state, task = started(tiny_sd, guidance=NoModel())
    with pytest.raises(UserError, match=r"NoModel.new_model returned .* without denoise, state_t"):
        run_steps(state, task, 1)

    class Silent(Mean):
        def train(self, *arguments):
            return None

    class LogsNothing(Own):
        def new_model(self, prior, seed):
            return Silent(self.share)

    state, task = started(tiny_sd, guidance=LogsNothing())
    with pytest.raises(UserError, match="of LogsNothing returned as log None; expected a dict"):
        run_steps(state, task, 1)


def test_other_losses_get_no_model(tiny_sd):
    state, task = started(tiny_sd, guidance="sds")
    (entry,) = run_steps(state, task, 1)
    assert state.model is None and "lora_loss" not in entry.values
    assert to_checkpoint(state, 0.0).model == {}
    check_guidance(Sds())


def test_compiled_and_multi_view_priors_are_refused(tiny_sd_folder, tiny_multiview_folder):
    for prior, words in (
        (load(tiny_sd_folder, "cpu", compiled=True), "leave `compile` out of the config"),
        (load(tiny_multiview_folder, "cpu"), "denoises 4 views together"),
    ):
        state, task = started(prior)
        with pytest.raises(UserError, match=f"guidance vsd: .*{words}") as caught:
            warm_up(state, task)
        assert "\n" not in str(caught.value)

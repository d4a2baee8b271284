"""Micro-batches give the results of the whole batch, and hold the activations of few views."""

import copy
import dataclasses
import weakref

import pytest
import torch

from gs3d.distill.memory.micro_batches import in_micro_batches, rows_of
from gs3d.distill.settings.config import load_config
from gs3d.distill.start import begin
from gs3d.distill.state import Particle, Task, TrainState
from gs3d.distill.step import iterate
from gs3d.priors import load
from gs3d.priors.prompts import ViewPrompts

BATCH = 8
LOSSES = {
    "cds": [],
    "cds with a time for each image": ["losses.cds.per_image=true", "losses.cds.noise=fresh"],
    "cds with surface noise": ["losses.cds.noise=surface"],
    "sds": ["losses.sds.random_t=true"],
    "sds with pairs": ["losses.sds.pairs=true"],
    "sdi": ["losses.sdi.inversion_steps=2"],
    "ism": [],
    "anchored": ["losses.anchored.noise=surface"],
    "csd": [],
    "nfsd": [],
    "asd": [],
    "gcs": [],
    "sctd": [],
}


def after_three_steps(prior, loss, rows, *changes, perp_neg=0.0):
    """The state after three iterations, and the log entries of these."""
    name = loss.split()[0]
    small = [f"batch={BATCH}", "gaussians.count=60", "cameras.resolution_px.values=[24]"]
    small += ["densify.start=0.4", "densify.rounds=2", "regularizer_weights=relative"]
    run = load_config("builtin", name, [*small, *LOSSES[loss], *changes])
    run = dataclasses.replace(run, micro_batch=rows, perp_neg=perp_neg)
    prompts = ViewPrompts.of(prior, "a red duck", "bad", perp_neg=perp_neg)
    state = TrainState([Particle(begin(run.stages[0], 0, "cpu"))])
    task = Task(prior, prompts, run, 0)
    entries = [iterate(state, task, progress, 0.3) for progress in (0.2, 0.5, 0.8)]
    assert not any(entry.skipped for entry in entries)
    return state, entries


def check_same(one, other):
    (state, entries), (expected, logs) = one, other
    tensors = state.representation.state_tensors()
    for name, value in expected.representation.state_tensors().items():
        torch.testing.assert_close(tensors[name], value, atol=1e-5, rtol=2e-4, msg=name)
    for entry, log in zip(entries, logs, strict=True):
        assert float(entry.loss) == pytest.approx(float(log.loss), rel=1e-5)
        assert float(entry.grad_norm) == pytest.approx(float(log.grad_norm), rel=1e-5)
        assert entry.values == log.values and entry.count == log.count
    assert float(state.particles[0].gradient_size) == pytest.approx(
        float(expected.particles[0].gradient_size), rel=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_three_steps_are_those_of_the_whole_batch(tiny_sd, loss):
    whole = after_three_steps(tiny_sd, loss, None)
    for rows in (4, 1):
        check_same(after_three_steps(tiny_sd, loss, rows), whole)


def test_perp_neg_in_micro_batches(tiny_sd):
    whole = after_three_steps(tiny_sd, "sds", None, perp_neg=1.0)
    check_same(after_three_steps(tiny_sd, "sds", 2, perp_neg=1.0), whole)


def test_groups_of_a_multi_view_prior_stay_together(tiny_multiview_folder):
    prior = load(tiny_multiview_folder, "cpu")
    whole = after_three_steps(prior, "cds", None)
    check_same(after_three_steps(prior, "cds", 4), whole)


def test_recomputed_encoder_with_checkpoints_of_its_own(tiny_sd_folder, tiny_sd):
    checkpointed = load(tiny_sd_folder, "cpu", checkpoint_encoder=True)
    check_same(after_three_steps(checkpointed, "cds", 2), after_three_steps(tiny_sd, "cds", None))


class Counting:
    """A prior that counts the views whose activations exist in its encoder, and those that its
    network gets in one call."""

    def __init__(self, inner):
        self.inner, self.alive, self.most_alive, self.most_denoised = inner, 0, 0, 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def encode(self, rgb):
        return self.inner.encode(Activation.apply(rgb, self))

    def denoise(self, z, sigma, text):
        self.most_denoised = max(self.most_denoised, len(z))
        return self.inner.denoise(z, sigma, text)

    def count(self, views):
        self.alive += views
        self.most_alive = max(self.alive, self.most_alive)


class Activation(torch.autograd.Function):
    """The identity. It saves a tensor, and counts its views for as long as it is kept."""

    @staticmethod
    def forward(ctx, x, counter):
        kept = x.detach().clone()
        counter.count(len(kept))
        weakref.finalize(kept, counter.count, -len(kept))
        ctx.save_for_backward(kept)
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        assert len(ctx.saved_tensors) == 1  # reading it makes a checkpoint compute it again
        return grad, None


@pytest.mark.parametrize("rows", [8, 4, 2, 1])
def test_activations_of_one_micro_batch_exist_at_once(tiny_sd, rows):
    counting = Counting(tiny_sd)
    after_three_steps(counting, "sds", rows)
    assert counting.most_alive == rows and counting.alive == 0
    assert counting.most_denoised == 2 * rows


def test_size_of_micro_batches():
    assert [rows_of(12, most) for most in (1, 5, 6, 11, 12, 100)] == [1, 4, 6, 6, 12, 12]
    assert [rows_of(12, most, views=4) for most in (1, 4, 8, 12)] == [4, 4, 4, 12]


@pytest.mark.parametrize("rows", [0, 3, 6, 16])
def test_other_sizes_are_refused(tiny_sd, rows):
    with pytest.raises(ValueError, match=f"divisor of the batch 8 .* of 1, got {rows}"):
        in_micro_batches(tiny_sd, 8, rows)


def test_other_members_are_those_of_the_prior(tiny_sd):
    assert in_micro_batches(tiny_sd, 8, 8) is tiny_sd
    prior = in_micro_batches(tiny_sd, 8, 2)
    for name in ("name", "views", "device", "image_size", "latent_shape", "source", "text"):
        assert getattr(prior, name) == getattr(tiny_sd, name)
    assert prior.sigma(0.5) == tiny_sd.sigma(0.5)
    with pytest.raises(AttributeError):
        _ = prior.other
    assert copy.copy(prior).views == 1

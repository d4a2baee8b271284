"""Where an iteration on a GPU makes the program wait for the GPU.

Each wait leaves the GPU idle until the program has caught up. They are counted on the fake CUDA
device by the functions that wait on a real one. Not seen here: what libraries do in their kernels
(gsplat reads one number in each render), and backward passes written in Python.
"""

import dataclasses
import traceback
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

import gs3d
from gs3d.core.runtime.transfer import moved
from gs3d.core.schedules import Steps
from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.stages import RunConfig, StageConfig
from gs3d.distill.start import begin
from gs3d.distill.state import Particle, Task, TrainState
from gs3d.distill.step import iterate
from gs3d.priors import builtin_512, load
from gs3d.priors.prompts import ViewPrompts
from tests.fake_cuda import INDEXING, MOVES, FakeCudaTensor
from tests.priors.loading.helpers import write_tiny_autoencoder

PACKAGE = Path(gs3d.__file__).parent
READS = (
    Tensor.item,
    Tensor.tolist,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
    torch.equal,
    Tensor.equal,
    torch.allclose,
)
"""Functions whose result is a number that the program reads."""
SIZES = (
    torch.nonzero,
    Tensor.nonzero,
    torch.argwhere,
    torch.masked_select,
    Tensor.masked_select,
    torch.unique,
    Tensor.unique,
    torch.bincount,
    Tensor.bincount,
)
"""Functions whose result has a size that the program has to know."""
CREATE = (torch.tensor, torch.as_tensor, Tensor.new_tensor)
"""Functions that copy numbers of the program, and wait until they are copied."""


class Waits(TorchFunctionMode):
    """Counts waits by the function of gs3d, or of a library if it called none, and the cause."""

    def __init__(self):
        self.found = Counter()

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if cause := _cause(func, args, kwargs, out):
            self.found[f"{_place()}: {cause}"] += 1
        return out


def _cause(func, args, kwargs, out) -> str | None:
    on_card = [isinstance(x, FakeCudaTensor) for x in tree_iter((args, kwargs))]
    if func in MOVES:
        landed = isinstance(out, FakeCudaTensor)
        if landed == on_card[0] or kwargs.get("non_blocking") and landed:
            return None
        return "copy to the card" if landed else "copy from the card"
    if func is Tensor.copy_:
        return None if on_card[0] == on_card[1] or kwargs.get("non_blocking") else "copy"
    if func in CREATE:
        source = args[1] if func is Tensor.new_tensor else args[0]
        made = isinstance(out, FakeCudaTensor) and not isinstance(source, FakeCudaTensor)
        return func.__name__ if made else None
    if not any(on_card):
        return None
    if func in READS or func in SIZES:
        return func.__name__
    if func in (torch.where, Tensor.where) and len(args) + len(kwargs) == 1:
        return "where"
    if func in INDEXING and any(
        isinstance(x, Tensor) and x.dtype == torch.bool for x in tree_iter(args[1])
    ):
        return "boolean mask"
    if func in (torch.repeat_interleave, Tensor.repeat_interleave) and "output_size" not in kwargs:
        return "repeat_interleave" if sum(isinstance(x, Tensor) for x in args) > 1 else None
    return None


def _place() -> str:
    """Innermost function of gs3d, or of a library that it called, that is being run."""
    frames = [f for f in traceback.extract_stack() if "/torch/" not in f.filename]
    frames = [f for f in frames if f.filename not in (__file__,) and "fake_cuda" not in f.filename]
    last = frames[-1]
    if PACKAGE not in Path(last.filename).parents:
        return f"{Path(last.filename).parent.name}/{Path(last.filename).stem}.{last.name}"
    path = Path(last.filename).relative_to(PACKAGE).with_suffix("")
    return f"{path}.{last.name}"


FINITE = "distill/step.iterate: __bool__"
"""Whether gradients are finite, which decides whether the parameters change."""
SEEN = ("strategy/default._update_state: where", "strategy/default._update_state: boolean mask")
"""gsplat's statistics for densification: which splats were seen, and their gradients and radii."""
SPLATS = {FINITE: 1, SEEN[0]: 1, SEEN[1]: 2}
SAMPLES = "representations/nerf/rays.sample_rays: nonzero"
"""Which samples of rays lie in occupied voxels: only these are computed."""
FIELD = {FINITE: 1, SAMPLES: 1}


def waits_of(prior, stage: StageConfig, progress: float, **settings) -> Counter:
    """Waits of the second iteration: what the first leaves for later ones does not count."""
    cameras = dataclasses.replace(stage.cameras, resolution_px=Steps((0.0,), (16,)))
    stage = dataclasses.replace(stage, batch=4, cameras=cameras)
    run = RunConfig((stage,), **settings)
    prompts = ViewPrompts.of(prior, "a red car", blend=run.blend_views, perp_neg=run.perp_neg)
    state, task = TrainState([Particle(begin(stage, 0, "cuda"))]), Task(prior, prompts, run, 0)
    iterate(state, task, progress, 1e-4)
    with Waits() as waits:
        entry = iterate(state, task, progress + 1e-4, 1e-4)
    assert not entry.skipped
    return waits.found


def stage_of(preset: str, *changes: str) -> StageConfig:
    return load_config(preset, None, changes).stages[0]


@pytest.mark.parametrize(
    "changes,settings",
    [
        ([], {}),
        ([], {"micro_batch": 2}),
        (["losses.cds.per_image=true"], {"blend_views": True}),
        (["losses.cds.noise=surface"], {"perp_neg": 1.0}),
        (["losses.cds.noise=fixed", "losses.cds.pairs=false"], {}),
    ],
)
def test_splats_with_stable_diffusion(card, tiny_sd_folder, changes, settings):
    prior = load(tiny_sd_folder, "cuda")
    stage = stage_of("splats-15min", "gaussians.count=200", *changes)
    assert waits_of(prior, stage, 0.5, **settings) == SPLATS
    assert card.drawn > 0


def test_no_statistics_once_densification_has_ended(card, tiny_sd_folder):
    stage = stage_of("splats-15min", "gaussians.count=200", "densify.stop=0.4")
    assert waits_of(load(tiny_sd_folder, "cuda"), stage, 0.5) == {FINITE: 1}


def test_encoder_for_the_gradient(card, tiny_sd_folder, tmp_path):
    folder = write_tiny_autoencoder(tmp_path / "tiny")
    prior = load(tiny_sd_folder, "cuda", vae_backward=str(folder))
    stage = stage_of("splats-15min", "gaussians.count=200")
    assert waits_of(prior, stage, 0.5) == SPLATS


def test_stand_in(card):
    prior = builtin_512.load(torch.device("cuda"))
    stage = stage_of("splats-15min", "gaussians.count=200")
    assert waits_of(prior, stage, 0.5) == SPLATS


@pytest.mark.parametrize("lambert", [pytest.param(0.0, marks=pytest.mark.thorough), 1.0])
def test_field(card, tiny_sd_folder, lambert):
    stage = stage_of("two-stage")
    light = dataclasses.replace(stage.nerf.light, lambert=lambert, textureless=0.0)
    nerf = dataclasses.replace(stage.nerf, samples=8, light=light)
    stage = dataclasses.replace(stage, nerf=nerf)
    assert waits_of(load(tiny_sd_folder, "cuda"), stage, 0.5) == FIELD


@pytest.mark.parametrize(
    "wait,cause",
    [
        (lambda x: x.sum().item(), "item"),
        (lambda x: float(x.sum()), "__float__"),
        (lambda x: bool((x > 0).all()), "__bool__"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.cpu(), "copy from the card"),
        (lambda x: torch.ones(3).to("cuda"), "copy to the card"),
        (lambda x: x.copy_(torch.ones(3)), "copy"),
        (lambda x: torch.tensor([1.0], device="cuda"), "tensor"),
        (lambda x: torch.as_tensor(1.0, device="cuda"), "as_tensor"),
        (lambda x: x.new_tensor([1.0]), "new_tensor"),
        (lambda x: x[x > 0], "boolean mask"),
        (lambda x: torch.where(x > 0), "where"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x.unique(), "unique"),
        (lambda x: x.masked_select(x > 0), "masked_select"),
        (lambda x: x.repeat_interleave(torch.ones(3).long().to("cuda")), "repeat_interleave"),
        (lambda x: torch.equal(x, x), "equal"),
    ],
)
def test_waits_are_found(card, wait, cause):
    x = torch.ones(3, device="cuda")
    with Waits() as waits:
        wait(x)
    assert cause in [name.split(": ")[1] for name in waits.found]


def test_what_does_not_wait(card):
    x = torch.ones(3, device="cuda")
    with Waits() as waits:
        moved(torch.ones(3), "cuda")
        x.to("cuda")
        x.double()
        torch.ones(3)[torch.ones(3) > 0].sum().item()
        torch.where(x > 0, x, 0)
        x[torch.arange(2, device="cuda")]
        torch.full((3,), 2.0, device="cuda")
        torch.eye(1, 4, device="cuda")
        x.repeat_interleave(2)
        torch.tensor([1.0])
    assert not waits.found


def test_moved_gives_the_same_numbers(card):
    x = torch.arange(3.0)
    on_card = moved(x, "cuda")
    assert on_card.is_cuda and torch.equal(on_card.cpu(), x) and moved(x, "cpu") is x
    assert not moved(on_card, "cpu").is_cuda and moved(on_card, "cuda") is on_card

"""What a run knows between two iterations, and what never changes in it."""

from dataclasses import dataclass, field

from torch import Tensor

from gs3d.core import rng
from gs3d.distill.settings.stages import RunConfig
from gs3d.guidance.base import LearnedModel
from gs3d.priors.base import Prior
from gs3d.priors.prompts import ViewPrompts
from gs3d.representations.base import Representation


@dataclass
class Particle:
    """One of the objects of a run; most runs have a single one.

    Particles are samples of one distribution in ProlificDreamer (arXiv 2305.16213, Sec. 3.2), and
    share what the loss trains. There an iteration draws one of them; here they take turns, so that
    all have equally many iterations.
    """

    representation: Representation
    accepted_progress: float = 0.0
    """Progress of the stage at its last iteration that was not skipped, in [0, 1].

    A skipped iteration does not advance it, so that densification that was due in it happens in the
    next.
    """
    gradient_size: Tensor | None = None
    """Running root mean square of the guidance gradient in this stage, a scalar; None before its
    first iteration."""
    progress: float = 0.0
    """Progress of the run at its last iteration, in [0, 1]; after a resume, at that of the run."""
    skipped: int = 0
    """Its last iterations in this process that were skipped, one after the other."""
    number: int = 1
    """Its place among the objects that the run began with, from 1. Its seed depends on it."""
    iterations: int = 0
    """Number of iterations that it has had."""

    def is_stuck(self) -> bool:
        """Whether it never changed, although it had its turn."""
        return 0 < self.skipped == self.iterations


@dataclass(frozen=True)
class Round:
    """What was found out about the objects of a run before it gave some of them up."""

    progress: float
    """Progress of the run at its end, in [0, 1]."""
    scores: dict[int, float]
    """Number of each object -> its score; more is better."""
    kept: list[int]
    """Numbers of those that went on, the best first."""


@dataclass
class TrainState:
    """Everything that changes during a run.

    Noise, cameras and prompts are not part of it: they are functions of (seed, step, progress).
    """

    particles: list[Particle]
    """The objects. An iteration changes the first of those that have had the fewest."""
    step: int = 0
    """Number of finished iterations."""
    progress: float = 0.0
    """Progress of the run at the last iteration, in [0, 1]."""
    stage: int = 0
    """Index of the current stage, from 0."""
    since: float = 0.0
    """Progress of the run at which the progress of the stage is 0.

    Usually this is where the stage begins. A run that is resumed with a larger budget can be at a
    progress before its current stage; then this field is the progress at which it resumed.
    """
    micro_batch: int | None = None
    """Most views that the prior computes at once since memory ran out; None before that."""
    model: LearnedModel | None = None
    """What the loss of this stage trains; None before its first iteration, and for a loss that
    trains nothing."""
    model_tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """State for `model` in a run that was restored, until it is there."""
    rounds: list[Round] = field(default_factory=list[Round])
    """The rounds after which objects were given up, in a run that keeps the best of several."""

    @property
    def representation(self) -> Representation:
        """The first object, which previews show."""
        return self.particles[0].representation

    def is_consistent(self) -> bool:
        """False if an update was interrupted and the last checkpoint must be used."""
        return all(p.representation.is_consistent() for p in self.particles)

    @property
    def turn(self) -> int:
        """Index of the particle whose turn it is."""
        return min(range(len(self.particles)), key=lambda i: self.particles[i].iterations)

    def discard_gradients(self) -> None:
        """Clear the current gradients, for a step that is skipped."""
        for particle in self.particles:
            particle.representation.discard_gradients()


@dataclass(frozen=True)
class Task:
    """Fixed inputs of a run: prior, prompts, config, seed."""

    prior: Prior
    prompts: ViewPrompts
    config: RunConfig
    seed: int
    normal_prompts: ViewPrompts | None = None
    """Prompts for normal maps; None if no stage uses them."""
    candidates: int = 1
    """Number of objects that the run begins with and keeps the best of; 1 for other runs."""


def particle_seed(seed: int, index: int) -> int:
    """Seed of the particle at `index` in a run with `seed`, which the first has as it is."""
    return rng.derive_seed(seed, "particle", index) if index else seed

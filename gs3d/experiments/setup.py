"""What all runs of a sweep share: settings, budget, prior, options and cores."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.core.runtime.threads import cores
from gs3d.experiments.cost import evaluations
from gs3d.experiments.methods import Method
from gs3d.experiments.options import Options


@dataclass(frozen=True)
class Setup:
    """Settings that all runs of a sweep share."""

    out: Path
    """Output directory of the sweep."""
    budget: tuple[str, str]
    """("--minutes", "3"), ("--steps", "500") or ("--evaluations", "4000"). The last becomes a
    number of steps for each method."""
    base: str
    """Preset or YAML file with the settings."""
    prior: str
    """Diffusion model, as for `gs3d generate --prior`."""
    prior_hash: str
    """Identifies the weights of the prior."""
    at_once: int = 1
    """Number of parallel runs. Each gets an equal share of the cores, so its results are those of a
    smaller machine."""
    options: Options = Options()
    """Options of the runs that no config holds. A method may have some for itself."""
    has_negative: bool = False
    """Whether the prior has a negative prompt by default."""
    is_like_builtin: bool = True
    """Whether the presets of the built-in prior fit the prior."""
    views: int = 1
    """Views that the prior denoises together."""
    base_is_chosen: bool = True
    """Whether the user chose `base`. If not, `gs3d generate` takes the same preset by itself, and
    fits it to the prior."""

    def cost_of(self, method: Method) -> float:
        """Evaluations of the prior in a mean iteration (`cost.evaluations`)."""
        return _cost(method, self.base, self.has_negative)

    def budget_of(self, method: Method) -> tuple[str, str]:
        """The budget as `gs3d generate` takes it."""
        kind, amount = self.budget
        if kind != "--evaluations":
            return self.budget
        return "--steps", str(max(round(int(amount) / self.cost_of(method)), 1))

    def options_of(self, method: Method) -> Options:
        return self.options.with_those(method.options)

    def fingerprint(self, method: Method) -> str:
        """Return a hash of everything that determines a run except its prompt and seed."""
        count = str(len(shares(self.at_once)[0]))
        more = self.options_of(method).identity
        budget = self.budget_of(method)
        return method.fingerprint(self.base, *budget, self.prior_hash, count, *more)


@lru_cache(maxsize=256)
def _cost(method: Method, base: str, has_negative: bool) -> float:
    config = method.config(base)
    negative = has_negative if config.negative is None else bool(config.negative)
    return evaluations(config, negative)


def shares(count: int) -> list[set[int]]:
    """Divide the cores into `count` equal sets. A remainder stays idle.

    Raises:
        UserError: `count` is out of range, or this system cannot bind processes to cores.
    """
    if not 1 <= count <= len(cores()):
        raise UserError(
            f"--at-once: expected 1 to {len(cores())}, at least one core per run, got {count}"
        )
    if count > 1 and not hasattr(os, "sched_setaffinity"):
        raise UserError(
            f"--at-once: expected 1, because this system cannot bind a run to some of its cores, "
            f"got {count}; leave it out"
        )
    size = len(cores()) // count
    return [set(cores()[i * size : (i + 1) * size]) for i in range(count)]

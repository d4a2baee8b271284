"""What an evaluation compares: losses, each with settings of its own, and a fingerprint of all that decides what they make."""

import hashlib
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from gs3d.core.errors import UserError
from gs3d.distill.config import config_tree, load_config, parse_config, stages_of
from gs3d.distill.stages import RunConfig
from gs3d.guidance import GUIDANCE, common
from gs3d.priors.loading.autoencoder import resolve_autoencoder
from gs3d.priors.loading.components import facts_of, weight_files

LATER = ("vae", "compile")
"""Settings of a run that have come since evaluations were first made."""


@dataclass(frozen=True)
class Method:
    """A loss with the settings that are to be compared."""

    loss: str
    changes: tuple[str, ...] = ()
    """Each PLACE=VALUE; the place is one of the loss's own settings, or of the run's. Of several stages, in each that has it."""

    @staticmethod
    def parse(text: str) -> "Method":
        """From e.g. "cds" or "cds,fixed_noise=true,delta=[0.1,0.2]"; a comma inside brackets is part of a value."""
        loss, *changes = (part.strip() for part in re.split(r",(?![^\[{]*[\]}])", text))
        if loss not in GUIDANCE:
            raise UserError(
                f"--methods {text}: unknown loss {loss!r}; expected one of {', '.join(GUIDANCE)}, then PLACE=VALUE with commas"
            )
        return Method(loss, tuple(changes))

    @property
    def name(self) -> str:
        return ",".join((self.loss, *self.changes))

    def settings(self, base: str) -> dict:
        """The settings of a preset or a file with the changes made, as `parse_config` takes them."""
        tree = config_tree(load_config(base, self.loss))
        stages = stages_of(tree)
        for change in self.changes:
            place, equals, value = change.partition("=")
            *parents, key = place.split(".")
            branches = [
                branch
                for stage in stages
                if (branch := self._branch(stage, parents, key)) is not None
            ]
            if (
                not branches
                and (branch := _branch(tree, parents, key)) is not None
                and place != "stages"
            ):
                branches = [branch]
            if (
                not equals or not branches or place in ("guidance", "losses")
            ):  # which loss it is, is no setting
                raise UserError(
                    f"--methods {self.name}: {change}: expected PLACE=VALUE with a place of the settings, such as cfg.start=12"
                )
            try:
                for branch in branches:
                    branch[key] = yaml.safe_load(value)
            except yaml.YAMLError:
                raise UserError(f"--methods {self.name}: {change}: the value is not YAML") from None
        parse_config(tree, f"--methods {self.name}")
        return tree

    def _branch(self, stage: dict, parents: Sequence[str], key: str) -> dict | None:
        """Where in a stage a change is made: in the loss's own settings, else in the stage's."""
        branch = _branch(stage["losses"][self.loss], parents, key)
        return _branch(stage, parents, key) if branch is None else branch

    def fingerprint(self, base: str, *more: str) -> str:
        """Of all that decides a run, with `more`: the settings, another autoencoder's weights, the source of the loss and of what losses
        share. Runs that were made before a setting came are those with its default."""
        settings = self.settings(base)
        if (vae := settings.get("vae")) is not None:
            more += (repr(facts_of(weight_files(resolve_autoencoder(vae).folder, half=False))),)
        settings = {
            name: value
            for name, value in settings.items()
            if name not in LATER or value != getattr(RunConfig, name)
        }
        sources = [
            inspect.getsource(module) for module in (inspect.getmodule(GUIDANCE[self.loss]), common)
        ]
        text = "\n".join([yaml.safe_dump(settings, sort_keys=True), *sources, *more])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _branch(tree: object, parents: Sequence[str], key: str) -> dict | None:
    """The dictionary at `parents`, if it has the key."""
    for parent in parents:
        tree = tree.get(parent) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) and key in tree else None

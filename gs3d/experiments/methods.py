"""Methods that an evaluation compares: losses or presets, each with settings of its own."""

import hashlib
import re
import sys
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from gs3d.core.cameras import CameraConfig
from gs3d.core.errors import UserError, did_you_mean
from gs3d.core.source import code_of
from gs3d.distill.settings.build import own_loss
from gs3d.distill.settings.changes import set_value, setting_types
from gs3d.distill.settings.config import editable_tree, load_config, parse_config
from gs3d.distill.settings.old_names import rename_path
from gs3d.distill.settings.presets import preset_names
from gs3d.distill.settings.stages import RunConfig
from gs3d.experiments.options import OF_METHODS
from gs3d.guidance import GUIDANCE, Guidance, inversion, losses_with, name_of, noise
from gs3d.guidance.loss_file import LossFile, is_loss_file
from gs3d.priors.loading.autoencoder import resolve_autoencoder
from gs3d.priors.loading.weights import facts_of, weight_files
from gs3d.representations.gaussians.config import GaussianConfig

LATER = {
    RunConfig: ("vae", "vae_backward", "compile"),
    CameraConfig: ("inside", "eye_radius"),
    GaussianConfig: ("start", "sky_radius"),
}
"""Settings that were added after the first evaluations. Their defaults are no part of a
fingerprint, so that those evaluations stay valid."""
SECTIONS = {"cameras": CameraConfig, "gaussians": GaussianConfig}

HELPERS = ("gs3d.guidance.", "gs3d.priors.adapter.", "gs3d.priors.base", "gs3d.core.schedules")
NO_HELPERS = ("gs3d.guidance.base", "gs3d.guidance.loss_file")
"""Modules that compute gradients for losses, and those among them that do not."""


@dataclass(frozen=True)
class Method:
    """A guidance loss, or a preset with its own, and the settings that differ from the preset."""

    loss: str
    """A name in `GUIDANCE`, FILE.py:CLASS, or the name of a preset."""
    changes: tuple[str, ...] = ()
    """PATH=VALUE each. The path is one of the loss's own settings or one of the run's; it changes
    every stage that has it. Or an option of `gs3d generate` that is no setting: start=... or
    lora=..."""
    file: LossFile | None = None
    """The class of FILE.py:CLASS, as it was when the method was read."""

    @staticmethod
    def parse(text: str) -> "Method":
        """From "cds" or "cds,noise=fixed,delta=[0.1,0.2]"; commas inside brackets belong to a
        value. A file is run (`guidance.loss_file`).

        Raises:
            UserError: The loss is unknown, or its file cannot be used.
        """
        loss, *changes = (part.strip() for part in re.split(r",(?![^\[{]*[\]}])", text))
        if is_loss_file(loss):
            return Method(loss, tuple(changes), own_loss(loss, "--methods"))
        if loss not in GUIDANCE and loss not in preset_names():
            if "=" in loss:
                raise UserError(
                    f"--methods {text}: expected a loss or preset before {loss!r}, with a comma "
                    f"and no space between them, such as sds,{loss}"
                )
            near = did_you_mean(loss, (*GUIDANCE, *preset_names()))
            raise UserError(
                f"--methods {text}: unknown loss {loss!r}; expected one of {', '.join(GUIDANCE)}, "
                f"a preset or FILE.py:CLASS, then PATH=VALUE with commas{near}"
            )
        return Method(loss, tuple(changes))

    @property
    def preset(self) -> str | None:
        """The preset that takes the place of that of the evaluation, if the method is one."""
        return None if self.file or self.loss in GUIDANCE else self.loss

    @property
    def guidance(self) -> str | None:
        """The loss, as for `gs3d generate --guidance`; None for that of the preset."""
        return None if self.preset else self.loss

    @property
    def name(self) -> str:
        return ",".join((self.loss, *self.changes))

    def settings(self, base: str) -> dict:
        """The complete settings of the preset or file `base` with the changes applied."""
        where, losses = f"--methods {self.name}", losses_with(self.file)
        tree = editable_tree(load_config(self.preset or base, self.file or self.guidance))
        for change in self.paths:
            set_value(tree, change, f"{where}:", losses)
        parse_config(tree, where, self.file)
        return tree

    def guidances(self, base: str) -> list[Guidance]:
        """The loss of each stage."""
        return [stage.guidance for stage in self.config(base).stages]

    def config(self, base: str) -> RunConfig:
        """`settings` as a config."""
        return parse_config(self.settings(base), f"--methods {self.name}", self.file)

    @property
    def paths(self) -> tuple[str, ...]:
        """The changes of settings, with complete paths: "losses.cds.cfg.start=12"."""
        return tuple(path for path, name in self._split() if name is None)

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """(name, value) of each option that is no setting."""
        return tuple((name, path.partition("=")[2]) for path, name in self._split() if name)

    def _split(self) -> list[tuple[str, str | None]]:
        """(PATH=VALUE, None or the name of an option) of each change. A name is looked for among
        the settings of the loss, then those of the run, then the options."""
        known = setting_types(losses_with(self.file))
        head = f"losses.{self.file.name if self.file else self._main_loss}."
        found: list[tuple[str, str | None]] = []
        for change in self.changes:
            name, equals, _ = change.partition("=")
            name = name.strip()
            if equals and rename_path(head + name) in known:
                found.append((head + change, None))
            else:
                is_option = equals and name in OF_METHODS and name not in known
                found.append((change, name if is_option else None))
        return found

    @property
    def _main_loss(self) -> str:
        """The loss whose settings need no head in a change: that of the first stage."""
        if self.preset is None:
            return self.loss
        return name_of(load_config(self.preset).stages[0].guidance)

    def fingerprint(self, base: str, *more: str) -> str:
        """A hash of everything that decides a run: settings, the weights of another autoencoder,
        the code of the loss, and `more`."""
        settings = self.settings(base)
        for setting in ("vae", "vae_backward"):
            if (vae := settings.get(setting)) is not None:
                folder = resolve_autoencoder(vae, setting=setting).folder
                more += (repr(facts_of(weight_files(folder, half=False))),)
        settings = _without_later(settings, RunConfig)
        losses = {type(guidance) for guidance in self.guidances(base)}
        files = {path for loss in losses for path in _code_files(loss)}
        if self.file is not None:
            # As it was read: the file may have been edited since.
            more += (self.file.code_sha256,)
            files.discard(str(self.file.path))
        sources = [code_of(Path(file).read_text("utf-8")) for file in sorted(files)]
        text = "\n".join([yaml.safe_dump(settings, sort_keys=True), *sources, *more])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_later(settings: dict[str, Any], kind: type) -> dict[str, Any]:
    """Settings of a dataclass without those that were added later and have their defaults."""
    kept = {
        name: value
        for name, value in settings.items()
        if name not in LATER[kind] or value != getattr(kind, name)
    }
    for name, section in SECTIONS.items():
        if isinstance(kept.get(name), dict):
            kept[name] = _without_later(kept[name], section)
    if isinstance(kept.get("stages"), list):
        kept["stages"] = [_without_later(stage, RunConfig) for stage in kept["stages"]]
    return kept


def _code_files(kind: type) -> set[str]:
    """Files with the code of a loss: its class and those that it extends, and what these import
    from `HELPERS`, directly or not."""
    classes = [c for c in kind.__mro__ if is_dataclass(c)]
    found, todo = {noise.__name__, inversion.__name__}, [c.__module__ for c in classes]
    while todo:
        found.add(name := todo.pop())
        values = vars(sys.modules[name]).values()
        used = {str(getattr(value, "__module__", "")) for value in values} - found
        todo += [n for n in used if n.startswith(HELPERS) and n not in NO_HELPERS]
    return {str(sys.modules[name].__file__) for name in found}

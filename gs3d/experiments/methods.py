"""Methods that an evaluation compares: guidance losses, each with settings of its own."""

import hashlib
import inspect
import re
from dataclasses import dataclass, is_dataclass
from pathlib import Path

import yaml

from gs3d.core.errors import UserError
from gs3d.core.source import code_of
from gs3d.distill.changes import set_value, setting_types
from gs3d.distill.config import editable_tree, load_config, parse_config
from gs3d.distill.old_names import rename_path
from gs3d.distill.stages import RunConfig
from gs3d.guidance import GUIDANCE, inversion, noise
from gs3d.priors.loading.autoencoder import resolve_autoencoder
from gs3d.priors.loading.weights import facts_of, weight_files

LATER = ("vae", "compile")
"""Settings that were added after the first evaluations. Their defaults are no part of a
fingerprint, so that those evaluations stay valid."""


@dataclass(frozen=True)
class Method:
    """A guidance loss and the settings that differ from the preset."""

    loss: str
    changes: tuple[str, ...] = ()
    """PATH=VALUE each. The path is one of the loss's own settings or one of the run's; it changes
    every stage that has it."""

    @staticmethod
    def parse(text: str) -> "Method":
        """From "cds" or "cds,noise=fixed,delta=[0.1,0.2]"; commas inside brackets belong to a
        value."""
        loss, *changes = (part.strip() for part in re.split(r",(?![^\[{]*[\]}])", text))
        if loss not in GUIDANCE:
            raise UserError(
                f"--methods {text}: unknown loss {loss!r}; expected one of {', '.join(GUIDANCE)}, "
                "then PATH=VALUE with commas"
            )
        return Method(loss, tuple(changes))

    @property
    def name(self) -> str:
        return ",".join((self.loss, *self.changes))

    def settings(self, base: str) -> dict:
        """The complete settings of the preset or file `base` with the changes applied."""
        tree, known = editable_tree(load_config(base, self.loss)), setting_types()
        for change in self.changes:
            own = f"losses.{self.loss}.{change}"
            of_loss = "=" in change and rename_path(own.partition("=")[0].strip()) in known
            set_value(tree, own if of_loss else change, f"--methods {self.name}:")
        parse_config(tree, f"--methods {self.name}")
        return tree

    def fingerprint(self, base: str, *more: str) -> str:
        """A hash of everything that decides a run: settings, the weights of another autoencoder,
        the code of the loss, and `more`."""
        settings = self.settings(base)
        if (vae := settings.get("vae")) is not None:
            more += (repr(facts_of(weight_files(resolve_autoencoder(vae).folder, half=False))),)
        settings = {
            name: value
            for name, value in settings.items()
            if name not in LATER or value != getattr(RunConfig, name)
        }
        classes = [c for c in GUIDANCE[self.loss].__mro__ if is_dataclass(c)]
        files = {*map(inspect.getfile, classes), noise.__file__, inversion.__file__}
        sources = [code_of(Path(file).read_text("utf-8")) for file in sorted(files)]
        text = "\n".join([yaml.safe_dump(settings, sort_keys=True), *sources, *more])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

"""Options of the runs of an evaluation that no config holds: their start, LoRAs and hardware."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.priors.files.lora import resolve_loras, split_weight
from gs3d.runs.request import Raster, Vram
from gs3d.runs.starts.identity import start_identity

OF_METHODS = ("start", "lora", "seeds")
"""Options that a method may have for itself, as "cds,start=builtin"."""
NONE = ("null", "none", "~")


@dataclass(frozen=True)
class Options:
    """Options of `gs3d generate` that every run gets. Each is as in `runs.request.Request`."""

    start: Path | None = None
    lora: tuple[str, ...] = ()
    vram: Vram = "auto"
    raster: Raster = "auto"
    device: str | None = None
    seeds: int = 1
    """Seeds that each run begins with. `gs3d evaluate` has another option --seeds."""

    def with_those(self, of_method: Sequence[tuple[str, str]]) -> "Options":
        """The options with those of a method, (name, value) each, in place of these. The value null
        leaves one out; several LoRAs add up.

        Raises:
            UserError: A value is empty, or seeds are no whole number.
        """
        given: dict[str, list[str]] = {}
        for name, value in of_method:
            if not value.strip():
                raise UserError(f"--methods: {name}=: expected a value as of --{name}, or null")
            given.setdefault(name, []).append(os.path.expanduser(value.strip()))
        found = self
        if "start" in given:
            value = given["start"][-1]
            found = replace(found, start=None if value.lower() in NONE else Path(value))
        if "lora" in given:
            values = tuple(value for value in given["lora"] if value.lower() not in NONE)
            found = replace(found, lora=values)
        if "seeds" in given:
            text = "1" if given["seeds"][-1].lower() in NONE else given["seeds"][-1]
            if not text.isascii() or not text.isdigit() or int(text) < 1:
                raise UserError(f"--methods: seeds={text}: expected a whole number, 1 or more")
            found = replace(found, seeds=int(text))
        return found

    @property
    def given(self) -> dict[str, object]:
        """Name -> value of each option that is not the default, as JSON can hold it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {"start": self.start and str(self.start), "lora": list(self.lora) or ()}
        return {n: value for n, value in values.items() if value != getattr(Options, n)}

    @property
    def flags(self) -> list[str]:
        """The options for the command line of `gs3d generate`."""
        found: list[str] = []
        for name, value in self.given.items():
            for one in value if isinstance(value, list) else [value]:
                found += [f"--{name}", str(one)]
        return found

    @property
    def identity(self) -> tuple[str, ...]:
        """Texts that change with anything that these options change in a run; none without any."""
        found = [f"{n} {v}" for n, v in self.given.items() if n not in ("start", "lora")]
        if self.start is not None:
            found.append(f"start {start_identity(self.start)}")
        if self.lora:
            files = (Path(split_weight(text)[0]).expanduser() for text in self.lora)
            times = tuple(f.stat().st_mtime_ns if f.exists() else 0 for f in files)
            found.append(f"lora {_hashes_of(self.lora, times)}")
        return tuple(found)


@lru_cache(maxsize=64)
def _hashes_of(loras: tuple[str, ...], times_ns: tuple[int, ...]) -> list[tuple[str, float]]:
    """Hash and weight of each LoRA. `times_ns` tells whether one has changed since it was read."""
    return [(lora.sha256, lora.weight) for lora in resolve_loras(loras)]

"""Settings of a run: frozen dataclasses, presets as YAML, and the strict way from one to the other."""

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from gs3d.core.cameras import CameraConfig
from gs3d.core.errors import UserError
from gs3d.guidance import GUIDANCE, Cds, Sds
from gs3d.representations.densify import DensifyConfig
from gs3d.representations.gaussians import GaussianConfig

Background = Literal["random", "white", "grey", "black"]
Guidance = Cds | Sds


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run but the prompt, the seed and the machine."""

    guidance: Guidance = field(default_factory=Cds)
    batch: int = 4
    """Views an iteration; a multiple of four gives every batch a front, two sides and a back."""
    background: Background = "random"
    """Behind the splats while they are optimised: one solid colour a view."""
    negative: str | None = None
    """Negative prompt; None takes the prior's own."""
    cameras: CameraConfig = CameraConfig()
    gaussians: GaussianConfig = GaussianConfig()
    densify: DensifyConfig = DensifyConfig()
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    attention: Literal["sdpa", "xformers"] = "sdpa"
    """Attention inside a diffusers prior."""


def preset_names() -> list[str]:
    """Presets shipped with gs3d."""
    return sorted(p.name[:-5] for p in files("gs3d.configs").iterdir() if p.name.endswith(".yaml"))


def load_config(source: str | Path, loss: str | None = None) -> RunConfig:
    """A `RunConfig` from a preset's name or a YAML file; keys not named there keep their defaults.

    `losses` maps a loss to its settings and `guidance` names the one to use; `loss` overrides that choice.
    """
    import yaml

    path = Path(source)
    if str(source) in preset_names():
        text = files("gs3d.configs").joinpath(f"{source}.yaml").read_text()
    elif path.is_file():
        text = path.read_text()
    else:
        raise UserError(f"config {str(source)!r}: no such file or preset; presets are {', '.join(preset_names())}")
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"config {source}: not YAML: {' '.join(str(error).split())}") from None
    return parse_config(tree, str(source), loss)


def parse_config(tree: Any, where: str, loss: str | None = None) -> RunConfig:
    """A `RunConfig` from nested dictionaries; a key that is not a setting is an error that names the nearest one."""
    if not isinstance(tree, dict):
        raise UserError(f"config {where}: expected settings as `key: value`, got {type(tree).__name__}")
    tree = dict(tree)
    losses = tree.pop("losses", {})
    chosen = loss or tree.pop("guidance", "cds")
    tree.pop("guidance", None)
    if chosen not in GUIDANCE:
        raise UserError(f"config {where}: unknown loss {chosen!r}; expected one of {', '.join(GUIDANCE)}")
    for name in losses:
        _known(name, list(GUIDANCE), f"{where}: losses")
    guidance = _build(GUIDANCE[chosen], losses.get(chosen) or {}, f"{where}: losses.{chosen}")
    config = _build(RunConfig, tree, where)
    return dataclasses.replace(config, guidance=guidance)


def config_tree(config: RunConfig) -> dict:
    """The inverse of `parse_config`, in plain lists and dictionaries."""
    tree = _plain(config)
    name = next(k for k, v in GUIDANCE.items() if isinstance(config.guidance, v))
    return {**tree, "guidance": name, "losses": {name: tree["guidance"]}}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _known(key: str, allowed: list[str], where: str) -> None:
    if key not in allowed:
        near = difflib.get_close_matches(str(key), allowed, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(allowed)}"
        raise UserError(f"config {where}: unknown setting {key!r}; {hint}")


def _build(kind: Any, value: Any, where: str) -> Any:
    """`value` from YAML as the type `kind`: dataclass, tuple, literal, optional or plain."""
    origin = typing.get_origin(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise UserError(f"config {where}: expected settings as `key: value`, got {value!r}")
        hints = typing.get_type_hints(kind)
        for key in value:
            _known(key, list(hints), where)
        try:
            return kind(**{k: _build(hints[k], v, f"{where}: {k}") for k, v in value.items()})
        except (TypeError, ValueError) as error:
            raise UserError(f"config {where}: {error}") from None
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in typing.get_args(kind):
            return None
        return _build(next(k for k in typing.get_args(kind) if k is not type(None)), value, where)
    if origin is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, list) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
            raise UserError(f"config {where}: expected a list{'' if inner[-1] is Ellipsis else f' of {len(inner)}'}, got {value!r}")
        return tuple(_build(inner[0] if inner[-1] is Ellipsis else inner[i], v, where) for i, v in enumerate(value))
    if origin is Literal:
        if value not in typing.get_args(kind):
            raise UserError(f"config {where}: expected one of {', '.join(map(str, typing.get_args(kind)))}, got {value!r}")
        return value
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    raise UserError(f"config {where}: expected {kind.__name__}, got {value!r}")

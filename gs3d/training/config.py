"""Settings of a run: frozen dataclasses, presets as YAML, and the strict way from one to the other."""

import dataclasses
import difflib
import sys
import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from gs3d.core.cameras import CameraConfig
from gs3d.core.checks import within
from gs3d.core.errors import UserError
from gs3d.guidance import GUIDANCE, Cds, Guidance
from gs3d.representations.densify import DensifyConfig
from gs3d.representations.gaussians import GaussianConfig

Background = Literal["random", "white", "grey", "black"]


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
    checkpoint_encoder: bool = False
    """Compute the autoencoder's activations again in the backward pass: slower, far less GPU memory."""

    def __post_init__(self) -> None:
        within("batch", self.batch, "[1, inf)")
        within("checkpoint_every_s", self.checkpoint_every_s, "[0, inf)")


def preset_names() -> list[str]:
    """Presets shipped with gs3d."""
    return sorted(p.name[:-5] for p in files("gs3d.configs").iterdir() if p.name.endswith(".yaml"))


def load_config(source: str | Path, loss: str | None = None) -> RunConfig:
    """A `RunConfig` from a preset's name, a YAML file or another run's run.yaml; keys not named there keep their defaults.

    `losses` maps a loss to its settings and `guidance` names the one to use; `loss` overrides that choice.
    """
    import yaml

    text = _read(source)
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # Not only its own: for a value like 2024-13-01 or `!!bool x` it lets through what the conversion raised.
        raise UserError(f"config {source}: not YAML: {' '.join(str(error).split())}") from None
    if isinstance(tree, dict) and {"prompt", "config"} <= tree.keys():  # a run.yaml: its settings without what they were used for
        tree = tree["config"]
        if isinstance(tree, dict) and loss not in (None, tree.get("guidance")):
            raise UserError(
                f"config {source}: a run with {tree.get('guidance')!r}, which says nothing of {loss!r}; give a run of that or a preset"
            )
    return parse_config({} if tree is None else tree, str(source), loss)


def _read(source: str | Path) -> str:
    """The text of a preset or a file."""
    if str(source) in preset_names():
        return files("gs3d.configs").joinpath(f"{source}.yaml").read_text("utf-8")
    path = Path(source)
    try:
        if path.is_dir():
            raise UserError(f"config {str(source)!r}: is a folder; expected a YAML file or a preset ({', '.join(preset_names())})")
        if not path.is_file():
            raise UserError(f"config {str(source)!r}: no such file or preset; presets are {', '.join(preset_names())}")
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(f"config {str(source)!r}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"config {str(source)!r}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def parse_config(tree: Any, where: str, loss: str | None = None) -> RunConfig:
    """A `RunConfig` from nested dictionaries; a key that is not a setting is an error that names the nearest one."""
    if not isinstance(tree, dict):
        raise UserError(f"config {where}: expected settings as `key: value`, got {type(tree).__name__}")
    for key in tree:
        _known(key, ["losses", *(f.name for f in fields(RunConfig))], where)
    tree = dict(tree)
    losses, named = tree.pop("losses", None), tree.pop("guidance", "cds")
    losses = {} if losses is None else losses
    if not isinstance(losses, dict):
        raise UserError(f"config {where}: losses: expected settings as `key: value`, got {losses!r}")
    for choice in (named, loss or named):
        if not isinstance(choice, str) or choice not in GUIDANCE:
            raise UserError(f"config {where}: unknown loss {choice!r}; expected one of {', '.join(GUIDANCE)}")
    for name in losses:
        _known(name, list(GUIDANCE), f"{where}: losses")
    # The loss that is not used is read too, so that a fault in it shows now and not on the day it is.
    given = {name: {} if losses.get(name) is None else losses[name] for name in GUIDANCE}
    built = {name: _build(GUIDANCE[name], given[name], f"{where}: losses.{name}") for name in GUIDANCE}
    return dataclasses.replace(_build(RunConfig, tree, where), guidance=built[loss or named])


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
        missing = [f.name for f in fields(kind) if f.default is f.default_factory is dataclasses.MISSING and f.name not in value]
        if missing:
            raise UserError(f"config {where}: expected {', '.join(missing)} too, got {value!r}")
        try:
            return kind(**{k: _build(hints[k], v, f"{where}: {k}") for k, v in value.items()})
        except ValueError as error:
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
    # The bound leaves out infinities, NaN, and integers that no float can hold.
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    raise UserError(f"config {where}: expected {kind.__name__}, got {value!r}")

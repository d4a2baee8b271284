"""Checks that a prior or guidance of the user's own keeps its contract.

Without them, a wrong result would fail later, inside gs3d, or be broadcast to a wrong gradient.
"""

import inspect
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError, did_you_mean
from gs3d.guidance import GUIDANCE, GuidanceOut, is_guidance
from gs3d.guidance.base import learns
from gs3d.guidance.loss_file import CALL, file_of, names_in
from gs3d.priors.base import Prior

LEARNED = ("model", "cameras")
"""What a guidance with `new_model` gets by name too (`guidance.base.LearningGuidance`)."""
MODEL_MEMBERS = ("denoise", "train", "state_tensors", "load")
"""What a run needs of a model that learns, see `guidance.base.LearnedModel`."""
PRIOR_MEMBERS = (
    "name",
    "image_size",
    "latent_shape",
    "views",
    "device",
    "sigma",
    "embed",
    "encode",
    "denoise",
)
"""What a run needs of a prior, see `priors.base.Prior`."""


def check_guidance(guidance: Any) -> None:
    """`UserError` unless `guidance` is a name in `GUIDANCE`, or can be called as `Guidance`."""
    names = ", ".join(GUIDANCE)
    if isinstance(guidance, str):
        if guidance not in GUIDANCE:
            raise UserError(f"--guidance {guidance}: expected {_names_like(guidance)}")
        return
    if not is_guidance(guidance):
        got = type(guidance).__name__
        if isinstance(guidance, type):
            got = f"the class {guidance.__name__}; create an object of it"
        raise UserError(
            f"--guidance: expected one of {names}, or an object that is called as "
            f"gs3d.guidance describes, got {got}"
        )
    try:
        inspect.signature(guidance).bind(*CALL)
    except TypeError as error:
        raise UserError(
            f"--guidance: {_name_of(guidance)} cannot be called with the six positional arguments "
            f"({', '.join(CALL)}): {error}"
        ) from None
    except ValueError:
        # Callables of extension modules may have no signature: the first iteration will show.
        return
    if learns(guidance):
        try:
            inspect.signature(guidance).bind(*CALL, **dict.fromkeys(LEARNED))
            inspect.signature(guidance.new_model).bind("prior", "seed")
        except TypeError as error:
            raise UserError(
                f"--guidance: {_name_of(guidance)} has new_model, so expected it to take (prior, "
                f"seed), and the guidance to take {' and '.join(LEARNED)} by name: {error}"
            ) from None


def check_model(guidance: Any, model: Any) -> None:
    """`UserError` unless `model` is what the `new_model` of a guidance must return."""
    lacks = [name for name in MODEL_MEMBERS if not callable(getattr(model, name, None))]
    if lacks:
        raise UserError(
            f"--guidance: {_name_of(guidance)}.new_model returned {_what(model)} without "
            f"{', '.join(lacks)}; expected a gs3d.guidance.base.LearnedModel"
        )


def check_learned(guidance: Any, learned: Any) -> None:
    """`UserError` unless `learned` is what the model of a guidance must return from `train`."""
    _check_log(f"--guidance: train of the model of {_name_of(guidance)} returned", learned)


def _check_log(start: str, log: Any) -> None:
    """`UserError` that begins with `start` unless `log` is a dict of numbers."""
    if not isinstance(log, dict):
        raise UserError(f"{start} as log {_what(log)}; expected a dict of numbers")
    for name, value in log.items():
        if not isinstance(value, (int, float)):
            raise UserError(f"{start} {name!r}: {_what(value)} in its log; expected a number")


def _names_like(text: str) -> str:
    """What could be meant by a text that names no loss, for a message."""
    names = f"one of {', '.join(GUIDANCE)}"
    if ".py" not in text:
        return f"{names}{did_you_mean(text, GUIDANCE) or ', or FILE.py:CLASS'}"
    file = text.rpartition(".py")[0] + ".py"
    found = [f"{file}:{name}" for name in names_in(Path(file).expanduser())]
    return f"FILE.py:CLASS, such as {' or '.join(found)}" if found else f"FILE.py:CLASS, or {names}"


def check_result(guidance: Any, result: Any, z0: Tensor) -> None:
    """`UserError` unless `result` is what a guidance must return for the latents `z0`."""
    start, shape = f"--guidance: {_name_of(guidance)}{_place_of(guidance)} returned", list(z0.shape)
    if not isinstance(result, GuidanceOut):
        raise UserError(f"{start} {_what(result)}; expected a gs3d.GuidanceOut with grad {shape}")
    grad: Any = result.grad
    if (
        not isinstance(grad, Tensor)
        or grad.shape != z0.shape
        or not grad.is_floating_point()
        or grad.device != z0.device
    ):
        raise UserError(f"{start} as grad {_what(grad)}; expected {_what(z0)}")
    _check_log(start, result.log)


def check_members(prior: Any) -> None:
    """`UserError` unless an object has all members of a prior."""
    lacks = [name for name in PRIOR_MEMBERS if not hasattr(prior, name)]
    if lacks or isinstance(prior, type):
        got = type(prior).__name__
        got += f" without {', '.join(lacks)}" if len(lacks) < len(PRIOR_MEMBERS) else ""
        if isinstance(prior, type):
            got = f"the class {prior.__name__}; create an object of it"
        raise UserError(f"--prior: expected a name or an object like gs3d.Prior, got {got}")
    for name in ("views", "image_size"):
        if type(value := getattr(prior, name)) is not int or value < 1:
            raise UserError(
                f"--prior: {_name_of(prior)}.{name}: expected a whole number, 1 or more, "
                f"got {value!r}"
            )


def check_prior(prior: Prior, prompt: str) -> None:
    """Call each method of `prior` once. `UserError` if a result has a wrong shape or type.

    `prompt` is one that the run embeds, because a prior may know only those. The state of torch's
    random numbers stays as it was.
    """
    device = torch.device(prior.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        text = _embedded(prior, prompt)
        z0 = _encoded(prior, device)
        sigma: Any = prior.sigma(0.5)
        if not isinstance(sigma, numbers.Real) and getattr(sigma, "ndim", None) != 0:
            raise _wrong(prior, "sigma", _what(sigma), "a number")
        # Twice the views, as with classifier-free guidance.
        z0 = z0.repeat(2, 1, 1, 1)
        sigmas = torch.full((len(z0),), float(sigma), device=device)
        with torch.no_grad():
            text = _seen_from(prior, text.repeat(len(z0), 1, 1))
            denoised = prior.denoise(z0, sigmas, text)
        _check_latents(prior, "denoise", denoised, z0.shape)


def _embedded(prior: Prior, prompt: str) -> Tensor:
    """The embedding of one prompt, [1, L, E]."""
    with torch.no_grad():
        text: Any = prior.embed([prompt])
    if not isinstance(text, Tensor) or text.ndim != 3 or len(text) != 1:
        raise _wrong(prior, "embed", _what(text), "a tensor [1, L, E] for one prompt")
    return text


def _seen_from(prior: Prior, text: Tensor) -> Tensor:
    """The text of each view, with its camera if the prior takes cameras."""
    with_cameras = getattr(prior, "with_cameras", None)
    if with_cameras is None:
        return text
    seen: Any = with_cameras(text, ring(len(text), prior.image_size))
    if not isinstance(seen, Tensor) or seen.ndim != 3 or len(seen) != len(text):
        expected = f"a tensor [{len(text)}, L, E] for {len(text)} views"
        raise _wrong(prior, "with_cameras", _what(seen), expected)
    return seen


def _encoded(prior: Prior, device: torch.device) -> Tensor:
    """Latents of gray images, detached: [views, C, h, w]."""
    size = prior.image_size
    rgb = torch.full((prior.views, size, size, 3), 0.5, device=device, requires_grad=True)
    z0: Any = prior.encode(rgb)
    _check_latents(prior, "encode", z0, (prior.views, *prior.latent_shape))
    if not z0.requires_grad:
        raise _wrong(prior, "encode", "no gradient", "a differentiable function of the images")
    return z0.detach()


def _check_latents(prior: Prior, member: str, value: Any, shape: Sequence[int]) -> None:
    if (
        not isinstance(value, Tensor)
        or tuple(value.shape) != tuple(shape)
        or value.dtype != torch.float32
    ):
        raise _wrong(prior, member, _what(value), f"a tensor {list(shape)} of float32")


def _wrong(prior: Prior, member: str, got: str, expected: str) -> UserError:
    return UserError(f"--prior: {_name_of(prior)}.{member} returned {got}; expected {expected}")


def _what(value: Any) -> str:
    """A value in a message: "None", "a float32 tensor [4, 3, 64, 64]", or its type."""
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"a tensor {list(value.shape)} of {dtype} on {value.device}"
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _place_of(guidance: Any) -> str:
    """Where the loss of a file computes its gradient; "" for any other."""
    if (loss := file_of(guidance)) is None:
        return ""
    member = next((n for n in ("__call__", "gradient") if n in vars(type(guidance))), None)
    return f" ({loss.path} line {loss.line_of(member)})"


def _name_of(value: Any) -> str:
    """The name of a function, or of the class of an object."""
    return getattr(value, "__name__", type(value).__name__)

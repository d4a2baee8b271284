"""A CUDA card that is none, so that a machine without one can tell whether the code would work on one.

Tensors "on cuda" live on the CPU and say that they do not. What a card refuses is refused here: operations on tensors of two devices,
turning one of its tensors into an array, drawing on it with a generator of the CPU. Left out: its kernels, its rounding, its speed, and
what happens inside backward passes that are written in Python.
"""

import inspect
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter, tree_map

from gs3d.core.cameras import Cameras
from gs3d.core.types import SH_C0, Splats
from gs3d.raster.cpu import rasterize_cpu

CARD, NAME = torch.device("cuda", 0), "a card that is none"
TWO_DEVICES = (
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
)
# By == and not by `is`: each reading of a property makes a new function.
DEVICE, SET_DATA = Tensor.device.__get__, Tensor.data.__set__
ANSWERS = ((Tensor.is_cuda.__get__, True), (Tensor.is_cpu.__get__, False), (Tensor.get_device, 0))
"""What a tensor of the card says of itself."""
ANY_DEVICE = (Tensor.copy_, SET_DATA, torch._has_compatible_shallow_copy_type)
MOVES = (Tensor.to, Tensor.cpu, Tensor.cuda)
INDEXING = (Tensor.__getitem__, Tensor.__setitem__)
NUMBERS_TOO = (
    torch.cat,
    torch.concatenate,
    torch.stack,
    torch.matmul,
    Tensor.matmul,
    Tensor.__matmul__,
    torch.einsum,
)
"""Where a tensor of the CPU without dimensions is not taken for a number either."""


class OnCard(Tensor):
    """A tensor that is taken for one on the card."""

    @classmethod
    def __torch_function__(cls, func, kinds, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class Watch(TorchFunctionMode):
    """Sees what has no tensor of the card among its arguments: new tensors, and those about to be moved there."""

    drawn = 0
    """Calls of the stand-in for gsplat."""
    landed = 0
    """Operations whose result was on the card."""

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def lift(x):
    """The same memory, taken for the card's; what is no tensor stays."""
    if not isinstance(x, Tensor) or isinstance(x, OnCard):
        return x
    if x.is_leaf and x.requires_grad:
        return x.detach().as_subclass(OnCard).requires_grad_()
    return x.as_subclass(OnCard)


def drop(x):
    """The same memory, taken for the CPU's; what is no tensor stays."""
    return x.as_subclass(Tensor) if isinstance(x, OnCard) else x


def _is_card(place) -> bool:
    """Of a device or its name, or of a tensor, where it is."""
    return (
        isinstance(place, OnCard)
        if isinstance(place, Tensor)
        else torch.device(place).type == "cuda"
    )


def _moved(func, args, kwargs):
    """`Tensor.to`, `cpu` and `cuda`. As there, a tensor that need not move or change is itself."""
    first, there = args[0], func is Tensor.cuda
    if func is Tensor.to:
        named = [
            x
            for x in (*args[1:2], kwargs.get("device"), kwargs.get("other"))
            if isinstance(x, (str, torch.device, Tensor))
        ]
        there = _is_card(named[0] if named else first)
    args, kwargs = tree_map(
        lambda x: "cpu" if isinstance(x, (str, torch.device)) and _is_card(x) else drop(x),
        (args, kwargs),
    )
    out = func(*args, **kwargs) if func is Tensor.to else args[0]
    there_now = lift if there else drop
    if there == isinstance(first, OnCard):
        return first if out is args[0] else there_now(out)
    return there_now(out.clone() if out.data_ptr() == args[0].data_ptr() else out)


def _lands(func, args, kwargs, tensors) -> bool:
    """Whether what comes of a call is on the card; `RuntimeError` where a card would raise it."""
    on_card = [isinstance(x, OnCard) for x in tensors]
    if kwargs.get("device") is not None:
        there = _is_card(kwargs["device"])
    elif func in INDEXING:
        there = on_card[0]
        _check_indices(func, args, there)
    else:
        there = any(on_card)
        plain = [
            x
            for x, is_there in zip(tensors, on_card, strict=True)
            if not is_there and (x.dim() or func in NUMBERS_TOO)
        ]
        if there and plain and func not in ANY_DEVICE and not _Backward.running:
            raise RuntimeError(
                f"{TWO_DEVICES} ({func.__name__}: {[(type(x).__name__, *x.shape) for x in tensors]})"
            )
    if there and kwargs.get("generator") is not None:
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    return there


def _check_indices(func, args, there: bool) -> None:
    """Numbers of the CPU may index the card's tensors, not the other way round. Values are copied from either to a place or a slice; where
    tensors say which places, they have to be where the values go."""
    indices = [x for x in tree_iter(args[1]) if isinstance(x, Tensor)]
    if not there and any(isinstance(x, OnCard) for x in indices):
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        )
    if (
        func is Tensor.__setitem__
        and indices
        and isinstance(args[2], Tensor)
        and args[2].dim()
        and isinstance(args[2], OnCard) != there
    ):
        raise RuntimeError(f"{TWO_DEVICES} (values of {func.__name__})")


def _call(func, args, kwargs):
    with torch._C.DisableTorchFunction():
        first = args[0] if args else None
        if isinstance(first, OnCard):
            if func == DEVICE:
                return CARD
            for question, answer in ANSWERS:
                if func == question:
                    return answer
            if func in (Tensor.numpy, Tensor.__array__):
                raise TypeError(
                    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it to host memory first."
                )
        if func in MOVES:
            return _moved(func, args, kwargs)
        if func is torch._C._nn._parse_to:  # reads the arguments of Module.to
            return func(*args, **kwargs)
        tensors = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
        there = _lands(func, args, kwargs, tensors)
        Watch.landed += there
        if there and "device" in kwargs:
            kwargs = {**kwargs, "device": "cpu"}
        out = func(*args, **kwargs)
        if any(out is x for x in tensors) or not isinstance(out, (Tensor, tuple, list)):
            return out
        return tree_map(lift if there else drop, out)


class _Backward:
    """torch's engine. What it hands to a backward pass in Python is plain, whatever went in, so there nothing can be told apart."""

    running = False

    def __init__(self, engine):
        self.engine = engine

    def __call__(self, *args, **kwargs):
        before, _Backward.running = _Backward.running, True
        try:
            return self.engine(*args, **kwargs)
        finally:
            _Backward.running = before


class Gsplat:
    """gsplat's `rasterization`, by our own rasterizer: RGB+ED of harmonics, or of colors and normals [B, N, 6], which ours works out for
    itself. It takes what gsplat's takes, by the same names."""

    def __init__(self, of_gsplat):
        self.signature = inspect.signature(of_gsplat)

    def __call__(self, *args, **kwargs):
        Watch.drawn += 1
        given = self.signature.bind(*args, **kwargs).arguments
        assert given["render_mode"] == "RGB+ED"
        named = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "backgrounds")
        for x in (given[name] for name in named):
            assert x.is_cuda and x.dtype == torch.float32
        means, quats, scales, opacities, colors, matrices, intrinsics, backgrounds = (
            drop(given[name]) for name in named
        )
        normals = given.get("sh_degree") is None
        sh = (colors[0, :, None, :3] - 0.5) / SH_C0 if normals else colors
        splats, cameras = (
            Splats(means, quats, scales, opacities, sh),
            Cameras(matrices, intrinsics, given["width"], given["height"]),
        )
        out = rasterize_cpu(splats, cameras, backgrounds[:, :3], normals)
        inner = out.aux["means2d"]
        means2d = lift(inner.detach()).requires_grad_(inner.requires_grad)
        if inner.requires_grad:
            inner.register_hook(lambda g: setattr(means2d, "grad", lift(g)))
        channels = [out.rgb, out.normal, out.depth] if normals else [out.rgb, out.depth]
        return (
            lift(torch.cat(channels, dim=-1)),
            lift(out.alpha),
            {"means2d": means2d, "radii": lift(out.aux["radii"])},
        )


def install(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """What is to be entered, as a context, for torch to find a card. A test is skipped where there is one: tensors of both would meet in
    what is kept for a device."""
    import gsplat

    from gs3d.raster import cuda

    if torch.cuda.is_available():
        pytest.skip("there is a true card")
    for module in (torch.autograd, torch.autograd.graph):
        monkeypatch.setattr(module, "_engine_run_backward", _Backward(module._engine_run_backward))
    card = SimpleNamespace(name=NAME, total_memory=8 * 2**30, major=8, minor=0)
    answers = {
        "is_available": True,
        "device_count": 1,
        "get_device_name": card.name,
        "get_device_properties": card,
    }
    answers |= {
        "get_device_capability": (8, 0),
        "max_memory_allocated": 0,
        "get_rng_state": None,
        "set_rng_state": None,
    }
    for name, answer in (
        answers | dict.fromkeys(("synchronize", "empty_cache", "reset_peak_memory_stats"))
    ).items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    monkeypatch.setattr(cuda, "build", lambda: None)
    monkeypatch.setattr(gsplat, "rasterization", Gsplat(gsplat.rasterization))
    # Else Module.to keeps its parameters and changes what they hold, which would still be taken for the CPU's.
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    Watch.drawn = Watch.landed = 0
    return Watch()

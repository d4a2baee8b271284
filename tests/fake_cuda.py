"""A fake CUDA device, which tests device handling on a machine without a GPU.

Tensors on the fake device are in CPU memory but report a CUDA device. Three errors of a real device
are raised here too: operations on tensors of two devices, conversion of a CUDA tensor to NumPy, and
random numbers on the device from a CPU generator. Limitations: no CUDA kernels, rounding or speed,
and no checks inside backward passes that are written in Python.
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

DEVICE, NAME = torch.device("cuda", 0), "fake CUDA device"
TWO_DEVICES = (
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
)
# Compared with == and not with `is`: each access to a property creates a new function.
GET_DEVICE, SET_DATA = Tensor.device.__get__, Tensor.data.__set__
DEVICE_QUERIES = (
    (Tensor.is_cuda.__get__, True),
    (Tensor.is_cpu.__get__, False),
    (Tensor.get_device, 0),
)
"""(function, result) of queries on a tensor of the fake device."""
CROSS_DEVICE = (Tensor.copy_, SET_DATA, torch._has_compatible_shallow_copy_type)
"""Functions that accept tensors of two devices."""
MOVES = (Tensor.to, Tensor.cpu, Tensor.cuda)
INDEXING = (Tensor.__getitem__, Tensor.__setitem__)
STRICT = (
    torch.cat,
    torch.concatenate,
    torch.stack,
    torch.matmul,
    Tensor.matmul,
    Tensor.__matmul__,
    torch.einsum,
)
"""Functions that do not accept a zero-dimensional CPU tensor as a number either."""


class FakeCudaTensor(Tensor):
    """A tensor that reports the fake CUDA device."""

    @classmethod
    def __torch_function__(cls, func, kinds, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class Monitor(TorchFunctionMode):
    """Intercepts calls without a fake CUDA tensor as argument, such as creation and `to`."""

    drawn = 0
    """Number of calls of `FakeGsplat`."""
    landed = 0
    """Number of operations with a result on the fake device."""

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def as_cuda(x):
    """The same memory as a fake CUDA tensor; other objects than tensors are returned unchanged."""
    if not isinstance(x, Tensor) or isinstance(x, FakeCudaTensor):
        return x
    if x.is_leaf and x.requires_grad:
        return x.detach().as_subclass(FakeCudaTensor).requires_grad_()
    return x.as_subclass(FakeCudaTensor)


def as_cpu(x):
    """The same memory as a CPU tensor; other objects than tensors are returned unchanged."""
    return x.as_subclass(Tensor) if isinstance(x, FakeCudaTensor) else x


def _is_cuda(x) -> bool:
    """Whether a device, a device name, or a tensor is on CUDA."""
    if isinstance(x, Tensor):
        return isinstance(x, FakeCudaTensor)
    return torch.device(x).type == "cuda"


def _move(func, args, kwargs):
    """`Tensor.to`, `cpu` and `cuda`; a tensor that need not move or change is returned itself."""
    source, to_cuda = args[0], func is Tensor.cuda
    if func is Tensor.to:
        targets = [
            x
            for x in (*args[1:2], kwargs.get("device"), kwargs.get("other"))
            if isinstance(x, (str, torch.device, Tensor))
        ]
        to_cuda = _is_cuda(targets[0] if targets else source)
    args, kwargs = tree_map(
        lambda x: "cpu" if isinstance(x, (str, torch.device)) and _is_cuda(x) else as_cpu(x),
        (args, kwargs),
    )
    out = func(*args, **kwargs) if func is Tensor.to else args[0]
    convert = as_cuda if to_cuda else as_cpu
    if to_cuda == isinstance(source, FakeCudaTensor):
        return source if out is args[0] else convert(out)
    return convert(out.clone() if out.data_ptr() == args[0].data_ptr() else out)


def _result_on_cuda(func, args, kwargs, tensors) -> bool:
    """Whether the result of a call is on the fake device; RuntimeError where CUDA raises it."""
    on_cuda = [isinstance(x, FakeCudaTensor) for x in tensors]
    if kwargs.get("device") is not None:
        result = _is_cuda(kwargs["device"])
    elif func in INDEXING:
        result = on_cuda[0]
        _check_indices(func, args, result)
    else:
        result = any(on_cuda)
        on_cpu = [
            x
            for x, is_cuda in zip(tensors, on_cuda, strict=True)
            if not is_cuda and (x.dim() or func in STRICT)
        ]
        if result and on_cpu and func not in CROSS_DEVICE and not _BackwardEngine.running:
            shapes = [(type(x).__name__, *x.shape) for x in tensors]
            raise RuntimeError(f"{TWO_DEVICES} ({func.__name__}: {shapes})")
    if result and kwargs.get("generator") is not None:
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    return result


def _check_indices(func, args, target_on_cuda: bool) -> None:
    """Raise RuntimeError for indices or values that CUDA refuses.

    CPU indices may index a CUDA tensor, but not the reverse. Values from either device may be
    assigned to an integer or a slice. With tensors as indices, the values have to be on the device
    of the target.
    """
    indices = [x for x in tree_iter(args[1]) if isinstance(x, Tensor)]
    if not target_on_cuda and any(isinstance(x, FakeCudaTensor) for x in indices):
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        )
    if (
        func is Tensor.__setitem__
        and indices
        and isinstance(args[2], Tensor)
        and args[2].dim()
        and isinstance(args[2], FakeCudaTensor) != target_on_cuda
    ):
        raise RuntimeError(f"{TWO_DEVICES} (values of {func.__name__})")


def _call(func, args, kwargs):
    """Run a torch function on CPU memory with the device rules of CUDA."""
    with torch._C.DisableTorchFunction():
        first = args[0] if args else None
        if isinstance(first, FakeCudaTensor):
            if func == GET_DEVICE:
                return DEVICE
            for query, result in DEVICE_QUERIES:
                if func == query:
                    return result
            if func in (Tensor.numpy, Tensor.__array__):
                raise TypeError(
                    "can't convert cuda:0 device type tensor to numpy. "
                    "Use Tensor.cpu() to copy it to host memory first."
                )
        if func in MOVES:
            return _move(func, args, kwargs)
        if func is torch._C._nn._parse_to:  # parses the arguments of Module.to
            return func(*args, **kwargs)
        tensors = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
        to_cuda = _result_on_cuda(func, args, kwargs, tensors)
        Monitor.landed += to_cuda
        if to_cuda and "device" in kwargs:
            kwargs = {**kwargs, "device": "cpu"}
        out = func(*args, **kwargs)
        if any(out is x for x in tensors) or not isinstance(out, (Tensor, tuple, list)):
            return out
        return tree_map(as_cuda if to_cuda else as_cpu, out)


class _BackwardEngine:
    """Wraps torch's autograd engine and records while it runs.

    It passes plain tensors to a backward pass in Python whatever the inputs were, so devices cannot
    be checked there.
    """

    running = False

    def __init__(self, engine):
        self.engine = engine

    def __call__(self, *args, **kwargs):
        before, _BackwardEngine.running = _BackwardEngine.running, True
        try:
            return self.engine(*args, **kwargs)
        finally:
            _BackwardEngine.running = before


class FakeGsplat:
    """gsplat's `rasterization`, with the same arguments, computed by gs3d's CPU rasterizer.

    It renders RGB+ED from spherical harmonics, or from colors and normals [B, N, 6]. The CPU
    rasterizer computes the normals itself.
    """

    def __init__(self, rasterization):
        self.signature = inspect.signature(rasterization)

    def __call__(self, *args, **kwargs):
        Monitor.drawn += 1
        given = self.signature.bind(*args, **kwargs).arguments
        assert given["render_mode"] == "RGB+ED"
        names = ("means", "quats", "scales", "opacities", "colors", "viewmats", "Ks", "backgrounds")
        for x in (given[name] for name in names):
            assert x.is_cuda and x.dtype == torch.float32
        means, quats, scales, opacities, colors, matrices, intrinsics, backgrounds = (
            as_cpu(given[name]) for name in names
        )
        normals = given.get("sh_degree") is None
        sh = (colors[0, :, None, :3] - 0.5) / SH_C0 if normals else colors
        splats = Splats(means, quats, scales, opacities, sh)
        cameras = Cameras(matrices, intrinsics, given["width"], given["height"])
        out = rasterize_cpu(splats, cameras, backgrounds[:, :3], normals, given["eps2d"])
        cpu_means2d = out.aux["means2d"]
        means2d = as_cuda(cpu_means2d.detach()).requires_grad_(cpu_means2d.requires_grad)
        if cpu_means2d.requires_grad:
            cpu_means2d.register_hook(lambda g: setattr(means2d, "grad", as_cuda(g)))
        channels = [out.rgb, out.normal, out.depth] if normals else [out.rgb, out.depth]
        return (
            as_cuda(torch.cat(channels, dim=-1)),
            as_cuda(out.alpha),
            {"means2d": means2d, "radii": as_cuda(out.aux["radii"])},
        )


def install(monkeypatch: pytest.MonkeyPatch) -> Monitor:
    """Patch torch and gsplat; inside the returned context manager torch finds the fake device.

    Skips the test on a machine with a CUDA device: objects that gs3d caches for a device would mix
    real and fake tensors.
    """
    import gsplat

    from gs3d.raster import cuda
    from gs3d.runs.planning import devices

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    for module in (torch.autograd, torch.autograd.graph):
        engine = _BackwardEngine(module._engine_run_backward)
        monkeypatch.setattr(module, "_engine_run_backward", engine)
    properties = SimpleNamespace(name=NAME, total_memory=8 * 2**30, major=8, minor=0)
    results = {
        "is_available": True,
        "device_count": 1,
        "get_device_name": properties.name,
        "get_device_properties": properties,
        "get_device_capability": (8, 0),
        "max_memory_allocated": 0,
        "get_rng_state": None,
        "set_rng_state": None,
        "synchronize": None,
        "empty_cache": None,
        "reset_peak_memory_stats": None,
    }
    for name, result in results.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, result=result, **__: result)
    monkeypatch.setattr(cuda, "build", lambda: None)
    monkeypatch.setattr(devices, "build_state", lambda: "built")
    monkeypatch.setattr(gsplat, "rasterization", FakeGsplat(gsplat.rasterization))
    # Otherwise Module.to keeps its parameters and replaces their data, and they stay CPU tensors.
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    Monitor.drawn = Monitor.landed = 0
    return Monitor()

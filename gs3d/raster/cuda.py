# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportPrivateUsage=false
# gsplat has no complete types, and `build_state` calls private functions of torch.
"""Differentiable rasterizer for CUDA devices, by gsplat 1.5.3. Same interface as `rasterize_cpu`.

gsplat's wheel is pure Python and compiles its CUDA kernels on first use. This takes minutes, and it
fails if the CUDA toolkit does not match torch. `build` compiles ahead of time and reports why it
failed. `build_state` reports the state without compiling.
"""

import functools
import importlib.util
import math
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.types import Render, Splats
from gs3d.raster._check import BLUR_PX2, check
from gs3d.raster.reference import MIN_QUAT2, facing_normals, sh_basis

BuildState = Literal["built", "not built", "no gsplat", "no CUDA in torch", "no CUDA toolkit"]


def _sanitized(splats: Splats) -> Splats:
    """Replace zero quaternions by the identity, and hide splats with non-finite values.

    The CPU rasterizer does the same; gsplat would return NaN for both.
    """
    n2 = (splats.quats * splats.quats).sum(dim=1, keepdim=True)
    # Made on the device: numbers that are copied to it would wait for it.
    identity = torch.eye(1, 4, dtype=splats.quats.dtype, device=splats.quats.device)
    finite = (
        torch.isfinite(splats.means).all(dim=1)
        & torch.isfinite(splats.scales).all(dim=1)
        & torch.isfinite(splats.opacities)
    )
    return Splats(
        torch.where(finite[:, None], splats.means, 0),
        torch.where(n2 > MIN_QUAT2, splats.quats, identity),
        torch.where(finite[:, None], splats.scales, 1),
        torch.where(finite, splats.opacities, 0),
        splats.sh,
    )


def _empty(splats: Splats, cameras: Cameras, background: Tensor, normals: bool) -> Render:
    """Render the background alone. gsplat's kernels are not called for N = 0.

    The images depend on the empty tensors of `splats`, so that the backward pass works.
    """
    views = len(cameras)
    means2d = splats.means[None, :, :2].expand(views, -1, -1) + 0
    zero = sum(t.sum() for t in (means2d, splats.quats, splats.scales, splats.opacities, splats.sh))
    blank = splats.means.new_zeros(views, cameras.height, cameras.width, 1) + zero
    radii = splats.means.new_zeros(views, 0, 2, dtype=torch.int32)
    rgb = blank + background[:, None, None]
    return Render(
        rgb,
        blank,
        blank.clone(),
        blank.expand(-1, -1, -1, 3) if normals else None,
        _aux(means2d, radii, cameras),
    )


def _aux(means2d: Tensor, radii: Tensor, cameras: Cameras) -> dict[str, Any]:
    if means2d.requires_grad:
        means2d.retain_grad()
    size = {"width": cameras.width, "height": cameras.height}
    return {
        "means2d": means2d,
        "radii": radii,
        **size,
        "n_cameras": len(cameras),
        "gaussian_ids": None,
    }


def rasterize_cuda(
    splats: Splats,
    cameras: Cameras,
    background: Tensor | None = None,
    normals: bool = False,
    blur_px2: float = BLUR_PX2,
) -> Render:
    """Render like `gs3d.raster.rasterize`, for splats on a CUDA device.

    The first call compiles gsplat's kernels unless `build` has done so.

    Raises:
        ValueError: A tensor has the wrong shape, dtype or device.
        UserError: gsplat's CUDA extension cannot be built.
    """
    check(splats, cameras, background, blur_px2)
    cameras = cameras.to(splats.means.device)
    views, count = len(cameras), splats.sh.shape[1]
    background = splats.means.new_zeros(3) if background is None else background
    background = background.expand(views, 3)
    if len(splats) == 0:
        return _empty(splats, cameras, background, normals)
    build()
    from gsplat import rasterization

    matrix = cameras.world_to_camera.float()
    splats = _sanitized(splats)
    if normals:
        # gsplat evaluates spherical harmonics only for three color channels. With normals as extra
        # channels, they are evaluated here.
        sight = splats.means - cameras.centers.float()[:, None]  # [B, N, 3]
        basis = sh_basis(torch.nn.functional.normalize(sight, dim=-1), count)
        colors = (torch.einsum("bnk,nkc->bnc", basis, splats.sh) + 0.5).clamp(min=0)
        colors = torch.cat(
            [colors, facing_normals(splats.quats, splats.scales, sight)], dim=-1
        )  # [B, N, 6]
        backgrounds, sh_degree = torch.cat([background, torch.zeros_like(background)], dim=1), None
    else:
        colors, backgrounds, sh_degree = splats.sh, background, math.isqrt(count) - 1
    output = rasterization(
        splats.means,
        splats.quats,
        splats.scales,
        splats.opacities,
        colors,
        matrix,
        cameras.intrinsics.float(),
        cameras.width,
        cameras.height,
        near_plane=0.01,
        far_plane=1e10,
        eps2d=blur_px2,
        sh_degree=sh_degree,
        packed=False,
        backgrounds=backgrounds,
        render_mode="RGB+ED",
        absgrad=False,
        rasterize_mode="classic",
    )
    image, alpha, info = cast("tuple[Tensor, Tensor, dict[str, Tensor]]", output)
    normal = image[..., 3:6] if normals else None
    return Render(
        image[..., :3],
        alpha,
        image[..., -1:],
        normal,
        _aux(info["means2d"], info["radii"], cameras),
    )


@functools.cache
def build() -> None:
    """Load gsplat's CUDA extension; compile it first (minutes) if this machine has no build of it.

    Raises:
        UserError: gsplat is not installed, torch has no CUDA support, or the build failed. The
            message gives the cause, with the last lines of the compiler's output.
    """
    if importlib.util.find_spec("gsplat") is None:
        raise UserError(
            "gsplat is not installed, and CUDA rasterization needs it; pip install gsplat==1.5.3"
        )
    if torch.version.cuda is None:
        raise UserError(
            f"torch {torch.__version__} is built without CUDA; "
            "install a CUDA build of torch, or run with --device cpu"
        )
    try:
        from gsplat.cuda._backend import _C  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:
        # The build can raise anything: a ninja failure, a library that does not load, a missing
        # compiler. The user needs its text in every case.
        output = "\n".join(str(error).strip().splitlines()[-40:])
        # The command line recognizes the compiler's output by the words "The build said:".
        raise UserError(
            f"gsplat's CUDA extension could not be built for torch {torch.__version__} "
            f"(CUDA {torch.version.cuda}). It needs a CUDA toolkit (nvcc) of the same major "
            "version and a C++ compiler that the toolkit accepts; CUDA_HOME selects the toolkit. "
            "The build said:",
            output,
        ) from error
    if _C is None:
        raise UserError(
            "no CUDA toolkit was found, and gsplat compiles its kernels with nvcc; "
            f"install the toolkit for CUDA {torch.version.cuda}, or set CUDA_HOME to its folder"
        )


def build_state() -> BuildState:
    """State of gsplat's CUDA extension, determined without compiling or loading it."""
    if importlib.util.find_spec("gsplat") is None:
        return "no gsplat"
    if torch.version.cuda is None:
        return "no CUDA in torch"
    from torch.utils import cpp_extension

    # Some wheels contain compiled kernels.
    if importlib.util.find_spec("gsplat.csrc") is not None:
        return "built"
    # The output folder of torch's just-in-time compiler. This call creates it if it does not exist.
    folder = Path(cpp_extension._get_build_directory("gsplat_cuda", verbose=False))
    if any((folder / f"gsplat_cuda{suffix}").exists() for suffix in (".so", ".pyd", ".lib")):
        return "built"
    return "not built" if cpp_extension._find_cuda_home() else "no CUDA toolkit"

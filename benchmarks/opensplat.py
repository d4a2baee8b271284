"""Compare the CPU rasterizer with that of OpenSplat (github.com/pierotofy/OpenSplat).

    git clone https://github.com/pierotofy/OpenSplat
    GOMP_SPINCOUNT=10000 python benchmarks/opensplat.py OpenSplat

The C++ functions of the checkout are compiled against the installed torch, with the flags of its
release build; this needs g++ and ninja. Forward and backward of a view, both programs in turns, on
the scenes of benchmarks/raster.py. gs3d draws one view a call, as OpenSplat does, and four, as an
iteration does. PSNR compares the two images. The variable is what the
`gs3d` command sets, which has to be before torch is imported.
"""

import argparse
import math
import statistics
import time
from pathlib import Path
from types import ModuleType
from typing import cast

import torch
from raster import scene
from record import machine
from torch import Tensor
from torch.utils.cpp_extension import load

from gs3d.core.cameras import Cameras, ring
from gs3d.raster import cpu

SIZES = (
    (1_000, 64),
    (5_000, 64),
    (5_000, 128),
    (10_000, 128),
    (20_000, 256),
    (50_000, 512),
)
VIEWS = 4
NEAR, FAR = 0.1, 10.0
GLUE = """
#include <torch/extension.h>
#include "project_gaussians.hpp"
#include "rasterize_gaussians.hpp"
#include "spherical_harmonics.hpp"

using torch::Tensor;

Tensor render(Tensor means, Tensor scales, Tensor quats, Tensor view, Tensor projection, double fx,
              double fy, int64_t size, Tensor center, Tensor sh, Tensor opacities,
              Tensor background) {
  auto p = ProjectGaussiansCPU::apply(means, scales, 1, quats / quats.norm(2, {-1}, true), view,
                                      projection, fx, fy, size / 2., size / 2., size, size);
  auto color = SphericalHarmonicsCPU::apply(0, means.detach() - center, sh);
  // The rasterizer sorts by the memory of the depths, whatever the strides of the tensor.
  return RasterizeGaussiansCPU::apply(p[0], p[1], p[2], torch::clamp_min(color + 0.5f, 0.f),
                                      opacities, p[3], p[4].contiguous(), size, size, background);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("render", &render); }
"""


def compiled(checkout: Path, folder: Path) -> ModuleType:
    """Compile the rasterizer of an OpenSplat checkout, in `folder`, with a `render` for Python."""
    folder.mkdir(parents=True, exist_ok=True)
    glue = folder / "glue.cpp"
    glue.write_text(GLUE)
    names = ("project_gaussians", "rasterize_gaussians", "spherical_harmonics")
    files = [glue, *(checkout / f"{name}.cpp" for name in names)]
    # Its headers name <gsplat/…> and <gsplat-cpu/…>, which lie in its folder of rasterizers.
    module = load(
        "opensplat_cpu",
        [str(file) for file in [*files, checkout / "rasterizer/gsplat-cpu/gsplat_cpu.cpp"]],
        extra_include_paths=[str(checkout), str(checkout / "rasterizer")],
        extra_cflags=["-O3", "-DNDEBUG"],
        build_directory=str(folder),
    )
    return cast(ModuleType, module)


def projection(cameras: Cameras, i: int) -> Tensor:
    """The OpenGL projection [4, 4] of a camera, without its pose."""
    fx, fy = cameras.intrinsics[i, 0, 0], cameras.intrinsics[i, 1, 1]
    return torch.tensor(
        [
            [2 * fx / cameras.width, 0, 0, 0],
            [0, 2 * fy / cameras.height, 0, 0],
            [0, 0, (FAR + NEAR) / (FAR - NEAR), -FAR * NEAR / (FAR - NEAR)],
            [0, 0, 1, 0],
        ]
    )


def compare(opensplat: ModuleType, count: int, size: int, turns: int) -> list[float]:
    """Return PSNR in dB, ms per view of OpenSplat, of gs3d with one view a call and with VIEWS, and
    the two ratios."""
    splats, cameras, background = scene(count), ring(VIEWS, size), torch.ones(3)
    leaves = [splats.means, splats.quats, splats.scales, splats.opacities, splats.sh]
    for leaf in leaves:
        leaf.requires_grad_()
    weights = torch.randn(VIEWS, size, size, 3, generator=torch.Generator().manual_seed(1))

    def theirs(i: int) -> Tensor:
        view = cameras.world_to_camera[i]
        return opensplat.render(
            splats.means,
            splats.scales,
            splats.quats,
            view,
            projection(cameras, i) @ view,
            cameras.intrinsics[i, 0, 0],
            cameras.intrinsics[i, 1, 1],
            size,
            cameras.centers[i],
            splats.sh,
            splats.opacities[:, None],
            background,
        )

    def ours(which: slice) -> Tensor:
        return cpu.rasterize_cpu(splats, cameras[which], background).rgb

    def timed(draw, argument, weight) -> float:
        start = time.perf_counter()
        torch.autograd.grad((draw(argument) * weight).sum(), leaves)
        return 1e3 * (time.perf_counter() - start)

    every = slice(0, VIEWS)
    difference = torch.stack([theirs(i) for i in range(VIEWS)]) - ours(every)
    psnr = -10 * math.log10(difference.square().mean().item())
    times = []
    for turn in range(turns):
        i = turn % VIEWS
        times.append(
            (
                timed(theirs, i, weights[i]),
                timed(ours, slice(i, i + 1), weights[i : i + 1]),
                timed(ours, every, weights) / VIEWS,
            )
        )
    reference, one, four = (statistics.median(column) for column in zip(*times, strict=True))
    return [psnr, reference, one, four, reference / one, reference / four]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of OpenSplat")
    parser.add_argument("--build", type=Path, default=Path("runs/opensplat"))
    parser.add_argument("--turns", type=int, default=24)
    args = parser.parse_args()
    opensplat = compiled(args.checkout, args.build)
    print(f"{machine()['cpu']}, {torch.get_num_threads()} threads; ms per view")
    print("splats  size    PSNR  OpenSplat  one view  of four  ratio, one view  ratio, of four")
    for count, size in SIZES:
        psnr, *rest = compare(opensplat, count, size, args.turns)
        row = "{:9.1f}  {:8.2f}  {:7.2f}  {:15.1f}  {:14.1f}".format(*rest)
        print(f"{count:6}  {size:4}  {psnr:6.1f}  {row}", flush=True)


if __name__ == "__main__":
    main()

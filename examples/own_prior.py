"""A prior of your own in thirty lines: the exact denoiser of a Gaussian around one image.

python examples/own_prior.py --steps 100

It asks every view for a disk of the color that the prompt names. Its results are colored balls.
"""

import argparse

import torch
from torch import Tensor
from torch.nn import functional

import gs3d

COLORS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.7, 0.2), "blue": (0.1, 0.2, 0.9)}


class DiskPrior:
    """D(z, σ, y) = (s²·z + σ²·μ(y)) / (s² + σ²), with μ a disk and s the spread of the data."""

    name, image_size, latent_shape, views = "disk", 32, (3, 32, 32), 1
    device = torch.device("cpu")
    spread = 0.2

    def sigma(self, t: float) -> float:
        return 0.02 + 5.0 * t**2

    def embed(self, prompts: list[str]) -> Tensor:
        """[P, 1, 3]: the color in each prompt, gray if there is none."""
        found = [next((c for w, c in COLORS.items() if w in p), (0.5,) * 3) for p in prompts]
        return torch.tensor(found)[:, None]

    def encode(self, rgb: Tensor) -> Tensor:
        x = 2 * rgb.permute(0, 3, 1, 2) - 1
        return functional.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
        inside = ((x**2 + y**2) < 0.5).float()
        mean = 2 * (inside * text.transpose(1, 2)[..., None] + (1 - inside)) - 1
        s2, n2 = self.spread**2, sigma[:, None, None, None] ** 2
        return (s2 * z + n2 * mean) / (s2 + n2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default="a red ball")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--mode", default="splats")
    parser.add_argument("--out", default=None)
    args = parser.parse_args()
    scene = gs3d.generate(
        args.prompt, steps=args.steps, prior=DiskPrior(), mode=args.mode, out=args.out
    )
    print(scene)


if __name__ == "__main__":
    main()

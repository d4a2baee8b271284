"""The shortest program: make splats, look at them, save them.

python examples/hello_splat.py "a red mushroom with white spots" --minutes 1
"""

import argparse
from pathlib import Path

from PIL import Image

import gs3d


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt", nargs="?", default="a red mushroom with white spots")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=None, help="iterations instead of minutes")
    parser.add_argument("--out", type=Path, default=Path("hello"))
    args = parser.parse_args()
    # `steps` gives the same splats every time on one machine; `minutes` takes what time there is.
    length = {"steps": args.steps} if args.steps else {"minutes": args.minutes}
    scene = gs3d.generate(args.prompt, prior="builtin", out=args.out, **length)
    print(scene)  # Scene(15993 splats on cpu, finished run in hello)

    # The suffix picks the format: .ply, .compressed.ply, .spz, .sog, .splat, .glb, .usda, .html.
    scene.save(args.out / "hello.spz")
    scene.save(args.out / "hello.html")  # one page that opens from disk

    # Renders are tensors [views, height, width, channels] in [0, 1].
    out = scene.render(gs3d.ring(4, 256), background=(0.9, 0.9, 0.9))
    for number, image in enumerate(out.rgb.clamp(0, 1)):
        Image.fromarray((255 * image).byte().numpy()).save(args.out / f"view-{number}.png")

    # Splats are tensors too: means [N, 3], quats [N, 4], scales [N, 3], opacities, sh [N, K, 3].
    splats = scene.splats
    assert splats is not None
    print(f"height {float(splats.means[:, 2].max() - splats.means[:, 2].min()):.2f}")


if __name__ == "__main__":
    main()

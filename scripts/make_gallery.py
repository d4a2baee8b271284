"""Make what docs/gallery.md shows: `python scripts/make_gallery.py`, in the root of a checkout.

Generates what docs/gallery/objects.yaml lists, one after the other, with the commands that the page
shows. Writes a file and a picture of each, and all commands and times to docs/gallery/made.json.
Runs that are there already are not made again.
"""

import json
import math
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
import tyro
from PIL import Image

from gs3d.api import Scene, load
from gs3d.core.cameras import orbit
from gs3d.io.plain_yaml import load_yaml
from gs3d.ops.place import framed
from gs3d.runs.folders import default_folder

FOLDER = Path("docs/gallery")
WORK = Path("outputs/gallery")
"""The commands are run here, so that their folders stand apart from other runs."""
SPLATS = ("--minutes", "1")
MESH = ("--mode", "mesh", "--minutes", "2")
SMALLER = ("--faces", "6000", "--texture", "512")
PX = 360


def main() -> None:
    lists = load_yaml((FOLDER / "objects.yaml").read_text("utf-8"))
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.copy(FOLDER / "scene.yaml", WORK)
    kept = FOLDER / "made.json"
    made = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    tasks = [(prompt, SPLATS) for prompt in (*lists["scene"], *lists["splats"])]
    for prompt, options in (*tasks, *((prompt, MESH) for prompt in lists["meshes"])):
        run = default_folder(prompt, 0)
        name = run.name.removesuffix("-s0")
        if name in made and (WORK / run / "preview.png").exists():
            continue
        shutil.rmtree(WORK / run, ignore_errors=True)  # of a run that was broken off
        done = [timed("generate", prompt, *options)]
        file = WORK / run / "splats.ply"
        if options is MESH:
            file = WORK / f"{name}.glb"
            done.append(timed("mesh", str(run), "-o", file.name, *SMALLER))
        made[name] = facts(prompt, done)
        if prompt not in lists["scene"]:
            keep(file, name, made)
        kept.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    done = [timed("compose", "scene.yaml")]
    of = [made[default_folder(prompt, 0).name.removesuffix("-s0")] for prompt in lists["scene"]]
    whole = facts(", ".join(lists["scene"]), done)
    made["scene"] = {
        "title": whole["title"],
        "commands": [*(line for one in of for line in one["commands"]), *whole["commands"]],
        "seconds": sum(one["seconds"] for one in (*of, whole)),
    }
    keep(WORK / "scene.ply", "scene", made)
    kept.write_text(json.dumps(made, indent=1) + "\n", "utf-8")


def facts(title: str, done: list[tuple[float, str]]) -> dict:
    """What the page says of an object that was made by commands, which took so many seconds."""
    seconds, commands = zip(*done, strict=True)
    return {"title": title, "commands": list(commands), "seconds": round(sum(seconds))}


def timed(*words: str) -> tuple[float, str]:
    """Run gs3d in `WORK`. Returns its seconds, and the command as one would type it."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "gs3d", *words], cwd=WORK, check=True)
    return time.monotonic() - began, shlex.join(["gs3d", *words]).replace("'", '"')


def keep(file: Path, name: str, made: dict) -> None:
    """Write the object of `file`, and its picture, to where the page of the site takes them."""
    scene = load(file)
    if scene.splats is not None:
        scene.save(FOLDER / f"{name}.spz")
    else:
        shutil.copy(file, FOLDER / f"{name}.glb")
    made[name]["size"] = len(scene)
    picture(scene).save(FOLDER / f"{name}.webp", quality=85)


def picture(scene: Scene) -> Image.Image:
    """The first view of a page, without its background."""
    scene = Scene(framed(scene.asset))
    azimuth, elevation = torch.tensor([0.5]), torch.tensor([0.25])
    fovy = torch.tensor([math.radians(38.0)])
    side = 2 * PX
    render = scene.render(
        orbit(azimuth, elevation, torch.tensor([3.2]), fovy, side, side), (0, 0, 0)
    )
    alpha = render.alpha[0].clamp(0, 1)
    rgb = render.rgb[0] / alpha.clamp(min=1e-3)
    pixels = torch.cat([rgb.clamp(0, 1), alpha], dim=-1) * 255 + 0.5
    return Image.fromarray(pixels.byte().numpy(), "RGBA").resize((PX, PX), Image.Resampling.BOX)


if __name__ == "__main__":
    with torch.no_grad():
        tyro.cli(main, description=__doc__)

"""`gs3d compose SCENE.yaml` or TEXT: puts several objects into one scene."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, check_out, saved, splats_file, warn, with_warnings
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats, save_splats
from gs3d.runs.folders import default_folder
from gs3d.runs.request import Raster, Request, Vram

if TYPE_CHECKING:
    from gs3d.compose.scene_file import Entry, SceneFile


@dataclass(frozen=True)
class Args:
    """Put several objects into one scene and write one splat file. SCENE.yaml holds `objects:` with
    a list, of which each has `file:` or `prompt:` and, as wanted, `position: [x, y, z]`, `size:`
    (its radius), `turn_deg:`, `stands_on:`, `beside:`, `in_front_of:` or `behind:` (with the name
    of an earlier one) and `name:`. What has a prompt is generated first, each by itself; with a
    `prompt:` of the whole, a fifth of the time then goes to all of them together. The same command
    continues. A text such as "a red ball on a green table" becomes such a file."""

    scene: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE.yaml|TEXT")]
    """The scene file, or two or more objects with on, next to, beside, in front of or behind
    between them. Files in it are found from where it is. docs/scenes.md has an example."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output file. Its suffix decides the format. Default: that of the scene file with .ply; of a
    text, scene.ply in outputs/TEXT-sSEED, beside the scene file."""
    minutes: float | None = None
    """Minutes for all that is generated. Default 3 for each object."""
    steps: int | None = None
    """Number of iterations of each object, instead of minutes."""
    prior: str = "auto"
    """Diffusion model, as for gs3d generate."""
    config: str | None = None
    """Preset or YAML file, as for gs3d generate."""
    seed: int = 0
    """Random seed of each object."""
    vram: Vram = "auto"
    """Gigabytes of the GPU, as for gs3d generate."""
    raster: Raster = "auto"
    """Rasterizer, as for gs3d generate."""
    device: str | None = None
    """Device of the prior, as for gs3d generate."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d compose", argv)
    from gs3d.cli.runs.generate import EXIT
    from gs3d.compose.generated import runs_of, write_scene
    from gs3d.compose.together import overlaps, together
    from gs3d.ops.place import place_of, unframed

    path, scene = _scene(args)
    out = args.out or path.with_suffix(".ply")
    names = ("minutes", "steps", "prior", "config", "seed", "vram", "raster", "device")
    whole = Request("", **{name: getattr(args, name) for name in names})
    runs = runs_of(scene, path.with_suffix(""), whole)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_scene(path, scene)
        say(f"{path}: says what goes where; change it and give it to gs3d compose")
    suffix = check_out(out, path)
    for entry in scene.entries:
        if entry.file is not None:
            check_out(out, splats_file(entry.file))
    if (ended := _made(list(runs.objects.values()))) is not None:
        return EXIT[ended]
    found = [_loaded(path, entry, runs.folder(entry)) for entry in scene.entries]
    splats, parts = together(scene.entries, found)
    warn(overlaps(parts))
    for part in parts:
        say(f"{part.entry.name:<24}{len(part.splats):>9} splats")
    if (request := runs.together) is not None:
        placed = path.with_suffix("") / "placed.ply"
        save_splats(placed, splats)
        if (ended := _made([replace(request, start=placed)])) is not None:
            return EXIT[ended]
        assert request.out is not None
        place = place_of(load_splats(placed))
        splats = unframed(load_splats(splats_file(request.out)), place)
    _, warnings = saved(out, suffix, splats)
    say(f"{len(splats)} splats of {len(parts)} objects -> {out}, {bytes_text(out.stat().st_size)}")
    warn(warnings)
    return 0


def _scene(args: Args) -> "tuple[Path, SceneFile]":
    """The path of the scene file, and what it holds; that of a text may not be there yet."""
    from gs3d.compose.scene_file import read_scene
    from gs3d.compose.words import scene_of

    if args.scene.lower().endswith((".yaml", ".yml")):
        path = Path(args.scene)
        return path, read_scene(path)
    scene = scene_of(args.scene)
    path = default_folder(args.scene, args.seed) / "scene.yaml"
    return path, read_scene(path) if path.exists() else scene


def _made(requests: list[Request]) -> str | None:
    """Make what is not there yet. Returns the outcome of the run that ended early, if one did."""
    from gs3d.cli.progress import Progress
    from gs3d.cli.runs.generate import show
    from gs3d.compose.generated import is_made
    from gs3d.runs.execute import size_of

    first = True
    for request in requests:
        if is_made(request):
            say(f"{request.prompt}: is in {request.out}")
            continue
        with Progress() as progress:
            result = show(request, progress, first=first)
        first = False
        sizes = " ".join(f"{count} {name}" for name, count in size_of(result.asset).items())
        took = f"{result.steps} steps in {result.seconds:.0f} s"
        say(f"{request.prompt}: {sizes or 'nothing'} after {took}, in {result.folder}")
        if result.outcome != "finished":
            say(f"{result.outcome}; the same command continues")
            return result.outcome
    return None


def _loaded(path: Path, entry: "Entry", source: Path) -> Splats:
    """The splats of an object."""
    file = splats_file(source)
    splats, warnings = with_warnings(load_splats, file)
    warn(warnings)
    if not len(splats):
        raise UserError(f"{path}: {entry.name}: {file} holds no splats")
    return splats

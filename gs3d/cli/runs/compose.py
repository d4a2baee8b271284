"""`gs3d compose SCENE.yaml` or TEXT: puts several objects into one scene."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, check_out, saved, splats_file, warn, with_warnings
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import FORMATS, load_splats, save_splats
from gs3d.priors.loading.resolve import default_prior
from gs3d.runs.folders import make_writable, slug
from gs3d.runs.request import Raster, Request, Vram, pick_device

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
    text, scene.ply in outputs/scene-TEXT-sSEED, beside the scene file."""
    minutes: float | None = None
    """Minutes for all that is generated. Default what the scene was last made with, or 3 for each
    object."""
    steps: int | None = None
    """Number of iterations of each object, instead of minutes; all together then get a fifth of
    that."""
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
    from gs3d.compose.generated import is_made, keep_settings, runs_of, with_budget, write_scene
    from gs3d.compose.parts import by_object
    from gs3d.compose.together import overlaps, together
    from gs3d.ops.place import place_of, unframed

    path, scene = _scene(args)
    folder = path.with_suffix("")
    whole = with_budget(folder, _whole(args, scene))
    runs = runs_of(_refined(scene, whole), folder, whole)
    out = args.out or path.with_suffix(".ply")
    _check_out(out, args.out is None, folder)
    suffix = check_out(out, path)
    # What can be known is said before minutes go by.
    ready = {e.name: _loaded(path, e, e.file, out) for e in scene.entries if e.file is not None}
    waiting = [request for request in runs.objects.values() if not is_made(request)]
    if runs.objects:
        keep_settings(folder, whole)
    if not path.exists():
        write_scene(path, scene)
        say(f"{path}: says what goes where; change it and give it to gs3d compose")
    for request in runs.objects.values():
        if request not in waiting:
            say(f"{request.prompt}: is in {request.out}")
    for number, request in enumerate(waiting):
        if (status := _made(request, first=number == 0)) is not None:
            return status
    for entry in scene.entries:
        if entry.name not in ready:
            ready[entry.name] = _loaded(path, entry, runs.source(entry), out)
    found = [ready[entry.name] for entry in scene.entries]
    splats, parts = together(scene.entries, found)
    warn(overlaps(parts))
    counts = [len(part.splats) for part in parts]
    for part in parts:
        say(f"{part.entry.name:<24}{len(part.splats):>9} splats")
    if runs.together is not None:
        placed = folder / "placed.ply"
        save_splats(placed, splats)
        request = runs.joint(placed)
        if is_made(request):
            say(f"{request.prompt}: is in {request.out}")
        elif (status := _made(request, first=not waiting)) is not None:
            return status
        assert request.out is not None
        place = place_of(load_splats(placed))
        refined = unframed(load_splats(splats_file(request.out)), place)
        splats, counts = by_object(refined, [part.splats for part in parts])
    named = [(p.entry.name, n) for p, n in zip(parts, counts, strict=True) if n]
    _, warnings = saved(out, suffix, splats, **({"parts": named} if FORMATS[suffix].parts else {}))
    say(f"{len(splats)} splats of {len(parts)} objects -> {out}, {bytes_text(out.stat().st_size)}")
    warn(warnings)
    if runs.objects:
        say(f"look at it: gs3d open {shlex.quote(str(out))}")
    return 0


def _scene(args: Args) -> "tuple[Path, SceneFile]":
    """The path of the scene file, and what it holds; that of a text may not be there yet."""
    from gs3d.compose.scene_file import read_scene
    from gs3d.compose.words import scene_of

    if args.scene.lower().endswith((".yaml", ".yml")):
        path = Path(args.scene)
        return path, read_scene(path)
    scene = scene_of(args.scene)
    path = Path("outputs") / f"scene-{slug(args.scene)}-s{args.seed}" / "scene.yaml"
    if not path.exists():
        return path, scene
    there = read_scene(path)
    if there.prompt != scene.prompt:
        raise UserError(f"{path}: is the scene of {there.prompt!r}; give that file, or delete it")
    return path, there


def _whole(args: Args, scene: "SceneFile") -> Request:
    """The settings of all runs, with one prior for all of them."""
    names = ("minutes", "steps", "prior", "config", "seed", "vram", "raster", "device")
    whole = Request("", **{name: getattr(args, name) for name in names})
    if args.prior == "auto":
        texts = [text for text in (scene.prompt, *(e.prompt for e in scene.entries)) if text]
        prior, _ = default_prior(pick_device(args.device or "auto"), ", ".join(texts))
        whole = replace(whole, prior=prior)
    return whole


def _refined(scene: "SceneFile", whole: Request) -> "SceneFile":
    """The scene, without the prompt of the whole if the built-in prior does not know what it says:
    then nothing is optimized together."""
    from gs3d.world.prompt_parser import parse_prompt

    is_builtin = str(whole.prior).startswith("builtin")
    if scene.prompt is None or not is_builtin or parse_prompt(scene.prompt) is not None:
        return scene
    if any(entry.prompt is not None for entry in scene.entries):
        say(
            f"{scene.prompt!r}: each object is made by itself; they are not optimized together, "
            'since the built-in prior knows only two of its kinds with "on" or "next to" between'
        )
    return replace(scene, prompt=None)


def _check_out(out: Path, is_usual: bool, folder: Path) -> None:
    """`UserError` if the output cannot be written, or lies among what is generated."""
    if is_usual:
        make_writable(out.parent)
    if folder.resolve() in out.resolve().parents:
        raise UserError(f"-o {out}: is among the objects of the scene; choose another place")


def _made(request: Request, first: bool) -> int | None:
    """Make an object. Returns the exit status if the run did not come to its end."""
    from gs3d.cli.progress import Progress
    from gs3d.cli.runs.generate import EXIT, show
    from gs3d.runs.execute import size_of

    with Progress() as progress:
        result = show(request, progress, first=first)
    sizes = " ".join(f"{count} {name}" for name, count in size_of(result.asset).items())
    took = f"{result.steps} steps in {result.seconds:.0f} s"
    say(f"{request.prompt}: {sizes or 'nothing'} after {took}, in {result.folder}")
    if result.outcome in ("interrupted", "terminated") or result.signalled:
        say("stopped; the same command continues")
        return EXIT["interrupted" if result.outcome == "finished" else result.outcome]
    if result.outcome != "finished" or result.asset is None:
        say(f"{result.outcome}; delete {result.folder} and try another --seed or --config")
        return 1
    return None


def _loaded(path: Path, entry: "Entry", source: Path, out: Path) -> Splats:
    """The splats of an object."""
    file = splats_file(source)
    check_out(out, file)
    splats, warnings = with_warnings(load_splats, file)
    warn(warnings)
    if not len(splats):
        raise UserError(f"{path}: {entry.name}: {file} holds no splats")
    return splats

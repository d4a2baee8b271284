"""Objects of a scene that are generated: each by itself, and then all together."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gs3d.compose.scene_file import Entry, SceneFile
from gs3d.core.errors import UserError
from gs3d.distill.settings.config import load_config
from gs3d.io.atomic import write_atomic
from gs3d.runs.folders import make_writable, run_yaml
from gs3d.runs.history import read_record
from gs3d.runs.request import DEFAULT_MINUTES, Request, checked

TOGETHER_SHARE = 0.2
"""Share of the minutes in which all objects are optimized together."""
SETTINGS = "settings.json"
"""File with the settings that all objects of a scene were made with."""


@dataclass(frozen=True)
class Runs:
    """The runs of a scene, in folders of its own."""

    folder: Path
    objects: dict[str, Request]
    """Name of each object that is generated → its run."""
    together: Request | None
    """The run that refines all objects under the prompt of the whole, without `start` and `out`,
    which `joint` adds."""

    def source(self, entry: Entry) -> Path:
        """Where the splats of an entry are: its file, or the folder of its run."""
        request = self.objects.get(entry.name)
        found = entry.file if request is None else request.out
        assert found is not None
        return found

    def joint(self, placed: Path) -> Request:
        """The run of all objects together. It starts from the splats in `placed`, and its folder is
        named by them: a scene in which something has changed is refined anew."""
        assert self.together is not None
        prompt = self.together.prompt.encode("utf-8", "replace")
        digest = hashlib.sha256(placed.read_bytes() + prompt).hexdigest()[:12]
        return _continued(replace(self.together, start=placed), self.folder / f"together-{digest}")


def runs_of(scene: SceneFile, folder: Path, whole: Request) -> Runs:
    """Share the minutes of `whole` out to the runs of a scene.

    All together get `TOGETHER_SHARE` of the minutes, and the objects the rest in equal parts. By
    steps, each object gets as many, and all together `TOGETHER_SHARE` of that. Without minutes or
    steps, it is three minutes for each object.

    Raises:
        UserError: An argument of `whole` is out of range, or its config does not make splats of
            objects.
    """
    made = [entry for entry in scene.entries if entry.prompt is not None]
    if whole.steps is None and whole.minutes is None:
        whole = replace(whole, minutes=DEFAULT_MINUTES * max(len(made), 1))
    whole = checked(replace(whole, prompt=scene.prompt or "all"))
    if whole.config is not None:
        last = load_config(str(whole.config)).stages[-1]
        if last.representation != "splats" or last.cameras.inside:
            raise UserError(
                f"--config {whole.config}: expected one that ends in splats of an object"
            )
    joint = bool(made) and scene.prompt is not None
    rest = TOGETHER_SHARE if joint else 0.0
    objects: dict[str, Request] = {}
    for entry in made:
        assert entry.prompt is not None
        own = _share(whole, entry.prompt, (1 - rest) / len(made), 1.0)
        objects[entry.name] = _continued(own, folder / entry.name)
    together = _share(whole, str(scene.prompt), rest, rest) if joint else None
    return Runs(folder, objects, together)


def _share(whole: Request, prompt: str, minutes: float, steps: float) -> Request:
    """A run with so large a share of the minutes or steps."""
    return replace(
        whole,
        prompt=prompt,
        minutes=None if whole.minutes is None else minutes * whole.minutes,
        steps=None if whole.steps is None else max(round(steps * whole.steps), 1),
    )


def _continued(request: Request, out: Path) -> Request:
    """The request in a folder, where it goes on with the run that is there."""
    return replace(request, out=out, resume=run_yaml(out) is not None)


def with_budget(folder: Path, whole: Request) -> Request:
    """The settings of a scene, without minutes or steps with those that it was last made with."""
    if whole.minutes is not None or whole.steps is not None:
        return whole
    before = _settings(folder)
    return replace(whole, minutes=before.get("minutes"), steps=before.get("steps"))


def keep_settings(folder: Path, whole: Request) -> None:
    """Make the folder of a scene, and keep with which settings its objects are made.

    Raises:
        UserError: Objects were made with another prior, config or seed there, or the folder cannot
            be written.
    """
    make_writable(folder)
    before = _settings(folder)
    for name in ("prior", "config", "seed"):
        if before and before.get(name) != (now := getattr(whole, name)):
            raise UserError(
                f"--{name} {now}: the objects in {folder} were made with {before.get(name)}; "
                "delete that folder to make them anew"
            )
    names = ("prior", "config", "seed", "minutes", "steps")
    text = json.dumps({name: getattr(whole, name) for name in names})
    path = folder / SETTINGS
    write_atomic(path, lambda temp: temp.write_text(text, "utf-8"), lambda temp: None)


def _settings(folder: Path) -> dict[str, Any]:
    """What `keep_settings` wrote; empty if nothing can be read."""
    try:
        found = json.loads((folder / SETTINGS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_made(request: Request) -> bool:
    """Whether the run has finished, with as many minutes or steps.

    Raises:
        UserError: The folder holds a run of another prompt.
    """
    assert request.out is not None
    if (begun := run_yaml(request.out)) is not None and begun.get("prompt") != request.prompt:
        raise UserError(
            f"{request.out}: was made for {begun.get('prompt')!r}; delete that folder, or give the "
            "object another `name:`"
        )
    record = read_record(request.out)
    if record is None or record["result"]["outcome"] != "finished":
        return False
    kind = "minutes" if request.steps is None else "steps"
    return (record.get(kind) or 0) >= getattr(request, kind)


def write_scene(path: Path, scene: SceneFile) -> None:
    """Write a scene file of generated objects. `UserError` if it cannot be written."""
    objects: list[dict[str, Any]] = []
    for entry in scene.entries:
        fields: dict[str, Any] = {"prompt": entry.prompt, "name": entry.name, "size": entry.size}
        if entry.relation is not None:
            fields[entry.relation] = entry.other
        objects.append(fields)
    content = {"prompt": scene.prompt, "objects": objects}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomic(path, lambda temp: temp.write_text(text, "utf-8"), lambda temp: None)

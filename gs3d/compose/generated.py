"""Objects of a scene that are generated: each by itself, and then all together."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gs3d.compose.scene_file import Entry, SceneFile
from gs3d.core.errors import UserError
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.io.atomic import write_atomic
from gs3d.runs.folders import run_yaml
from gs3d.runs.history import read_record
from gs3d.runs.request import DEFAULT_MINUTES, Request, checked

TOGETHER = "together"
"""Folder of the run of all objects, and the share of the time that it gets."""
TOGETHER_SHARE = 0.2


@dataclass(frozen=True)
class Runs:
    """The runs of a scene."""

    objects: dict[str, Request]
    """Name of each object that is generated → its run."""
    together: Request | None
    """The run that refines all objects under the prompt of the whole. Without `start`."""

    def folder(self, entry: Entry) -> Path:
        """Where the splats of an entry are: its file, or the folder of its run."""
        request = self.objects.get(entry.name)
        found = entry.file if request is None else request.out
        assert found is not None
        return found


def runs_of(scene: SceneFile, folder: Path, whole: Request) -> Runs:
    """Share the minutes of `whole` out to the runs of a scene, in folders of their own.

    All together get `TOGETHER_SHARE` of the minutes, and the objects the rest in equal parts. By
    steps, each object gets as many, and all together `TOGETHER_SHARE` of that. Without minutes or
    steps, it is three minutes for each object.

    Raises:
        UserError: An argument of `whole` is out of range, or an object is named like the folder of
            all together.
    """
    made = [entry for entry in scene.entries if entry.prompt is not None]
    if whole.steps is None and whole.minutes is None:
        whole = replace(whole, minutes=DEFAULT_MINUTES * max(len(made), 1))
    whole = checked(replace(whole, prompt=scene.prompt or "all"))
    joint = bool(made) and scene.prompt is not None
    rest = TOGETHER_SHARE if joint else 0.0
    objects: dict[str, Request] = {}
    for entry in made:
        if entry.name == TOGETHER:
            raise UserError(f"{TOGETHER}: is the folder of all objects; give another `name:`")
        assert entry.prompt is not None
        share = (1 - rest) / len(made)
        objects[entry.name] = _run(whole, entry.prompt, folder / entry.name, share, 1.0)
    if not joint:
        return Runs(objects, None)
    assert scene.prompt is not None
    return Runs(objects, _run(whole, scene.prompt, folder / TOGETHER, rest, rest))


def _run(whole: Request, prompt: str, out: Path, minutes: float, steps: float) -> Request:
    """A run with so large a share of the minutes or steps. It continues the one that is there."""
    return replace(
        whole,
        prompt=prompt,
        out=out,
        minutes=None if whole.minutes is None else minutes * whole.minutes,
        steps=None if whole.steps is None else max(round(steps * whole.steps), 1),
        resume=newest_checkpoint(out / "checkpoint") is not None,
    )


def is_made(request: Request) -> bool:
    """Whether the run has finished.

    Raises:
        UserError: The folder holds a run of another prompt.
    """
    assert request.out is not None
    if (begun := run_yaml(request.out)) is not None and begun.get("prompt") != request.prompt:
        raise UserError(
            f"{request.out}: was made for {begun.get('prompt')!r}; delete it, or give the object "
            "another `name:`"
        )
    record = read_record(request.out)
    return record is not None and record["result"]["outcome"] == "finished"


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

"""The folder of an evaluation: grading the runs in it, and evaluation.json, report.html and sheet.png."""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.clip import Clip, clip_marks
from gs3d.evaluation.grade import grade
from gs3d.evaluation.html import write_report
from gs3d.evaluation.recogniser import Recogniser
from gs3d.evaluation.report import OPEN, Result, summary, to_json, write_result_sheet
from gs3d.evaluation.truth import truth_of
from gs3d.export import load_splats
from gs3d.export.atomic import write_atomic
from gs3d.world.splits import split_of
from gs3d.world.understand import understand

NAME = "evaluation.json"
_truth = lru_cache(maxsize=8)(truth_of)  # the runs of one prompt come one after another


@dataclass(frozen=True)
class Graders:
    """Who marks."""

    judge: Recogniser
    clip: Clip | None
    prompts: tuple[str, ...]
    """All prompts of the evaluation, among which CLIP has to find the right one."""
    texts: Tensor | None
    """Theirs as CLIP sees them, [P, E]."""

    @staticmethod
    def of(prompts: Sequence[str], judge: Recogniser, scorer: str | None = None) -> "Graders":
        clip = Clip.load(scorer) if scorer else None
        return Graders(judge, clip, tuple(prompts), clip.texts(list(prompts)) if clip else None)


def result_of(
    graders: Graders, out: Path, folder: str, prompt: str, method: str, seed: int, seconds: float, memory_mb: float | None = None
) -> Result:
    """Grade the splats of the run in `out`/`folder`."""
    meaning, splats = understand(prompt), load_splats(file_of(out, folder))
    marks = grade(splats, meaning, graders.judge, _truth(meaning) if meaning else None)
    if graders.clip is not None and graders.texts is not None:
        said = clip_marks(splats, graders.clip, graders.texts, graders.prompts.index(prompt))
        marks = dataclasses.replace(marks, r_precision=said.r_precision, clip_similarity=said.similarity)
    kind, split = (meaning.thing.kind, split_of(meaning.thing)) if meaning else (OPEN, OPEN)
    return Result(method, prompt, seed, kind, split, folder, round(seconds, 2), memory_mb, len(splats), marks)


def file_of(out: Path, folder: str) -> Path:
    """The splats of a run, whose folder may be named by a way out of `out` before there is one."""
    return Path(os.path.normpath(out / folder)) / "splats.ply"


def read_results(out: Path, settings: dict) -> dict[str, Result]:
    """The results that are there and whose splats are too, by the folder of their run. `UserError` if they are of other settings."""
    path = out / NAME
    if not path.exists():
        return {}
    try:
        tree = json.loads(path.read_text("utf-8"))
        known, results = tree["settings"], {row["folder"]: Result.of(row) for row in tree["results"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no evaluation of this version ({type(error).__name__}); choose another --out, or remove it") from None
    if known != settings:
        raise UserError(f"{path}: holds results with {known}, not {settings}; choose another --out")
    return {folder: result for folder, result in results.items() if file_of(out, folder).exists()}


def write_results(out: Path, settings: dict, results: Sequence[Result]) -> None:
    """evaluation.json, whole or as it was."""
    methods = {r.method: [x for x in results if x.method == r.method] for r in results}
    tree = {"settings": settings, "summary": {m: summary(rows) for m, rows in methods.items()}, "results": to_json(results)}
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / NAME, lambda t: t.write_text(json.dumps(tree, indent=1) + "\n", "utf-8"), lambda t: json.loads(t.read_text("utf-8")))


def write_pictures(out: Path, settings: dict, results: Sequence[Result]) -> list[Path]:
    """report.html and sheet.png; what was written."""

    def splats(result: Result) -> Splats:
        return load_splats(file_of(out, result.folder))

    write_report(out / "report.html", results, splats, settings)
    write_result_sheet(out / "sheet.png", results, splats)
    return [out / NAME, out / "report.html", out / "sheet.png"]

"""The folder of an evaluation: grading the runs in it, and evaluation.json, report.html and sheet.png."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.evaluation.classifier import WEIGHTS, Classifier
from gs3d.evaluation.clip import BUILTIN, Clip, clip_metrics
from gs3d.evaluation.grade import grade
from gs3d.evaluation.prompts import plain_others
from gs3d.evaluation.reference import reference_for
from gs3d.evaluation.report import OPEN, Result, summary, to_json, write_result_sheet
from gs3d.evaluation.report_html import small_plot, write_report
from gs3d.io import PLOT, load_asset, result_file
from gs3d.io.atomic import write_atomic
from gs3d.representations.asset import Asset, primitive_count
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.splits import split_of
from gs3d.world.version import source_digest

NAME = "evaluation.json"
HERE = Path(__file__).parent
DECIDE = (
    "augment.py",
    "classifier.py",
    "clip.py",
    "grade.py",
    "reference.py",
    "metrics/appearance.py",
    "metrics/geometry.py",
    "metrics/residue.py",
)
"""The files beside this one that say what a mark means."""
_reference = lru_cache(maxsize=64)(reference_for)  # the runs of one prompt come one after another


@dataclass(frozen=True)
class Run:
    """A run to grade."""

    folder: str
    """Where it left its files, relative to the folder of the evaluation."""
    prompt: str
    method: str
    seed: int
    outcome: str
    seconds: float
    memory_mb: float | None


@dataclass(frozen=True)
class Graders:
    """Who marks."""

    classifier: Classifier
    clip: Clip | None
    prompts: tuple[str, ...]
    """Those among which CLIP has to find the right one: all of the evaluation; for the world's own CLIP also what else the world has."""
    texts: Tensor | None
    """Theirs as CLIP sees them, [P, E]."""
    digest: str
    """Of the weights, the world, the prompts and `DECIDE`: marks given by other graders are no marks of these."""

    @staticmethod
    def of(prompts: Sequence[str], scorer: str | None = None) -> "Graders":
        clip = Clip.load(scorer) if scorer else None
        prompts = (*prompts, *(plain_others(prompts) if scorer == BUILTIN else ()))
        decides = [
            WEIGHTS.read_bytes().hex(),
            source_digest(),
            *((HERE / name).read_bytes().hex() for name in DECIDE),
        ]
        decides += [clip.name, clip.weights, *prompts] if clip else []
        digest = hashlib.sha256("\n".join(decides).encode()).hexdigest()[:16]
        return Graders(
            Classifier.load(), clip, prompts, clip.texts(list(prompts)) if clip else None, digest
        )


def result_of(graders: Graders, out: Path, run: Run) -> Result:
    """Grade what a run in `out` has made."""
    meaning, asset = parse_prompt(run.prompt), load_asset(file_of(out, run.folder))
    marks = grade(asset, meaning, graders.classifier, _reference(meaning) if meaning else None)
    if graders.clip is not None and graders.texts is not None:
        said = clip_metrics(asset, graders.clip, graders.texts, graders.prompts.index(run.prompt))
        marks = dataclasses.replace(
            marks, r_precision=said.r_precision, clip_similarity=said.similarity
        )
    kind, split = (meaning.thing.kind, split_of(meaning.thing)) if meaning else (OPEN, OPEN)
    return Result(
        **dataclasses.asdict(run),
        kind=kind,
        split=split,
        pieces=primitive_count(asset),
        grade=marks,
    )


def file_of(out: Path, folder: str) -> Path:
    """What a run has made; its folder may be named by a way out of `out` before there is one."""
    file = result_file(place := Path(os.path.normpath(out / folder)))
    if file is None:
        raise UserError(f"{place}: holds neither splats nor a mesh")
    return file


def read_results(out: Path, settings: dict, graders: Graders) -> dict[str, Result]:
    """What these graders have said already, by the folder of the run. `UserError` if the folder holds an evaluation with other settings."""
    path = out / NAME
    if not path.exists():
        return {}
    try:
        tree = json.loads(path.read_text("utf-8"))
        known, digest = tree["settings"], tree["graders"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # damaged, or of another version: the runs are graded anew
    if known != settings:
        raise UserError(f"{path}: holds results with {known}, not {settings}; choose another --out")
    return (
        {row["folder"]: Result.of(row) for row in tree["results"]}
        if digest == graders.digest
        else {}
    )


def graded_already(known: dict[str, Result], run: Run) -> Result | None:
    """What was said of this very run."""
    found = known.get(run.folder)
    return (
        found
        if found and all(getattr(found, k) == v for k, v in dataclasses.asdict(run).items())
        else None
    )


def write_results(
    out: Path, settings: dict, graders: Graders, results: Sequence[Result], failed: int = 0
) -> None:
    """evaluation.json, whole or as it was."""
    methods = {r.method: [x for x in results if x.method == r.method] for r in results}
    tree = {"settings": settings, "graders": graders.digest, "failed": failed}
    tree |= {
        "summary": {m: summary(rows) for m, rows in methods.items()},
        "results": to_json(results),
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(tree, indent=1, allow_nan=False) + "\n"
    write_atomic(
        out / NAME,
        lambda t: t.write_text(text, "utf-8"),
        lambda t: json.loads(t.read_text("utf-8")),
    )


def write_pictures(out: Path, settings: dict, results: Sequence[Result]) -> list[Path]:
    """report.html and sheet.png; what there is now."""

    def load(result: Result) -> Asset:
        return load_asset(file_of(out, result.folder))

    def plot(result: Result) -> bytes | None:
        return small_plot(file_of(out, result.folder).with_name(PLOT))

    write_report(out / "report.html", results, load, settings, plot)
    write_result_sheet(out / "sheet.png", results, load)
    return [out / NAME, out / "report.html", out / "sheet.png"]

"""Results of an evaluation: grading of runs, and evaluation.json, report.html and sheet.png."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.core.source import code_of
from gs3d.evaluation.classifier import WEIGHTS, Classifier
from gs3d.evaluation.clip import BUILTIN, Clip, clip_metrics
from gs3d.evaluation.grade import grade
from gs3d.evaluation.pooled import Pooled, pooled_metrics, pooled_table
from gs3d.evaluation.prompts import plain_others
from gs3d.evaluation.reference import reference_for
from gs3d.evaluation.report import OPEN, Result, summary, tables, to_json
from gs3d.evaluation.report_html import small_plot, write_report
from gs3d.evaluation.sheet import write_result_sheet
from gs3d.io import PLOT, load_asset, result_file
from gs3d.io.atomic import write_atomic
from gs3d.representations.asset import Asset, primitive_count
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.splits import split_of
from gs3d.world.version import source_digest

NAME = "evaluation.json"
MOST_PICTURED = 96
"""Runs up to which report.html and sheet.png show all. A run takes some 30 kB of report.html, and
as much again with the plot of its log."""
HERE = Path(__file__).parent
GRADER_FILES = (
    "augment.py",
    "classifier.py",
    "clip.py",
    "grade.py",
    "reference.py",
    "metrics/appearance.py",
    "metrics/detail.py",
    "metrics/geometry.py",
    "metrics/parts.py",
    "metrics/residue.py",
    "metrics/two_objects.py",
)
"""Files that define the metrics: a change of their code invalidates earlier grades."""
_reference = lru_cache(maxsize=64)(reference_for)  # the runs of one prompt follow each other


@dataclass(frozen=True)
class Run:
    """A run to grade."""

    folder: str
    """Output directory of the run, relative to that of the evaluation."""
    prompt: str
    method: str
    seed: int
    outcome: str
    """As in `Result`, like the rest."""
    seconds: float
    memory_mb: float | None
    evaluations_per_s: float | None = None


@dataclass(frozen=True)
class Graders:
    """The classifier and the CLIP model of an evaluation, with the prompts CLIP chooses from."""

    classifier: Classifier
    clip: Clip | None
    prompts: tuple[str, ...]
    """Candidates of R-precision: all prompts of the evaluation; with the shipped CLIP model also
    every other kind and color of the procedural world."""
    texts: Tensor | None
    """CLIP embeddings of `prompts`, [P, E]; None without a CLIP model."""
    digest: str
    """Hash of the weights, of the code of the world and `GRADER_FILES`, and of the prompts.
    Grades with different digests are not comparable."""

    @staticmethod
    def of(prompts: Sequence[str], scorer: str | None = None) -> "Graders":
        """Load the graders of an evaluation; `scorer` names a CLIP model as in `Clip.load`.

        Raises `UserError` if weights cannot be loaded.
        """
        clip = Clip.load(scorer) if scorer else None
        prompts = (*prompts, *(plain_others(prompts) if scorer == BUILTIN else ()))
        inputs = [
            WEIGHTS.read_bytes().hex(),
            source_digest(),
            *(code_of((HERE / name).read_text("utf-8")) for name in GRADER_FILES),
        ]
        inputs += [clip.name, clip.weights, *prompts] if clip else []
        digest = hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:16]
        return Graders(
            Classifier.load(), clip, prompts, clip.texts(list(prompts)) if clip else None, digest
        )


def result_of(graders: Graders, out: Path, run: Run) -> Result:
    """Grade the asset of a run; `out` is the output directory of the evaluation.

    Raises `UserError` if the run has no asset or the classifier does not know its prompt.
    """
    meaning, asset = parse_prompt(run.prompt), load_asset(file_of(out, run.folder))
    graded = grade(asset, meaning, graders.classifier, _reference(meaning) if meaning else None)
    if graders.clip is not None and graders.texts is not None:
        scores = clip_metrics(asset, graders.clip, graders.texts, graders.prompts.index(run.prompt))
        graded = dataclasses.replace(
            graded, r_precision=scores.r_precision, clip_similarity=scores.similarity
        )
    kind, split = (meaning.thing.kind, split_of(meaning.thing)) if meaning else (OPEN, OPEN)
    return Result(
        **dataclasses.asdict(run),
        kind=kind,
        split=split,
        pieces=primitive_count(asset),
        grade=graded,
    )


def file_of(out: Path, folder: str) -> Path:
    """Return the file of a run's asset. Raises `UserError` if there is none.

    `folder` may lead out of `out` ("../run"), and `out` need not exist yet.
    """
    file = result_file(directory := Path(os.path.normpath(out / folder)))
    if file is None:
        raise UserError(
            f"{directory}: contains neither splats nor a mesh; expected the directory of a run"
        )
    return file


def read_results(out: Path, settings: dict, graders: Graders) -> dict[str, Result]:
    """Read earlier results of the same graders from `out`, by folder of the run.

    Raises `UserError` if `out` contains an evaluation with different settings.
    """
    path = out / NAME
    if not path.exists():
        return {}
    try:
        tree = json.loads(path.read_text("utf-8"))
        known, digest = tree["settings"], tree["graders"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # damaged, or from another version: the runs are graded again
    if known != settings:
        raise UserError(
            f"{path}: contains results with {_differing(known, settings)}, not "
            f"{_differing(settings, known)}; choose another --out"
        )
    return (
        {row["folder"]: Result.of(row) for row in tree["results"]}
        if digest == graders.digest
        else {}
    )


def _differing(settings: object, other: dict) -> str:
    """The settings that differ from those of another evaluation: "budget --steps 3, no start"."""
    if not isinstance(settings, dict):
        return "other settings"
    names = dict.fromkeys((*settings, *other))
    changed = [name for name in names if settings.get(name) != other.get(name)]
    return ", ".join(f"{n} {settings[n]}" if n in settings else f"no {n}" for n in changed)


def graded_already(known: dict[str, Result], run: Run) -> Result | None:
    """Return the earlier result of the same run; None if there is none or the run has changed."""
    found = known.get(run.folder)
    return (
        found
        if found and all(getattr(found, k) == v for k, v in dataclasses.asdict(run).items())
        else None
    )


def write_results(
    out: Path,
    settings: dict,
    graders: Graders,
    results: Sequence[Result],
    failed: int = 0,
    pooled: Sequence[Pooled] = (),
) -> None:
    """Write evaluation.json atomically; `failed` counts runs without a result."""
    methods = {r.method: [x for x in results if x.method == r.method] for r in results}
    tree = {"settings": settings, "graders": graders.digest, "failed": failed}
    tree |= {
        "summary": {m: summary(rows) for m, rows in methods.items()},
        "pooled": [dataclasses.asdict(p) for p in pooled],
        "results": to_json(results),
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(tree, indent=1, allow_nan=False) + "\n"
    write_atomic(
        out / NAME,
        lambda t: t.write_text(text, "utf-8"),
        lambda t: json.loads(t.read_text("utf-8")),
    )


def pooled_of(out: Path, results: Sequence[Result], graders: Graders) -> list[Pooled]:
    """Pooled metrics of all methods (`pooled_metrics`)."""
    return pooled_metrics(results, partial(_asset, out), graders.classifier)


def all_tables(results: Sequence[Result], pooled: Sequence[Pooled]) -> dict[str, list[list[str]]]:
    """`report.tables`, and that of the pooled metrics."""
    return {**tables(results), **({"Pooled": pooled_table(pooled)} if pooled else {})}


def write_pictures(
    out: Path, settings: dict, results: Sequence[Result], shown: dict[str, list[list[str]]]
) -> list[Path]:
    """Write report.html with the tables `shown`, and sheet.png, both with `pictured` runs. If these
    are not all, the report leaves out the plots of their logs.

    Returns the paths of all files of the evaluation.
    """
    chosen, load = pictured(results), partial(_asset, out)
    shows_all = len(chosen) == len(results)

    def plot(result: Result) -> bytes | None:
        return small_plot(file_of(out, result.folder).with_name(PLOT)) if shows_all else None

    if not shows_all:
        text = f"{len(chosen)} of {len(results)}; {NAME} has the metrics of all"
        settings = {**settings, "runs shown below": text}
    write_report(out / "report.html", chosen, shown, load, settings, plot)
    write_result_sheet(out / "sheet.png", chosen, load)
    return [out / NAME, out / "report.html", out / "sheet.png"]


def pictured(results: Sequence[Result]) -> list[Result]:
    """The runs to show: all of them, or, of more than `MOST_PICTURED`, prompts spread evenly over
    the list with one seed each, in all methods, and further seeds of them while they fit."""
    if len(results) <= MOST_PICTURED:
        return list(results)
    groups: dict[str, dict[int, list[Result]]] = {}
    for r in results:
        groups.setdefault(r.prompt, {}).setdefault(r.seed, []).append(r)
    largest = max(len(runs) for seeds in groups.values() for runs in seeds.values())
    every = -(-len(groups) // max(MOST_PICTURED // largest, 1))
    chosen = list(groups)[::every]
    # Seeds in turn, the first of every chosen prompt before the second of any.
    waiting = [(i, p, s) for p in chosen for i, s in enumerate(groups[p])]
    shown: list[Result] = []
    for _, prompt, seed in sorted(waiting, key=lambda w: w[0]):
        if shown and len(shown) + len(groups[prompt][seed]) > MOST_PICTURED:
            break
        shown += groups[prompt][seed]
    return [r for r in results if any(r is one for one in shown)]


def _asset(out: Path, result: Result) -> Asset:
    return load_asset(file_of(out, result.folder))

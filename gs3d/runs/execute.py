"""From a plan to a folder of files."""

import contextlib
import importlib
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.core.runtime.clock import noticing_pauses, paused_s
from gs3d.core.runtime.memory import keep_freed_blocks, peak_memory_mb
from gs3d.core.runtime.neighbors import tuned
from gs3d.core.types import Mesh, Splats, TexturedMesh
from gs3d.distill.budget import Budget
from gs3d.distill.state import Task, TrainState
from gs3d.io import PLOT
from gs3d.priors.base import Prior
from gs3d.representations.asset import Asset, primitive_count
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.choice.choose import record_of_choice
from gs3d.runs.folders import clean_up, make_writable, particle_folder, pick_folder, writable
from gs3d.runs.lock import locked
from gs3d.runs.loop import Outcome, train
from gs3d.runs.outputs.files import Written, write_renders, write_result
from gs3d.runs.outputs.log import LOG, trim_log
from gs3d.runs.outputs.preview_strip import STRIP, add_row, trim_strip
from gs3d.runs.prepare import Plan, prepare
from gs3d.runs.setup import Phases, first_budget, first_state, load_task, record_of
from gs3d.runs.signals import Pauses, StopSignals
from gs3d.runs.starts.builtin import start_request
from gs3d.runs.starts.shap_e import shap_e_splats

FEW_STEPS = 100
"""Fewer iterations give no shape yet. The presets for two CPU cores make hundreds a minute."""
AGAIN = "the same command with --resume"


@dataclass(frozen=True)
class Result:
    """What a run generated."""

    folder: Path
    outcome: Outcome
    asset: Asset | None
    """What is in the result file; None if nothing could be written, and a warning says why."""
    steps: int
    seconds: float
    files: list[Path]
    warnings: list[str] = field(default_factory=list)
    """Those about the files; callbacks get them too."""
    signalled: bool = False
    """Whether Ctrl-C or SIGTERM came, before the end or while files were written."""
    others: list[Asset | None] = field(default_factory=list[Asset | None])
    """What is in the files of the other particles, as `asset`."""

    @property
    def splats(self) -> Splats | None:
        return self.asset if isinstance(self.asset, Splats) else None

    @property
    def mesh(self) -> Mesh | TexturedMesh | None:
        return None if isinstance(self.asset, Splats) else self.asset


def execute(
    plan: Plan, callbacks: Callbacks | None = None, load_with: Callable[[Plan], Prior] | None = None
) -> Result:
    """Optimize what the plan describes and write splats or a mesh, previews, run.yaml and logs.

    `load_with` takes the place of loading the prior (`setup.load_task`).

    Raises:
        UserError: Anything that the user can fix.
    """
    with noticing_pauses():
        return _execute(plan, callbacks or Callbacks(), load_with)


def _execute(plan: Plan, callbacks: Callbacks, load_with: Callable[[Plan], Prior] | None) -> Result:
    # The plan's start is of time.monotonic(), which had the pauses of earlier runs in it.
    phases = Phases(plan.started - paused_s())
    if plan.raster_device == "cpu":
        keep_freed_blocks()
    for message in plan.messages:
        callbacks.on_message(message)
    phases.end("start")
    with writable(plan.folder), locked(plan.folder):
        request = plan.request
        # Another run may have finished there since the plan was made.
        if pick_folder(request.prompt, request.seed, request.out, request.resume) != plan.folder:
            raise UserError(f"--out {plan.folder}: another run has just ended there; start again")
        clean_up(plan.folder)
        return _run(plan, phases, callbacks, load_with)


def _run(
    plan: Plan,
    phases: Phases,
    callbacks: Callbacks,
    load_with: Callable[[Plan], Prior] | None = None,
) -> Result:
    """The part of a run that holds its folder."""
    folder, pauses = plan.folder, Pauses(callbacks.info)
    if plan.shap_e is not None:
        # Before the prior is loaded: both at once may need more memory than a GPU has.
        made = shap_e_splats(plan.shap_e, plan.request, folder, plan.device, callbacks)
        plan = replace(plan, splats=made)
        phases.end("shap-e start")
    task = load_task(plan, callbacks, load_with)
    record = record_of(plan, task)
    phases.end("prior")
    if plan.start_prompt is not None:
        plan = replace(plan, splats=_builtin_splats(plan, plan.start_prompt, callbacks))
        phases.end("builtin start")
    state, spent_s = first_state(plan, task, record, callbacks)
    budget = first_budget(plan, state, spent_s, phases, callbacks)
    # One for each object that is kept: itself, and the folder and record of its own.
    kept = 1 if task.candidates > 1 else len(state.particles)
    records = [replace(record, particle=i + 1) for i in range(kept)]
    places = [particle_folder(folder, i) for i in range(len(records))]
    for place in places[1:]:
        make_writable(place)

    def write_records(result: dict[str, object] | None, written: Sequence[Written] = ()) -> None:
        for i, (own, place) in enumerate(zip(records, places, strict=True)):
            size = size_of(written[i].asset) if written else {}
            own.write(place, phases.seconds, None if result is None else result | size)

    # Before this, Ctrl-C and SIGTERM have their usual effect: there is nothing to export yet.
    with StopSignals(callbacks.info) as stop, ThreadPoolExecutor(1) as beside:
        trim_log(folder / LOG, state.step)
        trim_strip(folder / STRIP, state.step)
        write_records(None)
        # By steps, the result shall not depend on what else the machine does.
        on_cpu = budget.seconds is not None and state.representation.device.type == "cpu"
        beside.submit(_import_ahead)
        with tuned() if on_cpu else contextlib.nullcontext() as took:
            outcome = train(state, task, budget, folder, callbacks, stop, pauses, took)
        phases.end("optimize")
        if not isinstance(state.representation, Gaussians):  # It takes a while.
            callbacks.info("writing the mesh, its texture and pictures")
        plotted = beside.submit(_write_log_plot, folder)
        written, *others = every = _write_all(places, state)
        _warn_of_few(written, plan, outcome, state)
        if task.config.progress_every_s:
            _write_last_row(folder, state, task, budget, written)
        written.files += plotted.result().files
        written.warnings += plotted.result().warnings
    phases.end("export")
    ended = {"outcome": outcome, "steps": state.step, "peak_memory_mb": peak_memory_mb()}
    ended |= record_of_choice(state, task)
    write_records(ended, every)
    for place, other in zip(places[1:], others, strict=True):
        written.warnings += [f"{place.name}: {line}" for line in other.warnings]
    # After the record: a callback may raise.
    pauses.tell()
    for line in written.warnings:
        callbacks.warn(line)
    more = [*sorted(folder.glob("candidates-*.png")), *sorted(folder.glob("stage-*.ply"))]
    results = [file for other in others for file in other.files[:1]]
    files = [*written.files, *results, *more, folder / "run.yaml", folder / LOG]
    return Result(
        folder,
        outcome,
        written.asset,
        state.step,
        budget.elapsed_s(),
        files,
        written.warnings,
        stop.signalled,
        [other.asset for other in others],
    )


def _write_all(places: Sequence[Path], state: TrainState) -> list[Written]:
    """Write what became of the first particles into their places, then pictures of all: a kill in
    between loses pictures alone. `UserError` if nothing can be written."""
    found: list[Written] = []
    faults: list[UserError] = []
    # Of several seeds, the first is the best so far; before the first round it is the first seed.
    for place, particle in zip(places, state.particles, strict=False):
        try:
            found.append(write_result(place, particle.representation))
        except UserError as error:
            faults.append(error)
            found.append(Written(warnings=[error.for_command_line]))
    if len(faults) == len(found):
        raise faults[0]
    for place, written in zip(places, found, strict=True):
        write_renders(place, written)
    return found


def _builtin_splats(plan: Plan, prompt: str, callbacks: Callbacks) -> Splats:
    """The splats of a short run of the built-in prior, in a folder of its own inside the run's."""
    callbacks.info(f"starting from {prompt!r} as the built-in prior makes it")
    request = start_request(plan.request, prompt, plan.folder, plan.device)

    def only_warnings(message: Message) -> None:
        if message.is_warning:
            callbacks.on_message(message)

    try:
        result = execute(prepare(request), Callbacks(only_warnings))
    except UserError as error:  # Its minutes are not those that the user gave.
        where = f"--start {plan.request.start}: in the short run of the built-in prior"
        raise UserError(f"{where}: {error.for_command_line}") from None
    if result.signalled:
        # As before the first iteration: there is nothing yet that could be exported.
        signal.raise_signal(signal.SIGTERM if result.outcome == "terminated" else signal.SIGINT)
    if result.outcome != "finished" or result.splats is None:
        raise UserError(
            f"--start {plan.request.start}: the run of the built-in prior ended early "
            f"({result.outcome}); leave --start out"
        )
    return result.splats


def size_of(asset: Asset | None) -> dict[str, int]:
    """The number of splats or triangles, for the record."""
    if asset is None:
        return {}
    return {"splats" if isinstance(asset, Splats) else "triangles": primitive_count(asset)}


def _warn_of_few(written: Written, plan: Plan, outcome: Outcome, state: TrainState) -> None:
    minutes, stages = plan.request.minutes, plan.config.stages
    # Of several seeds, the one that is kept.
    steps, each = state.particles[0].iterations, ""
    if plan.request.particles > 1:
        each = " of each particle"
    if outcome == "finished" and minutes is not None and steps < FEW_STEPS:
        written.warnings.append(
            f"only {steps} iterations{each} fitted into {minutes:g} min; "
            "a shape takes hundreds, so give more"
        )
    if outcome == "finished" and state.stage + 1 < len(stages):
        written.warnings.append(
            f"too few iterations ({state.step}): stage {state.stage + 2} of {len(stages)} "
            f"({stages[state.stage + 1].representation}) never began"
        )


def _import_ahead() -> None:
    """Import what only the pictures at the end need, which takes a second, beside the iterations.

    An import that fails here fails again, and is told, where the file is written.
    """
    for name in ("gs3d.runs.outputs.plot", "gs3d.io.image.mp4"):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _write_log_plot(folder: Path) -> Written:
    """Write log.png. Matplotlib draws it on one thread, while others render and encode."""

    def write(path: Path) -> None:
        from gs3d.runs.outputs.plot import write_plot

        write_plot(path, folder / LOG)

    plotted = Written()
    plotted.attempt(folder / PLOT, write, AGAIN)
    return plotted


def _write_last_row(
    folder: Path, state: TrainState, task: Task, budget: Budget, written: Written
) -> None:
    """Write the last row of progress.png."""

    def write(path: Path) -> None:
        add_row(path, state, task, budget.elapsed_s())

    written.attempt(folder / STRIP, write, AGAIN)

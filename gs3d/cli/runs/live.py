"""`gs3d generate --viewer`: shows a run in the viewer, then the runs that are requested there."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from gs3d.cli.assets.view import PORT, line_about, open_browser
from gs3d.cli.output import fault, say
from gs3d.core.errors import UserError
from gs3d.core.runtime import clock
from gs3d.distill.state import TrainState
from gs3d.ops.place import WORLD
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.execute import Result
from gs3d.runs.folders import next_folder, slug
from gs3d.runs.outputs.files import drawable
from gs3d.runs.request import Request
from gs3d.runs.signals import Command
from gs3d.viewer.controls import Asked, RunControls
from gs3d.viewer.server import listen
from gs3d.viewer.viewer import Viewer

MIN_INTERVAL_S = 1.0
"""Shortest time between two updates of the viewer."""
MAX_SHARE = 0.05
"""Largest share of the time of a run that is spent on updates of the viewer."""
Say = Callable[[str], None]
Watch = Callable[[TrainState], Command]


class RunFunction(Protocol):
    """Runs a request and prints its progress, as `generate.make` does.

    `watch_by` gets a function that prints a line, and returns the `Callbacks.control` of the run.
    `first` is true for the first run of the process.
    """

    def __call__(
        self, request: Request, watch_by: Callable[[Say], Watch], first: bool
    ) -> Result: ...


def in_viewer(request: Request, make: RunFunction, wait: bool) -> Result | None:
    """Run `request`, then the runs that are requested in the viewer, one after the other.

    Ends after Ctrl-C or SIGTERM; without `wait` it also ends when the queue of requests is empty.
    Returns the result of the first run, or of the run that a signal stopped. Returns None if that
    run had not begun.
    """
    with _open_viewer(request) as (viewer, controls):
        result = first = _run_and_show(request, make, viewer, controls, True)
        while first.asset is not None and not result.signalled:
            if wait:
                say(f"the viewer stays at {viewer.address}; Ctrl-C ends it")
            if (asked := controls.next(wait)) is None:
                break
            say(f"next: {asked.prompt!r}, seed {asked.seed}")
            status = viewer.about.content
            viewer.about.content = f"next: {asked.prompt}"
            try:
                request = _request_for(asked, request)
                result = _run_and_show(request, make, viewer, controls, False)
                error_text = None if result.asset is not None else "it has no result to show"
            except UserError as error:
                error_text = error.for_command_line
                fault(f"gs3d: {error.for_command_line}")
            except KeyboardInterrupt:
                fault(f"gs3d: interrupted before {asked.prompt!r} began")
                return None
            if error_text is not None:
                controls.end()
                viewer.about.content = status
                viewer.notify("No run", error_text)
        return result if result.signalled else first


@contextlib.contextmanager
def _open_viewer(request: Request) -> Iterator[tuple[Viewer, RunControls]]:
    """A viewer at the default port, or at any free one if that is in use."""
    try:
        sock = listen("127.0.0.1", PORT)
    except UserError:
        sock = listen("127.0.0.1", 0)
    with (
        contextlib.closing(sock),
        contextlib.closing(
            Viewer(sock, slug(request.prompt), WORLD, inside=request.mode == "scene")
        ) as viewer,
    ):
        yield viewer, RunControls(viewer, request.prompt, request.seed)


def _request_for(asked: Asked, before: Request) -> Request:
    """The last request with another prompt and seed, in a folder beside that of the last run.

    `resume` and `start` are not taken over: they apply to the last run only.
    """
    out = before.out
    if out is not None:
        parent = out.parent if out.name not in ("", "..") else out.resolve().parent
        out = next_folder(parent / f"{slug(asked.prompt)}-s{asked.seed}")
    return replace(before, prompt=asked.prompt, seed=asked.seed, out=out, resume=False, start=None)


def _run_and_show(
    request: Request, make: RunFunction, viewer: Viewer, controls: RunControls, first: bool
) -> Result:
    """Run a request and show its result in the viewer."""
    name = slug(request.prompt)
    controls.begin()
    result = make(
        request, lambda say: watching(viewer, controls, name, say if first else None), first
    )
    controls.end()
    if result.asset is not None:
        viewer.show(
            result.asset,
            f"{line_about(result.asset)} after {result.steps} steps: {result.folder}",
            name,
        )
    return result


def watching(viewer: Viewer, controls: RunControls, name: str, say: Say | None) -> Watch:
    """A `Callbacks.control` that shows the splats of a run and returns what the buttons request.

    The viewer is updated at most every MIN_INTERVAL_S, and only if another update as long as the
    last keeps the updates within MAX_SHARE of the time. During a pause it is updated once more;
    that time does not count as time of the run. Other representations are shown when the run ends.

    Args:
        name: Title of the viewer, and file name without suffix of images saved in the browser.
        say: Prints a line. If it is given, a browser opens after the first iteration.
    """
    run_s = spent_s = cost_s = since_update_s = 0.0
    shown_step = -1
    last_call: float | None = None
    command: Command = "continue"

    def watch(state: TrainState) -> Command:
        nonlocal run_s, spent_s, cost_s, since_update_s, shown_step, last_call, command
        now = clock.now()
        if last_call is None:
            if say is not None:
                say(f"watch it at {viewer.address}")
                open_browser(viewer.address)
        elif command == "continue":
            run_s, since_update_s = run_s + now - last_call, since_update_s + now - last_call
        paused = command == "pause"
        due = since_update_s >= MIN_INTERVAL_S and spent_s + cost_s <= MAX_SHARE * run_s
        if isinstance(state.representation, Gaussians) and (
            state.step != shown_step if paused else due
        ):
            splats, _ = drawable(state.representation.splats())
            if len(splats):
                viewer.show(splats, f"{line_about(splats)} at step {state.step}", name)
            shown_step, since_update_s = state.step, 0.0
            cost_s = clock.now() - now
            spent_s += 0.0 if paused else cost_s
        last_call, command = now, controls.command()
        return command

    return watch

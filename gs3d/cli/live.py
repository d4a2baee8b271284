"""`gs3d generate --viewer`: a run as it goes, in the viewer, its result, and the runs that are asked for there."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from gs3d.cli.controls import Asked, RunControls
from gs3d.cli.output import fault, say
from gs3d.cli.serving import listen
from gs3d.cli.view import PORT, line_about, open_browser
from gs3d.cli.view_data import WORLD
from gs3d.cli.viewer import Viewer
from gs3d.core.errors import UserError
from gs3d.representations.cloud import Cloud
from gs3d.training.export import sound
from gs3d.training.request import Request, next_folder, slug
from gs3d.training.run import Result
from gs3d.training.step import TrainState
from gs3d.training.stop import Wish

EVERY_S = 1.0
SHARE = 0.05
"""Of a run's time that may go into showing it."""
Say = Callable[[str], None]
Watch = Callable[[TrainState], Wish]


class Run(Protocol):
    """`generate.make`: the run of a request, with its lines for a person. `watch_by` gives what watches it, which may want to say more."""

    def __call__(self, request: Request, watch_by: Callable[[Say], Watch], first: bool) -> Result: ...


def in_viewer(request: Request, make: Run, wait: bool) -> Result:
    """Make `request`, then what is asked for in the viewer, one after the other; what became of the first.

    Ends with Ctrl-C, or, without `wait`, when nothing is asked for.
    """
    with _open_viewer(request) as (viewer, controls):
        result = first = _made(request, make, viewer, controls, True)
        while _goes_on(result, controls):
            if wait:
                say(f"stays at {viewer.address}; Ctrl-C ends it")
            if (asked := controls.next(wait)) is None:
                break
            request = _request_for(asked, request)
            say(f"next: {asked.prompt!r}, seed {asked.seed}")
            try:
                result = _made(request, make, viewer, controls, False)
            except UserError as error:
                fault(f"gs3d: {error}")
                controls.end()
                viewer.notify("No run", str(error))
        return first


@contextlib.contextmanager
def _open_viewer(request: Request) -> Iterator[tuple[Viewer, RunControls]]:
    """At the usual port, or at any that is free."""
    try:
        sock = listen("127.0.0.1", PORT)
    except UserError:
        sock = listen("127.0.0.1", 0)
    with contextlib.closing(sock), contextlib.closing(Viewer(sock, slug(request.prompt), WORLD)) as viewer:
        yield viewer, RunControls(viewer, request.prompt, request.seed)


def _request_for(asked: Asked, before: Request) -> Request:
    """The same with another prompt and seed, in a folder beside the last run's; what that one resumed or began from is not this one's."""
    out = before.out and next_folder(before.out.with_name(f"{slug(asked.prompt)}-s{asked.seed}"))
    return replace(before, prompt=asked.prompt, seed=asked.seed, out=out, resume=False, start=None)


def _made(request: Request, make: Run, viewer: Viewer, controls: RunControls, first: bool) -> Result:
    """The run, and its result in the viewer."""
    viewer.name = slug(request.prompt)
    controls.begin()
    if not first:
        viewer.about.content = f"next: {request.prompt}"
    result = make(request, lambda say: watching(viewer, controls, say if first else None), first)
    controls.end()
    if result.made is not None:
        viewer.show(result.made, f"{line_about(result.made)} after {result.steps} steps: {result.folder}")
    return result


def _goes_on(result: Result, controls: RunControls) -> bool:
    """Not after Ctrl-C, which ends a run as "Stop and export" does, or when there is nothing to look at."""
    stopped = result.outcome in ("interrupted", "terminated")
    return result.made is not None and (not stopped or controls.wish() == "stop")


def watching(viewer: Viewer, controls: RunControls, say: Say | None) -> Watch:
    """What `training.run.generate` takes as `watch`. With `say`, a browser is opened once the run has begun.

    Splats are shown at most every EVERY_S, and only when with another showing, as long as the last, SHARE of the time is not exceeded;
    and once more when the run waits, in time that is not its own. What is no splats is shown when it is done.
    """
    ran = spent = cost = since_shown = 0.0
    shown_step = -1
    seen: float | None = None
    wish: Wish = "go on"

    def watch(state: TrainState) -> Wish:
        nonlocal ran, spent, cost, since_shown, shown_step, seen, wish
        now = time.monotonic()
        if seen is None:
            if say is not None:
                say(f"watch it at {viewer.address}")
                open_browser(viewer.address)
        elif wish == "go on":
            ran, since_shown = ran + now - seen, since_shown + now - seen
        waits = wish == "wait"
        due = since_shown >= EVERY_S and spent + cost <= SHARE * ran
        if isinstance(state.shape, Cloud) and (state.step != shown_step if waits else due):
            splats, _ = sound(state.shape.splats())
            if len(splats):
                viewer.show(splats, f"{line_about(splats)} at step {state.step}")
            shown_step, since_shown = state.step, 0.0
            cost = time.monotonic() - now
            spent += 0.0 if waits else cost
        seen, wish = now, controls.wish()
        return wish

    return watch

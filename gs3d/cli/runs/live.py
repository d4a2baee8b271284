"""`gs3d generate --viewer`: a run as it goes, in the viewer, its result, and the runs that are asked for there."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from gs3d.cli.assets.view import PORT, line_about, open_browser
from gs3d.cli.output import fault, say
from gs3d.core.errors import UserError
from gs3d.distill.step import TrainState
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.generate import Result
from gs3d.runs.outputs.files import sound
from gs3d.runs.request import Request, next_folder, slug
from gs3d.runs.signals import Wish
from gs3d.viewer.controls import Asked, RunControls
from gs3d.viewer.scene import WORLD
from gs3d.viewer.server import listen
from gs3d.viewer.viewer import Viewer

EVERY_S = 1.0
SHARE = 0.05
"""Of a run's time that may go into showing it."""
Say = Callable[[str], None]
Watch = Callable[[TrainState], Wish]


class Run(Protocol):
    """`generate.make`: the run of a request, with its lines for a person. `watch_by` gives what watches it, which may want to say more."""

    def __call__(
        self, request: Request, watch_by: Callable[[Say], Watch], first: bool
    ) -> Result: ...


def in_viewer(request: Request, make: Run, wait: bool) -> Result | None:
    """Make `request`, then what is asked for in the viewer, one after the other.

    Ends with Ctrl-C or SIGTERM, or, without `wait`, when nothing is asked for. Gives what became of the first run, or of the one that a
    signal ended; None if that one had not begun.
    """
    with _open_viewer(request) as (viewer, controls):
        result = first = _made(request, make, viewer, controls, True)
        while first.asset is not None and not result.signalled:
            if wait:
                say(f"stays at {viewer.address}; Ctrl-C ends it")
            if (asked := controls.next(wait)) is None:
                break
            say(f"next: {asked.prompt!r}, seed {asked.seed}")
            about = viewer.about.content
            viewer.about.content = f"next: {asked.prompt}"
            try:
                request = _request_for(asked, request)
                result = _made(request, make, viewer, controls, False)
                refusal = None if result.asset is not None else "it left nothing that can be shown"
            except UserError as error:
                refusal = str(error)
                fault(f"gs3d: {error}")
            except KeyboardInterrupt:
                fault(f"gs3d: interrupted before {asked.prompt!r} began")
                return None
            if refusal is not None:
                controls.end()
                viewer.about.content = about
                viewer.notify("No run", refusal)
        return result if result.signalled else first


@contextlib.contextmanager
def _open_viewer(request: Request) -> Iterator[tuple[Viewer, RunControls]]:
    """At the usual port, or at any that is free."""
    try:
        sock = listen("127.0.0.1", PORT)
    except UserError:
        sock = listen("127.0.0.1", 0)
    with (
        contextlib.closing(sock),
        contextlib.closing(Viewer(sock, slug(request.prompt), WORLD)) as viewer,
    ):
        yield viewer, RunControls(viewer, request.prompt, request.seed)


def _request_for(asked: Asked, before: Request) -> Request:
    """The same with another prompt and seed, in a folder beside the last run's; what that one resumed or began from is not this one's."""
    out = before.out
    if out is not None:
        parent = out.parent if out.name not in ("", "..") else out.resolve().parent
        out = next_folder(parent / f"{slug(asked.prompt)}-s{asked.seed}")
    return replace(before, prompt=asked.prompt, seed=asked.seed, out=out, resume=False, start=None)


def _made(
    request: Request, make: Run, viewer: Viewer, controls: RunControls, first: bool
) -> Result:
    """The run, and its result in the viewer."""
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
    """What `training.run.generate` takes as `watch`; pictures are called `name`. With `say`, a browser is opened once the run has begun.

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
        if isinstance(state.representation, Gaussians) and (
            state.step != shown_step if waits else due
        ):
            splats, _ = sound(state.representation.splats())
            if len(splats):
                viewer.show(splats, f"{line_about(splats)} at step {state.step}", name)
            shown_step, since_shown = state.step, 0.0
            cost = time.monotonic() - now
            spent += 0.0 if waits else cost
        seen, wish = now, controls.wish()
        return wish

    return watch

"""`gs3d generate --viewer`: a run as it goes, in the viewer, and its result."""

import contextlib
import time
from collections.abc import Callable, Iterator

from gs3d.cli.serving import listen
from gs3d.cli.view import PORT, line_about, open_browser, wait_for_ctrl_c
from gs3d.cli.view_data import WORLD
from gs3d.cli.viewer import Viewer
from gs3d.core.errors import UserError
from gs3d.representations.cloud import Cloud
from gs3d.training.export import sound
from gs3d.training.request import slug
from gs3d.training.run import Result
from gs3d.training.step import TrainState
from gs3d.training.stop import Wish

EVERY_S = 1.0
SHARE = 0.05
"""Of a run's time that may go into showing it."""


@contextlib.contextmanager
def live_viewer(prompt: str) -> Iterator[Viewer]:
    """At the usual port, or at any that is free."""
    try:
        sock = listen("127.0.0.1", PORT)
    except UserError:
        sock = listen("127.0.0.1", 0)
    with contextlib.closing(sock), contextlib.closing(Viewer(sock, slug(prompt), WORLD)) as viewer:
        viewer.add_run_buttons()
        yield viewer


def watching(viewer: Viewer, say: Callable[[str], None]) -> Callable[[TrainState], Wish]:
    """What `training.run.generate` takes as `watch`. A browser is opened once the run has begun.

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
        seen, wish = now, viewer.wish()
        return wish

    return watch


def show_result(viewer: Viewer, result: Result, say: Callable[[str], None]) -> None:
    """Until Ctrl-C; not at all for a run that Ctrl-C has ended already."""
    if result.made is None or (result.outcome in ("interrupted", "terminated") and viewer.wish() != "stop"):
        return
    viewer.remove_run_buttons()
    viewer.show(result.made, f"{line_about(result.made)} after {result.steps} steps: {result.folder}")
    say(f"stays at {viewer.address}; Ctrl-C ends it")
    wait_for_ctrl_c()

"""Controls of a run in the viewer: buttons to pause and stop it, and a form for the next run."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gs3d.core.errors import UserError
from gs3d.priors.prompts import check_prompt
from gs3d.runs.signals import Command
from gs3d.viewer.text import PlainText

if TYPE_CHECKING:
    from gs3d.viewer.viewer import Viewer

POLL_S = 0.1
"""Interval between checks of the queue. A wait without a timeout blocks Ctrl-C on some systems."""


@dataclass(frozen=True)
class Asked:
    """A run that was requested in the browser."""

    prompt: str
    seed: int


class RunControls:
    """Buttons and a form in the panel of a viewer. Their callbacks run in threads of viser."""

    def __init__(self, viewer: "Viewer", prompt: str, seed: int):
        """Add the controls to `viewer`, with `prompt` and `seed` filled into the form."""
        self._viewer, self._change = viewer, threading.Condition()
        self._command: Command = "continue"
        self._queue: deque[Asked] = deque()
        gui = viewer.server.gui
        self.pause, self.stop = gui.add_button("Pause"), gui.add_button("Stop and export")
        with gui.add_folder("Next run"):
            self.prompt = gui.add_text("Prompt", prompt)
            self.seed = gui.add_number("Seed", seed, step=1)
            self.make = gui.add_button("Add to queue")
            self.waiting = PlainText(gui)
        for button, callback in (
            (self.pause, self._toggle_pause),
            (self.stop, self._stop),
            (self.make, self._enqueue),
        ):
            button.on_click(lambda _, callback=callback: callback())

    def _toggle_pause(self) -> None:
        with self._change:
            if self._command != "stop":
                self._command = "continue" if self._command == "pause" else "pause"
                self.pause.label = "Resume" if self._command == "pause" else "Pause"

    def _stop(self) -> None:
        with self._change:
            self._command = "stop"
            self.pause.disabled = self.stop.disabled = True

    def _enqueue(self) -> None:
        try:
            request = Asked(check_prompt(self.prompt.value), int(self.seed.value))
        except UserError as error:
            self._viewer.notify("No run", error.for_command_line)
            return
        with self._change:
            self._queue.append(request)
            self._show_queue()

    def _show_queue(self) -> None:
        self.waiting.content = "\n".join(
            f"{i}. {request.prompt}, seed {request.seed}"
            for i, request in enumerate(self._queue, 1)
        )

    def begin(self) -> None:
        """Show the buttons for a new run, which continues until a button is pressed."""
        with self._change:
            self._command, self.pause.label = "continue", "Pause"
            for button in (self.pause, self.stop):
                button.disabled, button.visible = False, True

    def end(self) -> None:
        """Hide the buttons, because no run is active."""
        with self._change:
            self.pause.visible = self.stop.visible = False

    def command(self) -> Command:
        """Whether the user wants the run to continue, pause or stop."""
        return self._command

    def next(self, wait: bool) -> Asked | None:
        """Take the oldest request from the queue.

        If the queue is empty, returns None, or with `wait` waits for a request. Ctrl-C ends the
        wait and returns None.
        """
        with self._change:
            try:
                while wait and not self._queue:
                    self._change.wait(POLL_S)
            except KeyboardInterrupt:
                return None
            request = self._queue.popleft() if self._queue else None
            self._show_queue()
            return request

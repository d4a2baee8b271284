"""What whoever looks at a run can do with it: pause it, stop it, and ask for the next one."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gs3d.core.errors import UserError
from gs3d.priors.prompts import check_prompt
from gs3d.runs.signals import Wish

if TYPE_CHECKING:
    from gs3d.viewer.viewer import Viewer

POLL_S = 0.1
"""Between two looks at what is asked for: a wait without an end would not let Ctrl-C through on every system."""


@dataclass(frozen=True)
class Asked:
    """A run that somebody asked for in the browser."""

    prompt: str
    seed: int


class RunControls:
    """Buttons in the panel of a viewer; browsers press them in threads of their own."""

    def __init__(self, viewer: "Viewer", prompt: str, seed: int):
        self._viewer, self._change = viewer, threading.Condition()
        self._wish: Wish = "go on"
        self._asked: deque[Asked] = deque()
        gui = viewer.server.gui
        self.pause, self.stop = gui.add_button("Pause"), gui.add_button("Stop and export")
        with gui.add_folder("Next run"):
            self.prompt = gui.add_text("Prompt", prompt)
            self.seed = gui.add_number("Seed", seed, step=1)
            self.make = gui.add_button("Make it next")
            self.waiting = gui.add_markdown("")
        for button, pressed in (
            (self.pause, self._pressed_pause),
            (self.stop, self._pressed_stop),
            (self.make, self._pressed_make),
        ):
            button.on_click(lambda _, pressed=pressed: pressed())

    def _pressed_pause(self) -> None:
        with self._change:
            if self._wish != "stop":
                self._wish = "go on" if self._wish == "wait" else "wait"
                self.pause.label = "Resume" if self._wish == "wait" else "Pause"

    def _pressed_stop(self) -> None:
        with self._change:
            self._wish = "stop"
            self.pause.disabled = self.stop.disabled = True

    def _pressed_make(self) -> None:
        try:
            asked = Asked(check_prompt(self.prompt.value), int(self.seed.value))
        except UserError as error:
            self._viewer.notify("No run", str(error))
            return
        with self._change:
            self._asked.append(asked)
            self._list()

    def _list(self) -> None:
        self.waiting.content = "\n".join(
            f"{i}. {a.prompt}, seed {a.seed}" for i, a in enumerate(self._asked, 1)
        )

    def begin(self) -> None:
        """A run begins: it goes on until a button says otherwise."""
        with self._change:
            self._wish, self.pause.label = "go on", "Pause"
            for button in (self.pause, self.stop):
                button.disabled, button.visible = False, True

    def end(self) -> None:
        """There is no run to be paused or stopped."""
        with self._change:
            self.pause.visible = self.stop.visible = False

    def wish(self) -> Wish:
        """What whoever looks wants the run to do."""
        return self._wish

    def next(self, wait: bool) -> Asked | None:
        """What was asked for first and is not made yet. None if there is nothing; with `wait`, once there is something, or Ctrl-C."""
        with self._change:
            try:
                while wait and not self._asked:
                    self._change.wait(POLL_S)
            except KeyboardInterrupt:
                return None
            asked = self._asked.popleft() if self._asked else None
            self._list()
            return asked

"""Runs in tests: a request prepared and executed, with plain functions as callbacks."""

from gs3d.runs.callbacks import Callbacks
from gs3d.runs.execute import Result, execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request


def generate(request: Request, report=None, say=None, watch=None) -> Result:
    """Execute `request`; `say` gets each message as a line, warnings with "warning: " before."""
    given = {"on_step": report, "control": watch}
    if say is not None:
        given["on_message"] = lambda m: say(f"warning: {m.text}" if m.is_warning else m.text)
    callbacks = Callbacks(**{name: value for name, value in given.items() if value is not None})
    return execute(prepare(request), callbacks)

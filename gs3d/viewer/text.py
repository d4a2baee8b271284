"""Text in the panel of the viewer, shown as it is."""

import html
from typing import TYPE_CHECKING

from gs3d.io.text import encodable

if TYPE_CHECKING:
    import viser

STYLE = "font-size: 0.875rem; padding: 0 0.75em 0.5em; white-space: pre-wrap; "
STYLE += "overflow-wrap: anywhere"


class PlainText:
    """A text in the panel. It may be a prompt or the name of a folder, which anyone can have made.

    viser's own element for texts is Markdown. It shows the HTML in a text as it is, and reads the
    images that a text names from the disk of this machine.
    """

    def __init__(self, gui: "viser.GuiApi") -> None:
        """Add an empty text to the panel."""
        self._handle, self._content = gui.add_html(""), ""

    @property
    def content(self) -> str:
        """The text, in one or more lines."""
        return self._content

    @content.setter
    def content(self, text: str) -> None:
        self._content = text
        shown = html.escape(encodable(text))
        self._handle.content = f'<div style="{STYLE}">{shown}</div>' if text else ""

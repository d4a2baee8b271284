"""The header of a PLY file, parsed and checked against the file's length before any allocation."""

import re
from dataclasses import dataclass
from pathlib import Path

from gs3d.core.errors import UserError

COMMENT = "gs3d 0.1 frame=up-y,front+z"
"""Comment in files of gs3d that states their coordinate system; see gs3d.io.splats.ply."""
MAX_HEADER_BYTES = 1 << 20
_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
}
_TYPES |= {
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
FIRST_LINE = re.compile(rb"ply[ \t]*(\r\n|\n|\r)")
LAST_LINE = re.compile(rb"\nend_header[ \t]*\r?\n")
LAST_LINE_CR = re.compile(rb"\rend_header[ \t]*\r")
"""Where lines end with CR alone: a line feed after it belongs to the first row."""
_FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")


@dataclass
class Element:
    """A PLY element: `count` rows with the same properties."""

    name: str
    count: int
    properties: dict[str, str]
    """Scalar properties: name → numpy type code such as f4."""
    lists: dict[str, tuple[str, str]]
    """List properties: name → type codes of the length and of a number."""
    order: list[str]
    """Names of all properties in the order of the file."""

    def min_row_bytes(self) -> int:
        """Minimum bytes of a row in a binary file; exact if there are no lists."""
        scalars = sum(int(code[1]) for code in self.properties.values())
        return scalars + sum(int(length[1]) for length, _ in self.lists.values())


@dataclass
class Header:
    """A parsed PLY header."""

    format: str
    comments: list[str]
    elements: list[Element]
    length: int
    """Offset of the first row in bytes."""

    def element(self, name: str) -> Element | None:
        """The first element with this name, or None."""
        return next((e for e in self.elements if e.name == name), None)


def invalid_ply(path: Path, what: str) -> UserError:
    """The UserError for a PLY that cannot be read, for the reason `what`."""
    return UserError(
        f"cannot read {path}: {what}. "
        "Check that the file is a PLY of Gaussian splats and was copied completely."
    )


def _parse_count(path: Path, line: str, text: str) -> int:
    if not text.isdecimal():
        raise invalid_ply(
            path,
            f"expected a whole number of rows in the header line {line[:80]!r}, got {text[:40]!r}",
        )
    if len(text) > 18:
        raise invalid_ply(
            path, f"the header declares {text[:12]}… rows, more than any file can hold"
        )
    return int(text)


def _parse_property(path: Path, line: str, words: list[str], element: Element) -> None:
    types = words[1:2] if words[1:2] != ["list"] else words[2:4]
    expected = 3 if len(types) == 1 else 5
    if len(words) != expected or any(t not in _TYPES for t in types):
        raise invalid_ply(
            path, f"expected `property <type> <name>` in the header, got {line[:80]!r}"
        )
    name = words[-1]
    if name in element.properties or name in element.lists:
        raise invalid_ply(
            path, f"the header names the property {name[:40]} of {element.name[:40]} twice"
        )
    element.order.append(name)
    if len(types) == 2:
        element.lists[name] = (_TYPES[types[0]], _TYPES[types[1]])
    else:
        element.properties[name] = _TYPES[types[0]]


def read_header(path: Path) -> Header:
    """Parse the header of `path`. UserError if it is not a PLY header. OSError passes through."""
    with open(path, "rb") as stream:
        start = stream.read(MAX_HEADER_BYTES)
    if not start:
        raise invalid_ply(path, "the file is empty")
    if (first := FIRST_LINE.match(start)) is None:
        raise invalid_ply(
            path, f"expected a file that begins with the line 'ply', got {start[:8]!r}"
        )
    last = (LAST_LINE_CR if first[1] == b"\r" else LAST_LINE).search(start, first.end() - 1)
    if last is None:
        raise invalid_ply(
            path, f"expected the line 'end_header' in the first {len(start)} bytes, found none"
        )
    header = Header("", [], [], last.end())
    lines = start[first.end() : last.start()].split(first[1][-1:])
    for line in (_decoded(path, line.rstrip(b"\r")) for line in lines):
        words = line.split()
        keyword = words[0] if words else ""
        if keyword == "comment":
            header.comments.append(line[len("comment ") :])
        elif keyword == "format" and len(words) == 3 and words[1] in _FORMATS:
            header.format = words[1]
        elif keyword == "element" and len(words) == 3:
            header.elements.append(
                Element(words[1], _parse_count(path, line, words[2]), {}, {}, [])
            )
        elif keyword == "property" and header.elements:
            _parse_property(path, line, words, header.elements[-1])
        elif keyword not in ("", "obj_info"):
            raise invalid_ply(path, f"the header line {line[:80]!r} is not valid PLY")
    if not header.format:
        raise invalid_ply(
            path, f"expected a header line `format` with one of {', '.join(_FORMATS)}, found none"
        )
    return header


def _decoded(path: Path, line: bytes) -> str:
    """A line of the header. Only comments may hold other characters than those of ASCII."""
    if line.isascii():
        return line.decode()
    if line.split(maxsplit=1)[:1] not in ([b"comment"], [b"obj_info"]):
        raise invalid_ply(path, f"expected plain ASCII in the header, got {line[:40]!r}")
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def check_length(path: Path, header: Header) -> None:
    """UserError if `path` is too short for the rows that its header declares.

    Call this before any allocation, so that a false row count cannot fill the memory.
    """
    least = 0
    for element in header.elements:
        columns = len(element.properties) + len(element.lists)
        if element.count and not columns:
            raise invalid_ply(
                path,
                f"the header declares {element.count} rows of {element.name[:40]} "
                "without a property",
            )
        # A number in text takes at least a digit and a separator. The last number of the file
        # needs no separator.
        row_bytes = 2 * columns if header.format == "ascii" else element.min_row_bytes()
        least += element.count * row_bytes
    least -= header.format == "ascii" and least > 0
    got = path.stat().st_size - header.length
    if got < least:
        rows = ", ".join(f"{e.count} {e.name}" for e in header.elements)[:200]
        raise invalid_ply(
            path,
            f"it is cut short: the header declares {rows}, at least {least} bytes, "
            f"but {got} bytes follow it",
        )


def vertical_axis(header: Header) -> tuple[int, int] | None:
    """(axis 0 to 2, sign) that a comment names as up, as "Vertical Axis: z" of nerfstudio does."""
    for comment in header.comments:
        if match := re.fullmatch(r"\s*vertical axis\s*[:=]\s*([+-]?)([xyz])\s*", comment, re.I):
            return "xyz".index(match[2].lower()), -1 if match[1] == "-" else 1
    return None


def is_own(header: Header) -> bool:
    """Whether gs3d wrote the file."""
    return any(comment.startswith("gs3d ") for comment in header.comments)


def check_coordinates(path: Path, header: Header) -> None:
    """UserError if a gs3d comment names an unknown coordinate system."""
    systems = [
        word
        for comment in header.comments
        if comment.startswith("gs3d ")
        for word in comment.split()
        if word.startswith("frame=")
    ]
    if systems and systems[-1] not in COMMENT.split():
        expected = COMMENT.split()[-1]
        raise UserError(
            f"cannot read {path}: expected {expected}, got {systems[-1][:40]}, of a newer gs3d. "
            "Update gs3d."
        )

"""The header of a PLY file, read before anything is allocated: what the file promises, held against how long it is."""

from dataclasses import dataclass
from pathlib import Path

from gs3d.core.errors import UserError

COMMENT = "gs3d 0.1 frame=up-y,front+z"
"""Of our files: which frame they are in, see ply.py."""
MAX_HEADER_BYTES = 1 << 20
_BYTES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "double": 8}
_BYTES |= {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float32": 4, "float64": 8}
_FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")


@dataclass
class Element:
    """`count` rows of scalar `properties` (name → bytes); `lists` are the names of list properties, each of `list_bytes` at least."""

    name: str
    count: int
    properties: dict[str, int]
    lists: list[str]
    list_bytes: int = 0


@dataclass
class Header:
    format: str
    comments: list[str]
    elements: list[Element]
    length: int
    """Bytes up to the first row."""

    def element(self, name: str) -> Element | None:
        return next((e for e in self.elements if e.name == name), None)


def bad(path: Path, what: str) -> UserError:
    return UserError(f"cannot read {path}: {what}. Check that the file is a PLY of Gaussian splats and was copied whole.")


def _number(path: Path, line: str, text: str) -> int:
    if not text.isdecimal():
        raise bad(path, f"expected a whole number of rows in the header line {line!r}, got {text[:40]!r}")
    if len(text) > 18:
        raise bad(path, f"the header promises {text[:12]}… rows, more than any file holds")
    return int(text)


def _property(path: Path, line: str, words: list[str], element: Element) -> None:
    types = words[1:2] if words[1:2] != ["list"] else words[2:4]
    expected = 3 if len(types) == 1 else 5
    if len(words) != expected or any(t not in _BYTES for t in types):
        raise bad(path, f"expected `property <type> <name>` in the header, got {line[:80]!r}")
    name = words[-1]
    if name in element.properties or name in element.lists:
        raise bad(path, f"the header names the property {name} of {element.name} twice")
    if len(types) == 2:
        element.lists.append(name)
        element.list_bytes += _BYTES[types[0]]
    else:
        element.properties[name] = _BYTES[types[0]]


def read_header(path: Path) -> Header:
    """The header of `path`. UserError if it is not a PLY header. OSError passes through."""
    with open(path, "rb") as stream:
        start = stream.read(MAX_HEADER_BYTES)
    if not start:
        raise bad(path, "the file is empty")
    if start[:4] not in (b"ply\n", b"ply\r"):
        raise bad(path, f"expected a file that begins with the line 'ply', got {start[:8]!r}")
    newline = b"\r\n" if start[:5] == b"ply\r\n" else start[3:4]
    end = start.find(newline + b"end_header" + newline)
    if end < 0:
        raise bad(path, f"expected the line 'end_header' in the first {len(start)} bytes, found none")
    try:
        lines = start[:end].decode("ascii").split(newline.decode())[1:]
    except UnicodeDecodeError:
        raise bad(path, "expected plain ASCII in the header, got other bytes") from None
    header = Header("", [], [], end + 2 * len(newline) + len(b"end_header"))
    for line in lines:
        words = line.split()
        keyword = words[0] if words else ""
        if keyword == "comment":
            header.comments.append(line[len("comment ") :])
        elif keyword == "format" and len(words) == 3 and words[1] in _FORMATS:
            header.format = words[1]
        elif keyword == "element" and len(words) == 3:
            header.elements.append(Element(words[1], _number(path, line, words[2]), {}, []))
        elif keyword == "property" and header.elements:
            _property(path, line, words, header.elements[-1])
        elif keyword not in ("", "obj_info"):
            raise bad(path, f"the header line {line[:80]!r} is not understood")
    if not header.format:
        raise bad(path, f"expected a header line `format` with one of {', '.join(_FORMATS)}, found none")
    return header


def check_length(path: Path, header: Header) -> None:
    """UserError if `path` is too short for the rows that its header promises, so that a false count is never allocated."""
    least = 0
    for element in header.elements:
        columns = len(element.properties) + len(element.lists)
        if element.count and not columns:
            raise bad(path, f"the header promises {element.count} rows of {element.name} without a property")
        # A number in text takes a digit and a space or the end of the line, except for the last of the file.
        row = 2 * columns if header.format == "ascii" else sum(element.properties.values()) + element.list_bytes
        least += element.count * row
    least -= header.format == "ascii" and least > 0
    got = path.stat().st_size - header.length
    if got < least:
        rows = ", ".join(f"{e.count} {e.name}" for e in header.elements)
        raise bad(path, f"it is cut short: the header promises {rows}, at least {least} bytes, but {got} bytes follow it")


def check_frame(path: Path, header: Header) -> None:
    """UserError if a comment of ours names a frame that is not known here."""
    frames = [word for comment in header.comments if comment.startswith("gs3d ") for word in comment.split() if word.startswith("frame=")]
    if frames and frames[-1] not in COMMENT.split():
        expected = COMMENT.split()[-1]
        raise UserError(f"cannot read {path}: expected {expected}, got {frames[-1]}, of a newer gs3d. Update gs3d.")

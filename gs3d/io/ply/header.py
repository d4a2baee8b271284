"""The header of a PLY file, read before anything is allocated: what the file promises, held against how long it is."""

from dataclasses import dataclass
from pathlib import Path

from gs3d.core.errors import UserError

COMMENT = "gs3d 0.1 frame=up-y,front+z"
"""Of our files: which frame they are in, see ply.py."""
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
_FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")


@dataclass
class Element:
    """`count` rows of scalar `properties`, name → numpy's code of its type such as f4; `lists` are the names of list properties."""

    name: str
    count: int
    properties: dict[str, str]
    lists: list[str]
    list_bytes: int = 0
    """What a row of empty lists takes."""

    def least_bytes(self) -> int:
        """What a row takes, in a binary file; exactly that if there are no lists."""
        return sum(int(code[1]) for code in self.properties.values()) + self.list_bytes


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
    return UserError(
        f"cannot read {path}: {what}. Check that the file is a PLY of Gaussian splats and was copied whole."
    )


def _number(path: Path, line: str, text: str) -> int:
    if not text.isdecimal():
        raise bad(
            path,
            f"expected a whole number of rows in the header line {line[:80]!r}, got {text[:40]!r}",
        )
    if len(text) > 18:
        raise bad(path, f"the header promises {text[:12]}… rows, more than any file holds")
    return int(text)


def _property(path: Path, line: str, words: list[str], element: Element) -> None:
    types = words[1:2] if words[1:2] != ["list"] else words[2:4]
    expected = 3 if len(types) == 1 else 5
    if len(words) != expected or any(t not in _TYPES for t in types):
        raise bad(path, f"expected `property <type> <name>` in the header, got {line[:80]!r}")
    name = words[-1]
    if name in element.properties or name in element.lists:
        raise bad(path, f"the header names the property {name[:40]} of {element.name[:40]} twice")
    if len(types) == 2:
        element.lists.append(name)
        element.list_bytes += int(_TYPES[types[0]][1])
    else:
        element.properties[name] = _TYPES[types[0]]


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
        raise bad(
            path, f"expected the line 'end_header' in the first {len(start)} bytes, found none"
        )
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
        raise bad(
            path, f"expected a header line `format` with one of {', '.join(_FORMATS)}, found none"
        )
    return header


def check_length(path: Path, header: Header) -> None:
    """UserError if `path` is too short for the rows that its header promises, so that a false count is never allocated."""
    least = 0
    for element in header.elements:
        columns = len(element.properties) + len(element.lists)
        if element.count and not columns:
            raise bad(
                path,
                f"the header promises {element.count} rows of {element.name[:40]} without a property",
            )
        # A number in text takes a digit and a space or the end of the line, except for the last of the file.
        least += element.count * (
            2 * columns if header.format == "ascii" else element.least_bytes()
        )
    least -= header.format == "ascii" and least > 0
    got = path.stat().st_size - header.length
    if got < least:
        rows = ", ".join(f"{e.count} {e.name}" for e in header.elements)[:200]
        raise bad(
            path,
            f"it is cut short: the header promises {rows}, at least {least} bytes, but {got} bytes follow it",
        )


def start_of(path: Path, header: Header, name: str) -> int:
    """Where in a binary file the rows of the element `name`, which is there, start. UserError if there are lists up to then."""
    start = header.length
    for element in header.elements:
        if element.lists:
            raise bad(
                path,
                f"expected one number a row, got the list {element.lists[0][:40]} of {element.name[:40]}",
            )
        if element.name == name:
            break
        start += element.count * element.least_bytes()
    return start


def check_frame(path: Path, header: Header) -> None:
    """UserError if a comment of ours names a frame that is not known here."""
    frames = [
        word
        for comment in header.comments
        if comment.startswith("gs3d ")
        for word in comment.split()
        if word.startswith("frame=")
    ]
    if frames and frames[-1] not in COMMENT.split():
        expected = COMMENT.split()[-1]
        raise UserError(
            f"cannot read {path}: expected {expected}, got {frames[-1][:40]}, of a newer gs3d. Update gs3d."
        )

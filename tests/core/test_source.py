"""Which edits of a file count as a change of its code."""

import pytest

from gs3d.core.source import code_of

SOURCE = '''
"""Module."""
RATE = 0.5  # a comment


class Grid:
    """A grid."""

    size: int = 3
    """Voxels."""

    def area(self, side: float, *, scale: float = 1.0) -> float:
        """The area."""
        return self.size * side * scale
'''


@pytest.mark.parametrize(
    "old,new",
    [
        ("Module.", "Another text."),
        ("# a comment", ""),
        ("The area.", "Its area\n\n        in pixels."),
        ("Voxels.", "Grid resolution."),
        ('        """The area."""\n', ""),
        (
            '"""Module."""\n',
            "from __future__ import annotations\nif TYPE_CHECKING:\n    import x\n",
        ),
        ("side: float", "side"),
        ("size: int", "size: Any"),
        (") -> float", ") -> Float[Array, 'N']"),
        ("self.size * side * scale", "(self.size * side\n                * scale)"),
    ],
)
def test_words_and_layout_are_no_change(old, new):
    assert old in SOURCE and code_of(SOURCE.replace(old, new)) == code_of(SOURCE)


@pytest.mark.parametrize(
    "old,new",
    [
        ("0.5", "0.25"),
        ("int = 3", "int = 4"),
        ("scale: float = 1.0", "scale: float = 2.0"),
        ("* side", "/ side"),
        ("RATE", "RATES"),
    ],
)
def test_other_code_is_a_change(old, new):
    assert old in SOURCE and code_of(SOURCE.replace(old, new)) != code_of(SOURCE)


def test_a_class_of_annotations_without_values_keeps_its_fields():
    assert code_of("class A:\n    x: int") != code_of("class A:\n    y: int")

"""Command-line types that the training scripts share."""

from pathlib import Path
from typing import Annotated

import tyro

DatasetFolder = Annotated[Path, tyro.conf.arg(aliases=["--pool"])]
"""`--pool` is the former spelling of `--dataset`."""
MetricsOnly = Annotated[bool, tyro.conf.arg(aliases=["--marks-only"])]
"""`--marks-only` is the former spelling of `--metrics-only`."""


def _read_half(values: list[str]) -> bool | None:
    choices = {"True": True, "False": False, "None": None}
    if len(values) > 1 or not set(values) <= set(choices):
        raise ValueError(f"expected nothing, True, False or None, got {' '.join(values)}")
    return choices[values[0]] if values else True


Half = Annotated[
    bool | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[{True,False,None}]",
        instance_from_str=_read_half,
        is_instance=lambda value: value is None or isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    ),
]
"""A bare `--half` means `--half True`."""

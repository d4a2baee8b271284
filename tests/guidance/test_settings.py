"""A class in `GUIDANCE` that cannot hold settings is named, with what to do."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.distill.changes import check_path
from gs3d.distill.config import load_config
from gs3d.guidance import GUIDANCE, Sds


class NoDataclass:
    scale: float = 1.0


@dataclass(frozen=True)
class TensorField:
    scale: Tensor | None = None


@dataclass(frozen=True)
class NoDefault:
    time: float


class NoDecorator(Sds):
    scale: float = 1.0


@dataclass(frozen=True)
class EveryType(Sds):
    kind: ClassVar[str] = "x"
    count: int | None = None
    ends: tuple[float, ...] = (0.0, 1.0)
    curve: Literal["a", "b"] = "a"
    name: str = "x"


@pytest.mark.parametrize(
    "loss, named",
    [
        (NoDataclass, "NoDataclass: "),
        (TensorField, "TensorField.scale: "),
        (NoDefault, "NoDefault.time: "),
        (NoDecorator, "NoDecorator.scale: "),
        (Sds(), "Sds("),
    ],
)
@pytest.mark.parametrize("changes", [(), ("losses.x.scale=3",)])
def test_loss_that_cannot_hold_settings_is_named(monkeypatch, loss, named, changes):
    monkeypatch.setitem(GUIDANCE, "x", loss)
    for call in (lambda: load_config("builtin", "x", changes), lambda: check_path("batch=2")):
        with pytest.raises(UserError) as caught:
            call()
        text = str(caught.value)
        assert text.startswith(f"GUIDANCE: {named}") and "\n" not in text
        assert "expected a dataclass whose fields have defaults; types int, float" in text


def test_loss_with_every_allowed_type_is_set(monkeypatch):
    monkeypatch.setitem(GUIDANCE, "x", EveryType)
    changes = ("losses.x.ends=[2, 3, 4]", "losses.x.count=3", "losses.x.curve=b")
    loss = load_config("builtin", "x", changes).stages[0].guidance
    assert loss == EveryType(count=3, ends=(2.0, 3.0, 4.0), curve="b")
    with pytest.raises(UserError, match="unknown setting 'losses.x.kind'"):
        check_path("losses.x.kind=y")

"""A class in `GUIDANCE` that cannot hold settings is named, with what to do."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.core.schedules import Ramp
from gs3d.distill.settings.changes import check_path
from gs3d.distill.settings.config import load_config
from gs3d.guidance import GUIDANCE, Sds
from gs3d.guidance.distillation import Inputs
from tests.guidance.analytic import CONDITION, Mixture


class NoDataclass:
    scale: float = 1.0


@dataclass(frozen=True)
class TensorField:
    scale: Tensor | None = None


@dataclass(frozen=True)
class NoDefault:
    time: float


@dataclass(frozen=True)
class EveryType(Sds):
    kind: ClassVar[str] = "x"
    count: int | None = None
    ends: tuple[float, ...] = (0.0, 1.0)
    curve: Literal["a", "b"] = "a"
    name: str = "x"


@pytest.mark.parametrize(
    "loss, named", [(NoDataclass, "NoDataclass"), (NoDefault, "NoDefault"), (Sds(), "Sds(")]
)
def test_loss_that_cannot_hold_settings_is_named(monkeypatch, loss, named):
    monkeypatch.setitem(GUIDANCE, "x", loss)
    for call in (lambda: load_config("builtin", "x"), lambda: check_path("batch=2")):
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value).startswith(f"GUIDANCE: {named}")
        assert str(caught.value).endswith("expected a dataclass whose fields all have defaults")


def test_setting_of_another_type_is_refused(monkeypatch):
    monkeypatch.setitem(GUIDANCE, "x", TensorField)
    with pytest.raises(UserError, match="scale=3: a setting cannot have the type Tensor"):
        load_config("builtin", "x", ["losses.x.scale=3"])


def test_loss_with_every_allowed_type_is_set(monkeypatch):
    monkeypatch.setitem(GUIDANCE, "x", EveryType)
    changes = ("losses.x.ends=[2, 3, 4]", "losses.x.count=3", "losses.x.curve=b")
    loss = load_config("builtin", "x", changes).stages[0].guidance
    assert loss == EveryType(count=3, ends=(2.0, 3.0, 4.0), curve="b")
    with pytest.raises(UserError, match="unknown setting 'losses.x.kind'"):
        check_path("losses.x.kind=y")


def test_random_times_narrow():
    loss = Sds(t=Ramp(0.9, 0.1), narrow_t=(0.5, 0.3))
    z0 = torch.zeros(1, 3, 2, 2)
    prior = Mixture(z0, 1.0)

    def times(progress):
        inputs = [Inputs(prior, CONDITION, z0, z0, progress, 0, step) for step in range(200)]
        return [loss.time(each) for each in inputs]

    before, after = times(0.49), times(0.5)
    assert min(before) < 0.15 and max(before) > 0.85
    assert 0.1 <= min(after) < 0.12 and 0.28 < max(after) <= 0.3


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"narrow_t": (0.5, 0.05)}, "a time in the range of t"),
        ({"narrow_t": (0.0, 0.3)}, r"expected numbers in \(0, 1\]"),
        ({"narrow_t": (0.5, 0.3), "random_t": False}, "none without random_t"),
    ],
)
def test_times_that_cannot_narrow_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Sds(t=Ramp(0.9, 0.1), **settings)

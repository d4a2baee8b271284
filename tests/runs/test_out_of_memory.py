"""A card whose memory is too small for a batch: half the micro-batch once, then the end."""

import dataclasses

import pytest
import torch

import gs3d
from gs3d.core.errors import UserError
from gs3d.priors import load
from gs3d.runs import setup
from tests.cli.commands import run
from tests.runs.running import generate, log_rows, request_for

SPLATS = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
gaussians: {count: 200}
densify: {rounds: 4}
losses:
  cds: {cfg: {start: 5, end: 5}}
guidance: cds
"""


class SmallCard:
    """A prior on a card with room for a number of views in one call. Guidance doubles them."""

    def __init__(self, inner):
        self.inner, self.room, self.calls = inner, 1000, 0
        self.shrinks: dict[int, int] = {}
        """Call of `encode`, from 0, from which there is room for that many views only."""

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def encode(self, rgb):
        self.calls += 1
        self.room = self.shrinks.get(self.calls - 1, self.room)
        self._take(len(rgb))
        return self.inner.encode(rgb)

    def denoise(self, z, sigma, text):
        self._take(len(z) // 2)
        return self.inner.denoise(z, sigma, text)

    def _take(self, views):
        if views > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.fixture
def small_card(monkeypatch, card):
    """A function that gives runs a `SmallCard` with these changes of its room."""
    made = []

    def shrinking(shrinks: dict[int, int]):
        def small(*args, **kwargs):
            made.append(SmallCard(load(*args, **kwargs)))
            made[-1].shrinks = shrinks
            return made[-1]

        monkeypatch.setattr(setup, "load", small)
        return made

    return shrinking


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    def request(name: str, **changes):
        return request_for(
            tiny_builtin_folder, tmp_path / name, SPLATS, 8, device="cuda", **changes
        )

    return request


def halved(lines: list[str]) -> list[str]:
    return [line for line in lines if "out of memory" in line]


@pytest.mark.parametrize("call", [0, 4], ids=["before the first step", "in the fourth step"])
def test_a_run_goes_on_with_half_the_micro_batch(small_card, request_, call):
    small_card({})
    whole, lines = generate(request_("whole")), []
    made = small_card({call: 2})
    result = generate(request_("halved"), say=lines.append)
    assert result.outcome == "finished" and result.steps == 8 and not result.warnings
    assert halved(lines) == [
        "warning: out of memory: the run goes on with at most 2 views at once in the prior, as "
        "`micro_batch: 2` in the config has it from the start"
    ]
    assert made[-1].calls > 8 + (8 - call)
    assert [row["step"] for row in log_rows(result.folder)] == list(range(8))
    # It is the same run: no step was left out or done twice.
    for row, other in zip(log_rows(result.folder), log_rows(whole.folder), strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-3)
    assert len(gs3d.load(result.folder).splats) == len(gs3d.load(whole.folder).splats)


def test_the_second_time_ends_the_run_with_what_there_is(small_card, request_):
    # The third step, in halves: its second call.
    small_card({2: 2, 8: 1})
    lines = []
    result = generate(request_("ended"), say=lines.append)
    assert result.outcome == "out of memory" and 0 < result.steps < 8
    assert len(halved(lines)) == 1
    assert (result.folder / "splats.ply").exists()
    assert len(log_rows(result.folder)) == result.steps
    small_card({0: 1})
    request = request_("ended", resume=True, set=("micro_batch=1",))
    resumed = generate(request, say=lines.append)
    assert resumed.outcome == "finished" and resumed.steps == 8
    assert len(halved(lines)) == 1


def test_no_room_for_a_single_view_gives_advice(small_card, request_):
    small_card({0: 1})
    with pytest.raises(UserError, match="use a smaller micro_batch, batch or resolution"):
        generate(request_("none"))


def test_a_prior_that_cannot_be_loaded_gives_other_advice(request_, monkeypatch, card):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(setup, "load", full)
    with pytest.raises(UserError, match="while the prior was loaded; use `text_on_cpu: true`"):
        generate(request_("large"))


def test_groups_of_views_are_not_divided(small_card, request_, tiny_multiview_folder):
    small_card({0: 2})
    request = dataclasses.replace(request_("groups"), prior=str(tiny_multiview_folder))
    with pytest.raises(UserError, match="out of memory before the first iteration"):
        generate(request)


def test_other_errors_are_not_taken_for_it(small_card, request_, monkeypatch):
    def wrong(*_):
        raise RuntimeError("shapes differ")

    small_card({})
    monkeypatch.setattr(SmallCard, "denoise", wrong)
    with pytest.raises(RuntimeError, match="shapes differ"):
        generate(request_("other"))


def test_the_command_ends_well(small_card, request_, capsys):
    small_card({3: 2})
    request = request_("command")
    options = ["--prior", request.prior, "--out", str(request.out), "--steps", "8"]
    options += ["--config", str(request.config), "--device", "cuda"]
    status, out, errors = run(capsys, "generate", request.prompt, *options)
    text = out + errors
    assert status == 0
    assert text.count("out of memory: the run goes on with at most 2 views") == 1
    assert "Traceback" not in text

"""From a list to rows that are ready to run: all of them are checked before the first starts."""

import difflib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from gs3d.batch.request import Batch
from gs3d.batch.results import Found, Results
from gs3d.batch.rows import Row
from gs3d.core.errors import UserError
from gs3d.distill.settings.stages import RunConfig
from gs3d.priors.base import Prior
from gs3d.priors.builtin import known_words
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.resolve import default_prior, source_facts, unknown_content_words
from gs3d.runs.history import prior_of
from gs3d.runs.prepare import Plan, prepare
from gs3d.runs.record import RunRecord
from gs3d.runs.request import Request, device_of

Progress = Literal["new", "begun", "done"]
MOST_TOLD = 5
"""Rows with unknown words that a line names."""
END = ("result", "timings_s")
"""What a record says of the end of its run."""


@dataclass(frozen=True)
class Planned:
    """A row that can run."""

    row: Row
    number: int
    """Place in the list, from 0."""
    request: Request
    config: RunConfig
    progress: Progress
    """Whether its folder is empty, or holds a part of this very run, or all of it."""
    url: str | None = None
    """Where its files go, if not to the output directory of the request."""
    found: Found | None = None
    """What is there of it, with the end of its record alone: thousands of whole ones take
    hundreds of megabytes."""

    @property
    def minutes(self) -> float:
        """Minutes that it takes; infinite for one by steps."""
        return self.request.minutes or float("inf")

    @property
    def command(self) -> str:
        """The command that makes this row alone, or continues it."""
        return command_of(replace(self.request, resume=True))


def planned(
    batch: Batch,
    rows: Sequence[Row],
    warn: Callable[[str], None] = lambda line: None,
    results: Results | None = None,
) -> list[Planned]:
    """Check all rows, and look for those that are there, in `results` or the folder of the batch.
    `warn` gets each warning once.

    Downloads the priors that the rows name and this machine lacks; nothing else is written.

    Raises:
        UserError: A row cannot be run, or its folder holds another run. The message names the row.
    """
    plans: dict[tuple[object, ...], Plan] = {}
    found: list[Planned] = []
    told: set[str] = set()
    strange: dict[int, tuple[list[str], Source]] = {}
    # All priors first: a download would change what auto means for the rows after it.
    results = results or Results(batch.folder)
    results.read([row.name for row in rows])
    requests = [batch.request_of(row) for row in rows]
    priors = [_prior_now(request) for request in requests]
    for number, (row, request, prior) in enumerate(zip(rows, requests, priors, strict=True)):
        try:
            # Once: of thousands of rows, this takes most of the time.
            there = results.find(row.name)
            request = _with_prior(request, there, prior)
            settings = (request.prior, row.mode, row.config, row.minutes)
            if settings not in plans:
                # Without a folder: what is in that of this row is looked at below.
                plans[settings] = prepare(_checkable(replace(request, out=None)))
            plan = plans[settings]
            progress = _progress(request, plan, there, results.where(row.name))
            words = _unknown(row.prompt, plan.prior) if progress != "done" else []
            if words and isinstance(plan.prior, Source):
                strange[number + 1] = words, plan.prior
        except UserError as error:
            where = f"{batch.rows} row {number + 1} ({row.name})"
            raise UserError(f"{where}: {error.for_command_line}") from None
        for message in plan.messages:
            if message.is_warning and message.text not in told:
                warn(message.text)
            told.add(message.text)
        url = results.where(row.name) if results.place else None
        end = there and Found({k: v for k, v in there.record.items() if k in END}, there.ended)
        found.append(Planned(row, number, request, plan.config, progress, url, end))
    if strange:
        warn(_about_words(strange))
    return ordered(found, batch)


def _unknown(prompt: str, prior: Source | Prior) -> list[str]:
    """Words of a prompt that a prior with a list of words does not know."""
    known = _known_words(prior.folder) if isinstance(prior, Source) else None
    return [] if known is None else unknown_content_words(prompt, known)


@lru_cache
def _known_words(folder: Path) -> set[str] | None:
    return known_words(folder)


def _about_words(strange: dict[int, tuple[list[str], Source]]) -> str:
    """Says which rows have words that their prior does not know, with the nearest that it knows."""

    def named(word: str, prior: Source) -> str:
        near = difflib.get_close_matches(word, _known_words(prior.folder) or (), 1)
        return f"{word} (nearest: {near[0]})" if near else word

    listed = [
        f"row {number}: {' and '.join(named(word, prior) for word in words)}"
        for number, (words, prior) in list(strange.items())[:MOST_TOLD]
    ]
    more = f"; and {len(strange) - MOST_TOLD} more" if len(strange) > MOST_TOLD else ""
    return (
        "the prior does not know, and ignores, words of these rows: "
        f"{'; '.join(listed)}{more}; `gs3d vocab` lists those that it knows"
    )


def _prior_now(request: Request) -> str | Prior:
    """The prior of a request, with what auto is now."""
    if request.prior != "auto":
        return request.prior
    on_cuda = str(request.device).startswith("cuda")
    device = "cuda" if on_cuda else device_of(request)
    return default_prior(device, request.prompt)[0]


def _with_prior(request: Request, found: Found | None, now: str | Prior) -> Request:
    """The request with a prior by name in place of auto: that of the run which is there, so that
    the row can go on, or what auto is `now`."""
    if request.prior == "auto" and found is not None and found.ended:
        return replace(request, prior=prior_of(found.record))
    return replace(request, prior=now)


def _checkable(request: Request) -> Request:
    """The request as this machine can check it: nodes of a cluster may have the GPU that the one
    which starts the batch has not."""
    if str(request.device).startswith("cuda") and not torch.cuda.is_available():
        return replace(request, device="cpu", raster="auto")
    return request


def ordered(rows: Sequence[Planned], batch: Batch) -> list[Planned]:
    """The rows in the order in which they are to start."""
    if batch.order == "shortest":
        return sorted(rows, key=lambda r: (r.minutes, r.number))
    return list(rows)


def command_of(request: Request) -> str:
    """The command line of `gs3d generate` for a request."""
    parts = ["gs3d", "generate", request.prompt]
    for field in fields(Request):
        value = getattr(request, field.name)
        if field.name == "prompt" or value == field.default:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if value is True:
            parts.append(flag)
        else:
            for one in value if isinstance(value, tuple) else (value,):
                parts += [flag, str(one)]
    return shlex.join(parts)


def _progress(request: Request, plan: Plan, found: Found | None, where: str) -> Progress:
    """How much of a row is there. `UserError` if what was `found` is another run."""
    if found is None:
        return "new"
    prior = found.record.get("prior")
    facts = _facts(plan, prior if isinstance(prior, dict) else {})
    # Seeds that are all kept are particles in the record.
    asked = plan.request
    request = replace(request, seeds=asked.seeds, particles=asked.particles)
    record = RunRecord(request, plan.config, facts, plan.device, plan.raster_device)
    if found.record and (what := record.difference(found.record)):
        what = what.split("; ")[0]
        raise UserError(f"{where} holds another run: {what}; choose another --out")
    if not found.ended or found.record["result"]["outcome"] != "finished":
        return "begun"
    had = [(found.record.get(name), getattr(request, name)) for name in ("minutes", "steps")]
    enough = all(b is None or (isinstance(a, (int, float)) and a >= b) for a, b in had)
    return "done" if enough else "begun"


def _facts(plan: Plan, recorded: dict[str, Any]) -> dict[str, Any]:
    """What a run of the plan will record of its prior, as far as that is known before it is loaded:
    the rest, and which of two files of its weights is read, is as `recorded`."""
    if not isinstance(plan.prior, Source):
        return {**recorded, "name": plan.prior.name}
    facts = _of_source(plan.prior, True)
    if facts["weights_sha256"] != recorded.get("weights_sha256"):
        facts = _of_source(plan.prior, False)
    return {**{k: v for k, v in recorded.items() if k != "lora"}, **facts}


@lru_cache(maxsize=32)
def _of_source(source: Source, half: bool) -> dict[str, Any]:
    return source_facts(source, half)

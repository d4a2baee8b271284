"""What a run takes from the record of an earlier one, and what it refuses or says about it."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.guidance.loss_file import LossFile
from gs3d.priors.base import Prior
from gs3d.priors.loading.components import Source
from gs3d.runs.callbacks import Message
from gs3d.runs.history import loras_of, prior_of, read_record
from gs3d.runs.request import OBJECTS, Request, objects_of
from gs3d.runs.starts import builtin, shap_e

LOSS = "guidance_file"
"""Key of run.yaml with the file of the loss (`LossFile.facts`)."""


def as_recorded(
    request: Request, folder: Path, loss: LossFile | None, messages: list[Message]
) -> Request:
    """The request with what a run that is resumed has in its record and the request leaves out: the
    prior by default, its LoRAs, what it started from, and its number of objects.

    Raises:
        UserError: That run used a loss of a file, which `loss` is not.
    """
    if not request.resume:
        return request
    record = read_record(folder)
    if record is None:
        return _with_start_there(request, folder, messages)
    if what := other_loss(record, loss):
        raise UserError(f"--resume {folder}: {what}")
    if request.prior == "auto" and "prior" not in record.get("python_objects", ()):
        request = dataclasses.replace(request, prior=prior_of(record))
    if not request.lora:
        request = dataclasses.replace(request, lora=loras_of(record))
    if request.start is None and record.get("start") is not None:
        request = dataclasses.replace(request, start=Path(record["start"]))
    if "particle" in record:
        run = folder.parent
        raise UserError(f"--resume {folder}: is a particle of the run {run}; resume that one")
    for name in OBJECTS:
        if objects_of(request)[1] == 1 and isinstance(many := record.get(name), int):
            request = dataclasses.replace(request, **{name: many})
            messages.append(Message(f"that run has {many} {name}, and goes on with them"))
    return request


def _with_start_there(request: Request, folder: Path, messages: list[Message]) -> Request:
    """The request with the start of a run that was stopped before it had a record of its own."""
    there = folder / builtin.FOLDER
    if request.start is not None or (folder / "run.yaml").exists() or request.prior == builtin.NAME:
        return request
    if (there / shap_e.RECORD).exists():
        name = shap_e.NAME
    elif (there / "log.jsonl").exists():
        name = builtin.NAME
    else:
        return request
    text = f"{there} has the start of a run that was stopped: it goes on as with --start {name}; "
    messages.append(Message(text + "leave --resume out to begin without it"))
    return dataclasses.replace(request, start=Path(name))


def other_loss(record: dict, mine: LossFile | None) -> str | None:
    """Why a run with the loss `mine` cannot continue the recorded one; None if it can, as far as
    files of losses go.

    A record never runs code: the user has to name the file again, and it has to have the same code.
    """
    used: Any = record.get(LOSS)
    if not isinstance(used, dict):
        if mine is None:
            return None
        return f"that run used no loss of a file; leave --guidance {mine.path}:{mine.name} out"
    file, name = used.get("file"), used.get("class")
    if mine is None:
        gone = "" if os.path.isfile(str(file)) else ", which is gone"
        return (
            f"that run used the loss {name} of {file}{gone}; a record does not run code, so repeat "
            f"its --guidance {file}:{name}"
        )
    if name != mine.name:
        return f"that run used the loss {name} of {file}, not {mine.name}; repeat its command"
    if used.get("sha256") == mine.sha256 or used.get("code_sha256") == mine.code_sha256:
        return None
    return (
        f"the code in {mine.path} has changed since that run began; undo that, or choose another "
        "--out (--start and this folder refine what is there)"
    )


def loss_to_name(source: object, record: dict) -> None:
    """`UserError` if the run.yaml `source`, as a config, names a loss of a file."""
    used: Any = record.get(LOSS)
    if isinstance(used, dict):
        file, name = used.get("file"), used.get("class")
        raise UserError(
            f"--config {source}: that run used the loss {name} of {file}; a record does not run "
            f"code, so give --guidance {file}:{name} if you trust that file, or another loss"
        )


def differences_from(
    source: object, record: dict, request: Request, prior: Source | Prior
) -> list[Message]:
    """A line about the prior, LoRAs and start of the run in the run.yaml `source` that the run
    which takes its settings does not have. It is a warning if the user named none of their own."""
    recorded: Any = record.get("prior")
    recorded = recorded if isinstance(recorded, dict) else {}
    is_object = "prior" in (record.get("python_objects") or ())
    used, mine = [], []
    silent = False
    if not is_object and recorded.get("name") and not _is_same(recorded, prior):
        used.append(f"the prior {recorded['name']}")
        mine.append(f"the prior {prior.name}")
        silent |= request.prior == "auto"
    elif is_object and request.prior == "auto":
        used.append(f"the object {recorded.get('name')!r} of a Python program as its prior")
        mine.append(f"the prior {prior.name}")
        silent = True
    theirs, ours = lora_names(recorded), _loras_in(prior)
    if [(f.get("sha256"), f.get("weight")) for f in _facts(recorded)] != [
        (lora["sha256"], lora["weight"]) for lora in ours
    ]:
        used.append(theirs or "no LoRA")
        mine.append(lora_names({"lora": ours}) or "no LoRA")
        silent |= not request.lora
    if (start := record.get("start")) != (None if request.start is None else str(request.start)):
        used.append(f"--start {start}" if start else "no --start")
        mine.append(f"--start {request.start}" if request.start else "no --start")
        silent |= request.start is None
    for name in OBJECTS:
        if (many := record.get(name, 1)) != (number := getattr(request, name)):
            used.append(f"--{name} {many}")
            mine.append(f"--{name} {number}")
            silent |= number == 1
    if not used:
        return []
    text = f"--config {source}: that run used {', '.join(used)}; this one uses {', '.join(mine)}"
    return [Message(text, is_warning=silent)]


def _is_same(recorded: dict, prior: Source | Prior) -> bool:
    """Whether a recorded prior has the name of `prior`, or its place: a path may be written in
    several ways."""
    if recorded.get("name") == prior.name:
        return True
    place = recorded.get("source")
    places = [str(prior.folder.resolve()), prior.repo] if isinstance(prior, Source) else []
    return place in [p for p in places if p] + [str(Path(prior.name).expanduser().resolve())]


def lora_names(prior: dict) -> str:
    """The LoRAs of a recorded prior, such as "the LoRA style.safetensors:0.8"; "" for none."""
    names = [f"{f.get('name')}:{f.get('weight')}" for f in _facts(prior)]
    return f"the LoRA{'s' * (len(names) > 1)} {' and '.join(names)}" if names else ""


def _facts(prior: dict) -> list[dict]:
    used: Any = prior.get("lora")
    return [lora for lora in used if isinstance(lora, dict)] if isinstance(used, list) else []


def _loras_in(prior: Source | Prior) -> list[dict]:
    return [lora.facts for lora in prior.loras] if isinstance(prior, Source) else []

"""What to say of a `--prior` that names no model."""

import difflib
import os
import re
from collections.abc import Sequence

from gs3d.core.errors import shown
from gs3d.priors.files.contents import PICKLES, SUFFIX

ID_PATTERN = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
"""Regular expression for the full id owner/name."""
FILES = (SUFFIX, *PICKLES, ".gguf")
"""Ends of names that are those of files. Hardly any repository of the hub has such a name."""
BY_ID: tuple[tuple[str, str, str], ...] = (
    ("(sd|stablediffusion)?xl", "Stable Diffusion XL", "stabilityai/stable-diffusion-xl-base-1.0"),
    ("(sd|stablediffusion)3", "Stable Diffusion 3", "stabilityai/stable-diffusion-3.5-medium"),
    ("flux", "FLUX.1", "black-forest-labs/FLUX.1-dev"),
    ("pixart", "PixArt", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS"),
    ("if$|deepfloyd", "DeepFloyd IF", "DeepFloyd/IF-I-XL-v1.0"),
)
"""Beginning of what people call a model, in small letters and digits alone; its name; a hub id of
it. These models are too many and too large for short names."""
WEB = re.compile(r"(https?://|www\.|(civitai\.com|huggingface\.co|hf\.co)/)", re.IGNORECASE)
HUB = re.compile(rf"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/({ID_PATTERN})(.*)", re.I)
NOT_MODELS = ("api", "collections", "datasets", "docs", "models", "papers", "spaces")
"""Beginnings of paths at the hub that are no owners."""


def is_file_name(name: str) -> bool:
    """Whether a name is that of a file, so that it cannot be a hub id."""
    return name.lower().endswith(FILES)


def expected(known: Sequence[str]) -> str:
    """What `--prior` takes, with the short names `known`."""
    return f"{', '.join(known)}, a hub id owner/name, a diffusers folder, or a {SUFFIX} file"


def unknown(name: str, known: Sequence[str]) -> str:
    """Message for a name that is no model; `known` are the short names."""
    what, one_of = f"prior {name}", f"one of {expected(known)}"
    if WEB.match(name):
        return f"{what}: a web address, not a model; {_from_web(name)}"
    if is_file_name(name):
        return f"{what}: no such file; expected {one_of}"
    if os.sep in name or name.startswith((".", "~")):
        owner = re.match(f"{ID_PATTERN}/", name)
        hint = f", and a hub id has two parts, as {owner[0][:-1]}" if owner else ""
        return f"{what}: no such folder{hint}; expected {one_of}"
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    for pattern, model, repo in BY_ID:
        if re.match(pattern, letters):
            return f"{what}: no short name; for {model} pass a hub id, such as {repo}"
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? Expected" if near else "expected"
    return f"{what}: unknown name; {hint} {one_of}"


def _from_web(name: str) -> str:
    """What to do with the address of a page or a file."""
    download = f"download the {SUFFIX} file, and pass that"
    found = HUB.match(name)
    if found is None or found[1].split("/")[0].lower() in NOT_MODELS:
        return download
    path = re.split(r"[?#]", found[2])[0]
    if is_file_name(path):
        return f"{download}, or pass {shown(found[1], 100)} if that has the diffusers layout"
    return f"pass its hub id, {shown(found[1], 100)}"

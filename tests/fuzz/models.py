"""Model folders with one field or file changed."""

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.fuzz.special import NUMBERS, changed_json


def changed(model: Path, folder: Path, seed: int) -> str:
    """Copy `model` to `folder` with one change, and describe it."""
    rng = np.random.default_rng((seed, 2))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "README.md")
    path = files[int(rng.integers(len(files)))]
    name = path.relative_to(folder)
    if rng.random() < 0.15:
        return f"seed {seed}: {name}, {_file(path, rng)}"
    if path.suffix == ".safetensors":
        return f"seed {seed}: {name}, {_weights(path, rng)}"
    if path.suffix == ".json":
        text, what = changed_json(path.read_text("utf-8"), rng)
        path.write_text(text, "utf-8")
        return f"seed {seed}: {name}, {what}"
    lines = path.read_text("utf-8").splitlines()
    del lines[int(rng.integers(len(lines)))]
    path.write_text("\n".join(lines), "utf-8")
    return f"seed {seed}: {name}, without a line"


def _file(path: Path, rng: np.random.Generator) -> str:
    kind = ("missing", "empty", "cut", "noise", "a link to nothing")[int(rng.integers(5))]
    data = path.read_bytes()
    if kind in ("missing", "a link to nothing"):
        path.unlink()
        if kind != "missing":
            path.symlink_to("nothing")
    else:
        cut = {"empty": b"", "cut": data[: len(data) // 2], "noise": rng.bytes(len(data))}
        path.write_bytes(cut[kind])
    return kind


def _weights(path: Path, rng: np.random.Generator) -> str:
    weights = load_file(path)
    name = sorted(weights)[int(rng.integers(len(weights)))]
    kind = int(rng.integers(6))
    if kind == 0:
        del weights[name]
        what = f"without {name}"
    elif kind == 1:
        weights[name + "_more"] = weights[name].clone()
        what = f"with {name}_more"
    elif kind == 2:
        weights[name] = torch.zeros(3)
        what = f"{name} of another shape"
    elif kind == 3:
        weights[name] = weights[name].to(
            (torch.float16, torch.float64, torch.int8)[int(rng.integers(3))]
        )
        what = f"{name} as {weights[name].dtype}"
    elif kind == 4:
        weights[name] = torch.zeros_like(weights[name])
        what = f"{name} = 0"
    else:
        value = NUMBERS[int(rng.integers(len(NUMBERS)))]
        weights[name].view(-1)[0] = torch.tensor(value, dtype=torch.float64).to(torch.float32)
        what = f"{name}[0] = {value}"
    save_file(weights, path, {"format": "pt"})
    return what

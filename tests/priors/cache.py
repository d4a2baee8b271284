"""A Hugging Face cache as downloads leave it."""

import shutil
from pathlib import Path

SHA = "0123456789abcdef0123456789abcdef01234567"


def put_in_cache(cache: Path, repo: str, model: Path) -> Path:
    """`model` as huggingface_hub would have left it after a download of `repo`."""
    root = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(model, root / "snapshots" / SHA)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(SHA)
    return root / "snapshots" / SHA

"""What tells the starts of two runs apart, so that results of one are not taken for the other's."""

from functools import lru_cache
from pathlib import Path

from gs3d.distill.settings.presets import preset_text
from gs3d.io import result_file
from gs3d.priors.files.contents import sha256_of
from gs3d.priors.loading.components import backbone_part
from gs3d.priors.loading.resolve import resolve
from gs3d.priors.loading.weights import weight_files
from gs3d.runs.starts import builtin, shap_e, shap_e_model


def start_identity(start: Path) -> str:
    """A text that changes with what --start `start` gives a run: the content of a file or of a
    run's result, or the weights and settings of the model that makes it.

    The textures of an .obj file are not looked at.
    """
    if builtin.is_builtin(start):
        source = resolve(builtin.NAME)
        part = backbone_part(source.index)
        assert part is not None  # `index` refuses a model without one
        made = (preset_text(builtin.NAME), builtin.SECONDS, builtin.LARGEST_SHARE, builtin.STEPS)
        return f"{builtin.NAME} {_hashes(weight_files(source.folder / part, half=True))} {made}"
    if shap_e.is_shap_e(start):
        return f"{shap_e.NAME} {shap_e.REPO} {shap_e_model.STEPS} {shap_e_model.GUIDANCE}"
    file = result_file(start) if start.is_dir() else start
    return f"{file and file.name} {_hashes([file] if file and file.is_file() else [])}"


def _hashes(files: list[Path]) -> list[str]:
    return [_hash_of(f, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


@lru_cache(maxsize=64)
def _hash_of(file: Path, size: int, time_ns: int) -> str:
    """SHA-256 of a file. `size` and `time_ns` tell whether it has changed since it was read."""
    return sha256_of(file)

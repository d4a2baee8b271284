from tests.runs.conftest import small_files

__all__ = ["small_files"]

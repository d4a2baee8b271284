from tests.runs.conftest import fast_conversions, small_files

__all__ = ["fast_conversions", "small_files"]

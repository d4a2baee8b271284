from tests.runs.conftest import fast_conversions

__all__ = ["fast_conversions"]

"""Workers that write small files, in all tests of batches."""

import sys

import pytest

from gs3d.batch.workers import pool

SMALL = pool.CODE.replace("; from", "; from tests.small import use_small_files as u; u(); from", 1)


@pytest.fixture(autouse=True, scope="session")
def small_files():
    """Full size takes longer than everything else in a row of a few steps."""
    assert SMALL != pool.CODE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "COMMAND", (sys.executable, "-c", SMALL))
        yield

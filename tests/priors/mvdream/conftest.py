"""A tiny MVDream, written and loaded once."""

import pytest

from tests.priors.mvdream.tiny import write_tiny_mvdream


@pytest.fixture(scope="session")
def tiny_mvdream_folder(tmp_path_factory):
    """Model folder of a tiny MVDream."""
    return write_tiny_mvdream(tmp_path_factory.mktemp("tiny_mvdream") / "model")


@pytest.fixture(scope="session")
def tiny_mvdream(tiny_mvdream_folder):
    """The prior of `tiny_mvdream_folder`. Shared: do not free its text encoder."""
    from gs3d.priors import load

    return load(tiny_mvdream_folder, "cpu")

"""Fixtures for tests of commands that start runs."""

from types import SimpleNamespace

import pytest

from gs3d.viewer.controls import RunControls


@pytest.fixture
def queue(monkeypatch):
    """The queue of runs requested in a viewer, without waiting for requests or for Ctrl-C.

    A test fills `requests`; `waits` gets the argument `wait` of every `RunControls.next`.
    """
    requests, waits = [], []

    def next_request(controls, wait):
        waits.append(wait)
        return requests.pop(0) if requests else None

    monkeypatch.setattr(RunControls, "next", next_request)
    return SimpleNamespace(requests=requests, waits=waits)

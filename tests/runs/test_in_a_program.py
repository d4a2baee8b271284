"""Runs within a program of others: its random numbers, its signal handlers, two threads."""

import random
import signal
import threading

import numpy as np
import pytest
import torch

from tests.runs.running import SPLATS, equal, generate, request_for


def states() -> list:
    """Copies of the states of random numbers that a program shares."""
    return [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]


def test_a_run_neither_uses_nor_changes_the_random_numbers_of_the_program(
    tiny_builtin_folder, tmp_path
):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        before = states()
        found.append(
            generate(request_for(tiny_builtin_folder, tmp_path / str(seed), SPLATS, 6)).asset
        )
        assert states() == before
    assert equal(*found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_handlers_of_the_program_are_back_after_a_run(number, tiny_builtin_folder, tmp_path):
    def own(*_): ...

    before = signal.signal(number, own)
    during = []
    try:
        request = request_for(tiny_builtin_folder, tmp_path, SPLATS, 2)
        generate(request, lambda entry, budget: during.append(signal.getsignal(number)))
        assert signal.getsignal(number) is own
        assert own not in during and len(during) == 2
    finally:
        signal.signal(number, before)


def test_two_runs_in_threads_give_what_one_gives(tiny_builtin_folder, tmp_path):
    """Both densify, which draws random numbers in gsplat."""
    alone = generate(request_for(tiny_builtin_folder, tmp_path / "alone", SPLATS, 10)).asset
    found = {}

    def run(name: str) -> None:
        found[name] = generate(request_for(tiny_builtin_folder, tmp_path / name, SPLATS, 10)).asset

    handler = signal.getsignal(signal.SIGINT)
    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert signal.getsignal(signal.SIGINT) is handler
    assert equal(alone, found["one"]) and equal(alone, found["two"])

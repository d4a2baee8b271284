"""Model folders of the families, each written once for the session."""

import pytest

from tests.priors.families.tiny import write_tiny_flux, write_tiny_if, write_tiny_pixart

WRITERS = {
    "sigma": write_tiny_pixart,
    "alpha": lambda folder, **changes: write_tiny_pixart(folder, alpha=True, **changes),
    "if": write_tiny_if,
    "dev": write_tiny_flux,
    "schnell": lambda folder, **changes: write_tiny_flux(folder, dev=False, **changes),
}
"""Name of a model → the function that writes it."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Name of a model → its folder."""
    return {name: write(tmp_path_factory.mktemp(name) / "model") for name, write in WRITERS.items()}

"""Isolation of the tests of priors: no network, and an empty model cache."""

import socket

import pytest

from tests.priors.tiny import write_tiny_sd3, write_tiny_xl


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Make name lookups and connections fail at once; the value lists the requested hosts."""
    hosts = []

    def refuse(host, *args, **kwargs):
        hosts.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: refuse(address))
    return hosts


@pytest.fixture
def hub_cache(monkeypatch, tmp_path):
    """Folder of an empty Hugging Face cache, with downloads enabled in the settings."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


@pytest.fixture(scope="session")
def tiny_xl_folder(tmp_path_factory):
    """Model folder of Stable Diffusion XL."""
    return write_tiny_xl(tmp_path_factory.mktemp("tiny_xl") / "model")


@pytest.fixture(scope="session")
def tiny_sd3_folder(tmp_path_factory):
    """Model folder of Stable Diffusion 3.5 with all three text encoders."""
    return write_tiny_sd3(tmp_path_factory.mktemp("tiny_sd3") / "model")


@pytest.fixture(scope="session")
def tiny_sd3_without_t5_folder(tmp_path_factory):
    """Model folder of Stable Diffusion 3.5 with null in place of T5."""
    return write_tiny_sd3(tmp_path_factory.mktemp("tiny_sd3_without_t5") / "model", t5=False)

"""Isolation of the tests of priors: no network, and an empty model cache."""

import socket

import pytest


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

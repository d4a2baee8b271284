"""Licenses of the packages that gs3d needs, and that an audit is silent about nothing."""

from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.audit import EXCEPTIONS, is_allowed, license_of, needed, odd_licenses, read_answer


def package(version: str = "1.0", **metadata: str) -> Any:
    message = Message()
    for name, value in metadata.items():
        message[name.replace("_", "-")] = value
    return SimpleNamespace(version=version, metadata=message)


def test_every_needed_package_has_an_allowed_license():
    packages = needed()
    assert not odd_licenses(packages)
    # Packages that gs3d names, and those of its packages and extras.
    assert {"torch", "numpy", "plyfile", "gsplat", "jinja2", "regex", "urllib3"} <= packages.keys()
    assert "gs3d" not in packages and "pytest" not in packages and "ruff" not in packages


@pytest.mark.parametrize(
    ("metadata", "license_", "allowed"),
    [
        ({"License_Expression": "MIT"}, "MIT", True),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, "MIT AND GPL-3.0-only", False),
        ({"License_Expression": "MIT OR GPL-3.0-only"}, "MIT OR GPL-3.0-only", True),
        ({"License_Expression": "(MIT OR X) AND Zlib"}, "(MIT OR X) AND Zlib", True),
        ({"License": "MIT License\n\nPermission is"}, "MIT", True),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, "BSD-3-Clause", True),
        (
            {"Classifier": "License :: Other/Proprietary License"},
            "Other/Proprietary License",
            False,
        ),
        ({"License": "AGPL"}, "AGPL", False),
        ({"Classifier": "Topic :: Software"}, "", False),
        ({}, "", False),
    ],
)
def test_license_of(metadata, license_, allowed):
    assert license_of(package(**metadata)) == license_ and is_allowed(license_) == allowed
    assert bool(odd_licenses({"new": package(**metadata)})) != allowed


def test_an_exception_is_for_one_license_alone():
    (gpl, _), name = EXCEPTIONS["plyfile"], "plyfile"
    classifier = f"License :: OSI Approved :: {gpl}"
    assert not odd_licenses({name: package(Classifier=classifier)})
    assert odd_licenses({name: package(License_Expression="AGPL-3.0-only")})
    assert odd_licenses({"other": package(Classifier=classifier)})


def test_what_was_not_looked_up_does_not_count_as_sound():
    packages: dict[str, Any] = dict.fromkeys(("bad", "good", "skipped", "silent"), package())
    fault = {"id": "CVE-1", "fix_versions": ["1.1"]}
    answer = [
        {"name": "bad", "version": "1.0", "vulns": [fault]},
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "skipped", "skip_reason": "not found"},
    ]
    found, unchecked = read_answer(answer, packages)
    assert found == ["bad 1.0: CVE-1, fixed in 1.1"]
    assert unchecked == ["skipped: not found", "silent: no answer"]

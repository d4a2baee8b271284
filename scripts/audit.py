"""Licenses and known vulnerabilities of the packages that gs3d needs at run time.

`python scripts/audit.py` checks both. Licenses are read from the packages that are installed.
Vulnerabilities are looked up by pip-audit, which asks the index of Python packages by name and
version. Exit status 1 for a license or a vulnerability to look at, 2 if something could not be
checked, and 0 only if all was checked and nothing found.
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import tyro
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("view", "lora")
"""Extras of gs3d that users install. xformers needs a GPU to be built for."""
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "HPND",
    "ISC",
    "MIT",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Zlib",
}
"""Licenses (SPDX) that let gs3d be used and passed on under its own, Apache-2.0."""
OTHER_WORDS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""What metadata says in place of SPDX."""
EXCEPTIONS = {
    "gsplat": ("", "its metadata name none; the license in its repository is Apache-2.0"),
    "plyfile": (
        "GNU General Public License v3 or later (GPLv3+)",
        "one module uses it, and the README says what follows for who passes on both",
    ),
}
"""Package → the license that its metadata have, and why it is allowed."""
OF_CUDA = re.compile(r"(nvidia|cuda)-.*")
"""Libraries of CUDA, which a build of torch for it brings. They are NVIDIA's, under its terms."""


@dataclass(frozen=True)
class Args:
    """Check licenses and known vulnerabilities of the packages that gs3d needs at run time."""

    licenses: bool = True
    """Check licenses. No network is needed."""
    vulnerabilities: bool = True
    """Look up vulnerabilities with pip-audit."""
    auditor: str = sys.executable
    """The Python that has pip-audit."""


def needed(root: str = "gs3d", extras: tuple[str, ...] = EXTRAS) -> dict[str, Distribution]:
    """Name → distribution of all that `root` needs on this machine, and what that needs, without
    `root` itself. What is not installed is left out."""
    pending, seen, found = [(root, frozenset(extras))], set(), {}
    while pending:
        name, wanted = pending.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, found[name].requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *wanted)):
                extras_of = frozenset(requirement.extras)
                pending.append((canonicalize_name(requirement.name), extras_of))
    return {name: found[name] for name in sorted(found) if name != root}


def license_of(package: Distribution) -> str:
    """The license in the metadata of a package, as SPDX where it is known; "" without one."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [c for c in metadata.get_all("Classifier") or () if c.startswith("License ::")]
    words = [c.split(" :: ")[-1] for c in classifiers]
    if not words:
        # Some have the whole text of the license here.
        words = (metadata.get("License") or "").strip().splitlines()[:1]
    return " AND ".join(OTHER_WORDS.get(word, word) for word in words)


def is_allowed(license_: str) -> bool:
    """Whether all licenses of an expression are allowed, or one of those to choose from."""
    parts = [part.strip(" ()") for part in re.split(r" AND ", license_)]
    return all(any(one.strip(" ()") in ALLOWED for one in part.split(" OR ")) for part in parts)


def odd_licenses(packages: dict[str, Distribution]) -> list[str]:
    """A line for each package with a license that is not on the list."""
    return [
        f"{name} {package.version}: {license_ or 'no license in its metadata'}"
        for name, package in packages.items()
        if not is_allowed(license_ := license_of(package))
        and not OF_CUDA.fullmatch(name)
        and (name not in EXCEPTIONS or EXCEPTIONS[name][0] != license_)
    ]


def vulnerabilities(packages: dict[str, Distribution], auditor: str) -> tuple[list[str], list[str]]:
    """A line for each known vulnerability, and one for each package that could not be checked."""
    with tempfile.TemporaryDirectory() as folder:
        listed, answer = Path(folder) / "packages.txt", Path(folder) / "answer.json"
        # A build such as 2.13.0+cpu is no version of the index.
        lines = [f"{name}=={package.version.split('+')[0]}\n" for name, package in packages.items()]
        listed.write_text("".join(lines))
        command = [auditor, "-m", "pip_audit", "--requirement", str(listed), "--no-deps"]
        command += ["--disable-pip", "--progress-spinner", "off", "--format", "json"]
        done = subprocess.run(
            [*command, "--output", str(answer)], capture_output=True, text=True, check=False
        )
        try:
            entries = json.loads(answer.read_text())["dependencies"]
        except (OSError, ValueError, KeyError):
            reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
            return [], [f"{name}: {reason[:200]}" for name in packages]
    return read_answer(entries, packages)


def read_answer(
    entries: list[dict], packages: dict[str, Distribution]
) -> tuple[list[str], list[str]]:
    """The lines of `vulnerabilities` for an answer of pip-audit.

    It counts a package that it could not look up as one without vulnerabilities; here it does not.
    """
    found, unchecked = [], []
    for entry in entries:
        if "vulns" not in entry:
            unchecked.append(f"{entry['name']}: {entry.get('skip_reason', 'no answer')}")
        for fault in entry.get("vulns", ()):
            fixed = ", ".join(fault.get("fix_versions", ())) or "no version yet"
            found.append(f"{entry['name']} {entry['version']}: {fault['id']}, fixed in {fixed}")
    answered = {canonicalize_name(entry["name"]) for entry in entries}
    return found, unchecked + [f"{name}: no answer" for name in packages if name not in answered]


def main(args: Args) -> int:
    packages = needed()
    status = 0
    if args.licenses:
        odd = odd_licenses(packages)
        for line in odd:
            print(
                f"license: {line}; expected one of scripts/audit.py, or an exception with a reason"
            )
        print(f"licenses: {len(packages)} packages, {len(odd)} to look at")
        status = 1 if odd else 0
    if args.vulnerabilities:
        found, unchecked = vulnerabilities(packages, args.auditor)
        for line in found:
            print(f"vulnerability: {line}")
        checked = len(packages) - len(unchecked)
        print(f"vulnerabilities: {checked} packages checked, {len(found)} found")
        if unchecked:
            print(
                f"NOT CHECKED for vulnerabilities: {len(unchecked)} of {len(packages)} packages "
                f"(the first: {unchecked[0]}); repeat with access to the index of packages"
            )
        status = 1 if found or status else 2 if unchecked else 0
    return status


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args, description=__doc__)))

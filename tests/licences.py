"""Table of the pinned packages and their licences: python tests/licences.py > envs/licences.md."""

import re
from importlib.metadata import Distribution, distribution

from configs import ROOT

HEAD = """# Packages and their licences

What `envs/constraints.txt` pins, with the licence that each package states of itself. mflens is
MIT. healpy and ducc0 are under the GPL, as is FFTW, which pyFFTW's wheels hold, camb and getdist
under the LGPL, icc-rt and intel-openmp (which PySCo needs) are proprietary: mind that before you
pass on an image of the environment.

Written by `python tests/licences.py > envs/licences.md`; a unit test keeps it true.

## Known vulnerabilities

`pip-audit --no-deps -r envs/constraints.txt` asks PyPI for advisories on these versions. Tried with
pip-audit 2.10.1 on 2026-11-22 where neither PyPI's advisories nor OSV could be reached: none of the
131 packages could be audited, so nothing is known. Repeat it where there is internet.

## Packages

| package | version | licence |
| --- | --- | --- |
"""
OTHERWISE = "not stated"


def pins() -> dict[str, str]:
    """Return the pinned version of every package."""
    lines = (ROOT / "envs/constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip(): version.strip() for name, version in pairs}


def licence(package: Distribution) -> str:
    """Return the licence that a package states: as an expression, a class, a line or a file."""
    about = package.metadata
    classes = [
        entry.split(" :: ")[-1]
        for entry in about.get_all("Classifier") or []
        if entry.startswith("License :: ") and entry != "License :: OSI Approved"
    ]
    line = (about.get("License") or "").strip()
    for said in (about.get("License-Expression"), ", ".join(classes), line):
        if said and "\n" not in said and len(said) < 90:
            return said
    for path in package.files or []:
        if re.search(r"licen[cs]e", path.name, re.IGNORECASE) and path.locate().is_file():
            text = path.locate().read_text(errors="replace").strip()
            if "Redistribution and use" in text and "Neither the name" in text:
                return "BSD-3-Clause"
            if "licen" in text[:60].lower():
                return text.splitlines()[0].strip("# ")
    return OTHERWISE


def table() -> str:
    """Return the page."""
    rows = [(name, version, licence(distribution(name))) for name, version in pins().items()]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    print(table(), end="")

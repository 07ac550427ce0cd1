"""What we bring along may be used by whoever uses us."""

from __future__ import annotations

import re
from importlib.metadata import distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).parents[2] / "docs" / "licences.md"
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)


def runtime_packages() -> set[str]:
    """Names of everything that guestwire needs at run time, and what that needs."""
    found: set[str] = set()
    waiting = ["guestwire"]
    while waiting:
        for line in requires(waiting.pop()) or ():
            requirement = Requirement(line)
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and name not in found:
                found.add(name)
                waiting.append(requirement.name)
    return found


def licence_of(package: str) -> str:
    """What the package's own metadata says."""
    metadata = distribution(package).metadata
    classifiers = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier") or () if "License ::" in line]
    said = metadata["License-Expression"] or ", ".join(classifiers) or (metadata["License"] or "").split("\n")[0]
    return said.strip() or first_line_of_licence(package)


def first_line_of_licence(package: str) -> str:
    """For packages that ship their licence as a file and say nothing else."""
    for file in distribution(package).files or ():
        if re.match(r"LICEN[CS]E", file.name, re.IGNORECASE):
            return next((line.strip() for line in file.read_text().splitlines() if line.strip()), "")
    return ""


def page_rows() -> str:
    """The rows of the page's table."""
    return "".join(f"| {name} | {licence_of(name)} |\n" for name in sorted(runtime_packages()))


def test_no_runtime_package_is_under_the_gpl() -> None:
    """No package that comes with guestwire forbids using it in a closed program."""
    guilty = {name: licence for name in runtime_packages() if COPYLEFT.search(licence := licence_of(name))}
    assert guilty == {}


def test_every_runtime_package_has_a_licence_that_is_known() -> None:
    """A package that does not say its licence is not brought along."""
    assert [name for name in sorted(runtime_packages()) if not licence_of(name)] == []


def test_the_page_lists_every_package_with_its_licence() -> None:
    """docs/licences.md is what the installed metadata says; `make docs` makes it anew."""
    assert PAGE.read_text().endswith("| --- | --- |\n" + page_rows())


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text[: text.index("| --- | --- |")] + "| --- | --- |\n" + page_rows())

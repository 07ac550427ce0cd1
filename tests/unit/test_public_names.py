"""The public face: about twenty names, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

import guestwire


def test_all_names_what_is_there() -> None:
    """What `from guestwire import *` promises is what can be had, and each name once."""
    assert sorted(guestwire._HOME_OF) == sorted(guestwire.__all__) == dir(guestwire)
    assert len(set(guestwire.__all__)) == len(guestwire.__all__)


@pytest.mark.parametrize("name", guestwire.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    """Whoever asks `help(guestwire.X)` gets an answer."""
    assert getattr(guestwire, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typo fails as it would in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'GuestWier'"):
        _ = guestwire.GuestWier


def test_importing_the_package_imports_nothing_heavy() -> None:
    """`import guestwire` costs a few milliseconds: the parts come with the first use of their names."""
    heavy = "aiohttp picows pydantic msgspec apsw cryptography typer rich asyncio"
    code = f"import sys, guestwire; print([name for name in {heavy.split()!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("guestwire.testing", "pytest hypothesis pytest_asyncio aiohttp"),
        ("guestwire.testing.stores", "hypothesis pytest_asyncio"),
        ("guestwire.testing.transports", "hypothesis pytest_asyncio"),
    ],
)
def test_what_is_for_tests_asks_for_no_more_than_it_needs(module: str, absent: str) -> None:
    """A clock or a scripted transport needs no test runner, and a suite for pytest no other tool."""
    code = f"import sys, {module}; print([name for name in {absent.split()!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == "[]"

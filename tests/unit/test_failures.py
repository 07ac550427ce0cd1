"""
What exceptions of libraries prove: a row for each that is installed here, and the same outcome wherever they meet us.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import importlib
import io
import pkgutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import aiohttp
import pytest
import urllib3
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from guestwire.net import Answer, NotSent, Unreachable, _raise_unreachable
from guestwire.policy.failures import FAILURES, UNUSED, Left, is_foreseen, is_unsent, left_by
from guestwire.transports.sdk_http import _Flight

#: What cannot be imported here: parts of the libraries that need others which nobody has installed.
OPTIONAL = {
    "aiohttp.worker",
    "python_socks.async_.anyio",
    "python_socks.async_.curio",
    "python_socks.async_.trio",
    "urllib3.contrib.emscripten",
    "urllib3.contrib.pyopenssl",
    "urllib3.contrib.socks",
    "urllib3.http2.connection",
}


def modules_of(package: str) -> Iterator[ModuleType]:
    """Every module of an installed package."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda name: None):
        if found.name.startswith(tuple(OPTIONAL)):
            continue
        yield importlib.import_module(found.name)


def raised_by(package: str) -> dict[str, type[BaseException]]:
    """Every exception class that a package defines, by full name; warnings are none."""
    found: dict[str, type[BaseException]] = {}
    for module in modules_of(package):
        for kind in vars(module).values():
            if not (isinstance(kind, type) and issubclass(kind, BaseException)) or issubclass(kind, Warning):
                continue
            if kind.__module__.split(".")[0] == package:
                found[full_name(kind)] = kind
    return found


def full_name(kind: type) -> str:
    """As the table has it."""
    return f"{kind.__module__}.{kind.__qualname__}"


def of_python() -> dict[str, type[BaseException]]:
    """What sockets, TLS, names, `http.client` and the event loop raise, as far as it has a class of its own."""
    found: list[type[BaseException]] = [ValueError, EOFError]
    waiting: list[type[BaseException]] = [OSError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__ == "builtins":
            found.append(kind)
            waiting += kind.__subclasses__()
    for module in (socket, ssl, http.client, asyncio.exceptions):
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
        found += [kind for kind in kinds if kind.__module__ == module.__name__]
    return {full_name(kind): kind for kind in found}


KEY = ConnectionKey("platform.example", 443, True, True, None, None, None)
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
REQUEST = aiohttp.RequestInfo(URL("https://platform.example/"), "POST", CIMultiDictProxy(CIMultiDict()))
#: What exceptions are made of, the simplest that will do.
ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    (),
    ("words",),
    (KEY, REFUSED),
    (KEY, REFUSED, REFUSED),
    (REQUEST, ()),
    (b"words", 17),
    (None, "words"),
    (None, None, None),
    (3, 17),
    ("/socket", KEY, REFUSED),
    (urllib3.HTTPResponse(io.BytesIO()), b"x"),
)


def made(kind: type[BaseException]) -> BaseException:
    """One of its kind."""
    for arguments in ARGUMENTS:
        try:
            error = kind(*arguments)
            str(error)
        except (TypeError, AttributeError):
            continue
        return error
    raise AssertionError(f"cannot make a {full_name(kind)}: add what it is made of")


LIBRARIES = ("aiohttp", "picows", "python_socks")


@pytest.mark.parametrize("package", LIBRARIES)
def test_every_exception_of_a_library_has_a_row(package: str) -> None:
    """A release that adds one is noticed before anybody meets it; none is decided by accident."""
    unnamed = [name for name in raised_by(package) if name not in FAILURES and not name.startswith(UNUSED)]
    assert sorted(unnamed) == []


def test_every_exception_of_pythons_own_has_a_row() -> None:
    """Sockets, TLS, names, http.client and the event loop."""
    assert sorted(set(of_python()) - set(FAILURES)) == []


def test_every_row_is_of_a_class_that_exists() -> None:
    """A class that a release drops or moves leaves no row behind that nothing can reach."""
    known = of_python()
    for package in LIBRARIES:
        known |= raised_by(package)
    assert sorted(set(FAILURES) - set(known)) == []
    # Without arguments: what they are made of plays no part.
    found = {name: left_by(known[name].__new__(known[name])) for name in FAILURES}
    assert found == FAILURES


def test_what_is_said_to_be_unused_is_not_imported_by_us() -> None:
    """Nobody here imports the modules that the table leaves out; only a test's own server may."""
    code = (
        "import sys, guestwire.client, guestwire.transports.webmessaging, guestwire.transports.openmessaging\n"
        f"print([name for name in sys.modules if name.startswith({UNUSED!r})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_new_kind_counts_as_the_nearest_one_that_is_named() -> None:
    """A release's new kind of connector error was not sent; one of nobody's may have been, and is somebody's bug."""

    class NewConnectorError(aiohttp.ClientConnectorError):
        pass

    class NewClientError(aiohttp.ClientError):
        pass

    class Nobodys(Exception):
        pass

    assert is_unsent(made(NewConnectorError))
    assert (is_unsent(made(NewClientError)), is_foreseen(made(NewClientError))) == (False, True)
    assert (is_unsent(Nobodys()), is_foreseen(Nobodys())) == (False, False)
    assert is_foreseen(ConnectionResetError(errno.ECONNRESET, "reset"))


def test_the_edge_translates_every_row() -> None:
    """Whatever ends a request becomes `NotSent` where nothing has left, and `Unreachable` everywhere else."""
    kinds = of_python() | raised_by("aiohttp")
    rows = {name: row for name, row in FAILURES.items() if name in kinds and row is not Left.NEVER}
    assert len(rows) > 50
    for name, row in rows.items():
        with pytest.raises(Unreachable) as caught:
            _raise_unreachable(made(kinds[name]), "https://platform.example/path?secret=canary")
        assert (name, isinstance(caught.value, NotSent)) == (name, row is Left.NOTHING)


def test_the_edge_catches_every_row_of_its_client() -> None:
    """What aiohttp may raise at us is of the kinds that `Http` catches: nothing passes it untranslated."""
    caught = (TimeoutError, aiohttp.ClientError, OSError, ValueError)
    rows = {
        name: kind for name, kind in raised_by("aiohttp").items() if FAILURES.get(name, Left.NEVER) is not Left.NEVER
    }
    assert len(rows) > 20
    assert [name for name, kind in rows.items() if not issubclass(kind, caught)] == []


# --- the SDK: whatever is raised, who sends knows ---


class Standing:
    """A connection that stands, as far as a flight looks at it."""

    flight: Any = None


def test_whatever_is_raised_beneath_the_sdk_its_flight_knows_whether_anything_had_left() -> None:
    """Every class of urllib3 and of Python, of this release or the next: before, after, and with an answer in hand."""
    kinds = [kind for kind in (raised_by("urllib3") | of_python()).values() if issubclass(kind, Exception)]
    assert len(kinds) > 60
    for kind in kinds:
        check_flight(made(kind))


def check_flight(error: BaseException) -> None:
    """Let it end a request before it has left, after that, and once there is an answer."""

    def work() -> None:
        raise error

    flight = _Flight(threading.Lock())
    with pytest.raises(NotSent):
        flight.go(work)
    flight = _Flight(threading.Lock())
    flight.depart(Standing())  # type: ignore[arg-type]
    with pytest.raises(Unreachable) as caught:
        flight.go(work)
    assert not isinstance(caught.value, NotSent)
    flight.answer = Answer(202, {}, b"{}")
    assert flight.go(work).status == 202

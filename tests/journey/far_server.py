"""A server that reads whole requests off a raw socket, and then does whatever a test wants, however rude."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple


class Request(NamedTuple):
    """What was read off the wire. Names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


#: What is sent for a request, as it goes out; `SILENCE`: nothing; None: the connection is reset.
Behaviour = Callable[[Request], bytes | None]
SILENCE = b""


def answer(status: int, body: bytes = b"{}", **headers: str) -> bytes:
    """Spell an answer; `_` in names of headers stands for `-`."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


class FarServer:
    """
    Serves on a free port of 127.0.0.1, each connection on a thread of its own, until the block ends.

    Args:
        behaviour: Called with every request; it may block on what the test holds.
        tls: For https.
    """

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self._behaviour = behaviour
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._gate = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        #: In the order in which they were complete.
        self.requests: list[Request] = []
        #: Set when a client has let a connection go, or broken it.
        self.left = threading.Event()

    def __enter__(self) -> FarServer:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._gate:
            still = list(self._open)
        for link in (self._listener, *still):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(link, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def posts(self, ending: str = "") -> list[Request]:
        """The POSTs whose path ends like this."""
        return [one for one in self.requests if one.method == "POST" and one.target.partition("?")[0].endswith(ending)]

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with self._gate:
                self._open.add(link)
            self._start(lambda link=link: self._serve(link))  # type: ignore[misc]

    def _serve(self, link: socket.socket) -> None:
        plain = link
        try:
            if self._tls is not None:
                link = self._tls.wrap_socket(link, server_side=True)
                with self._gate:
                    self._open.add(link)
            with link.makefile("rb") as lines:
                while request := _read(lines.readline, lines.read):
                    with self._gate:
                        self.requests.append(request)
                    reply = self._behaviour(request)
                    if reply is None:
                        # With nothing to linger for, closing sends a reset.
                        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    link.sendall(reply)
        except (OSError, ValueError):
            pass
        finally:
            self.left.set()
            with self._gate:
                self._open -= {plain, link}
            link.close()
            plain.close()


def _read(line: Callable[[], bytes], read: Callable[[int], bytes]) -> Request | None:
    first = line().decode("latin-1").split()
    if not first:
        return None
    headers: dict[str, str] = {}
    while (text := line().decode("latin-1").strip()) != "":
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return Request(first[0], first[1], headers, read(int(headers.get("content-length", 0))))

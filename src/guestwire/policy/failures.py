"""
What an exception of a library proves about the request that it ended: whether anything of it may have left.

Only where it is certain that nothing has left, the request may be made again at once; else its outcome is unknown. The
table is written in names, because nothing here may be imported for it, and read along the bases of an exception: a
class that a new release adds counts as the nearest named one, and `tests/unit/test_failures.py` asks for a row of its
own. Whatever is not named at all may have left.

Calls through the vendor's SDK need no rows: its HTTP client is ours (`transports.sdk_http`), and sees for itself
whether a connection stood, whatever is raised then.
"""

from __future__ import annotations

import enum
from typing import Final


class Left(enum.Enum):
    """What of a request has left when such an exception ends it."""

    NOTHING = "nothing: no connection was made"
    PERHAPS = "perhaps all of it"
    ANSWER = "all of it: the exception brings an answer, whose status decides"
    NEVER = "not raised where we call"


_AIOHTTP = "aiohttp.client_exceptions."
_RAW = "aiohttp.http_exceptions."
_SOCKS = "python_socks."

#: By full name of the class; modules as they are in the pinned releases.
FAILURES: Final[dict[str, Left]] = {
    # --- Python's own, from sockets, TLS and names ---
    "builtins.OSError": Left.PERHAPS,
    "builtins.BlockingIOError": Left.PERHAPS,
    "builtins.BrokenPipeError": Left.PERHAPS,
    "builtins.ChildProcessError": Left.PERHAPS,
    "builtins.ConnectionError": Left.PERHAPS,
    "builtins.ConnectionAbortedError": Left.PERHAPS,
    # TCP says so to a connect alone: a connection that stood is reset.
    "builtins.ConnectionRefusedError": Left.NOTHING,
    "builtins.ConnectionResetError": Left.PERHAPS,
    "builtins.FileExistsError": Left.PERHAPS,
    "builtins.FileNotFoundError": Left.PERHAPS,
    "builtins.InterruptedError": Left.PERHAPS,
    "builtins.IsADirectoryError": Left.PERHAPS,
    "builtins.NotADirectoryError": Left.PERHAPS,
    # A local firewall: at the connect, or at any write after it.
    "builtins.PermissionError": Left.PERHAPS,
    "builtins.ProcessLookupError": Left.PERHAPS,
    "builtins.TimeoutError": Left.PERHAPS,
    "builtins.EOFError": Left.PERHAPS,
    "builtins.ValueError": Left.PERHAPS,
    "socket._GiveupOnSendfile": Left.NEVER,
    "socket.gaierror": Left.NOTHING,
    "socket.herror": Left.NOTHING,
    "ssl.SSLError": Left.PERHAPS,
    # We judge the certificate before we write the first byte of a request.
    "ssl.SSLCertVerificationError": Left.NOTHING,
    "ssl.SSLEOFError": Left.PERHAPS,
    "ssl.SSLSyscallError": Left.PERHAPS,
    "ssl.SSLWantReadError": Left.PERHAPS,
    "ssl.SSLWantWriteError": Left.PERHAPS,
    "ssl.SSLZeroReturnError": Left.PERHAPS,
    # The relay stops.
    "asyncio.exceptions.CancelledError": Left.PERHAPS,
    "asyncio.exceptions.BrokenBarrierError": Left.NEVER,
    "asyncio.exceptions.IncompleteReadError": Left.PERHAPS,
    "asyncio.exceptions.InvalidStateError": Left.NEVER,
    "asyncio.exceptions.LimitOverrunError": Left.NEVER,
    "asyncio.exceptions.SendfileNotAvailableError": Left.NEVER,
    # --- http.client: one GET of the deployment's configuration ---
    "http.client.HTTPException": Left.PERHAPS,
    "http.client.BadStatusLine": Left.PERHAPS,
    "http.client.CannotSendHeader": Left.PERHAPS,
    "http.client.CannotSendRequest": Left.PERHAPS,
    "http.client.ImproperConnectionState": Left.PERHAPS,
    "http.client.IncompleteRead": Left.PERHAPS,
    "http.client.InvalidURL": Left.NOTHING,
    "http.client.LineTooLong": Left.PERHAPS,
    "http.client.NotConnected": Left.PERHAPS,
    "http.client.RemoteDisconnected": Left.PERHAPS,
    "http.client.ResponseNotReady": Left.PERHAPS,
    "http.client.UnimplementedFileMode": Left.NEVER,
    "http.client.UnknownProtocol": Left.PERHAPS,
    "http.client.UnknownTransferEncoding": Left.NEVER,
    # --- aiohttp: requests ---
    _AIOHTTP + "ClientError": Left.PERHAPS,
    _AIOHTTP + "ClientConnectionError": Left.PERHAPS,
    _AIOHTTP + "ClientConnectionResetError": Left.PERHAPS,
    # A name, a socket or TLS; the next five are kinds of it.
    _AIOHTTP + "ClientConnectorError": Left.NOTHING,
    _AIOHTTP + "ClientConnectorCertificateError": Left.NOTHING,
    _AIOHTTP + "ClientConnectorDNSError": Left.NOTHING,
    _AIOHTTP + "ClientConnectorSSLError": Left.NOTHING,
    _AIOHTTP + "ClientProxyConnectionError": Left.NOTHING,
    _AIOHTTP + "ClientSSLError": Left.NOTHING,
    _AIOHTTP + "UnixClientConnectorError": Left.NEVER,
    # The proxy's answer to CONNECT: the request would have come after it.
    _AIOHTTP + "ClientHttpProxyError": Left.NOTHING,
    _AIOHTTP + "ClientOSError": Left.PERHAPS,
    _AIOHTTP + "ClientPayloadError": Left.PERHAPS,
    _AIOHTTP + "ClientResponseError": Left.PERHAPS,
    _AIOHTTP + "ConnectionTimeoutError": Left.NOTHING,
    _AIOHTTP + "ContentTypeError": Left.NEVER,
    _AIOHTTP + "InvalidURL": Left.NOTHING,
    _AIOHTTP + "InvalidUrlClientError": Left.NOTHING,
    _AIOHTTP + "NonHttpUrlClientError": Left.NOTHING,
    _AIOHTTP + "ServerConnectionError": Left.PERHAPS,
    _AIOHTTP + "ServerDisconnectedError": Left.PERHAPS,
    _AIOHTTP + "ServerFingerprintMismatch": Left.NEVER,
    _AIOHTTP + "ServerTimeoutError": Left.PERHAPS,
    _AIOHTTP + "SocketTimeoutError": Left.PERHAPS,
    _AIOHTTP + "UploadAbortedError": Left.PERHAPS,
    # Redirects are answers, and its WebSocket client is not used.
    _AIOHTTP + "InvalidUrlRedirectClientError": Left.NEVER,
    _AIOHTTP + "NonHttpUrlRedirectClientError": Left.NEVER,
    _AIOHTTP + "RedirectClientError": Left.NEVER,
    _AIOHTTP + "TooManyRedirects": Left.NEVER,
    _AIOHTTP + "WSMessageTypeError": Left.NEVER,
    _AIOHTTP + "WSServerHandshakeError": Left.NEVER,
    "aiohttp._websocket.models.WSHandshakeError": Left.NEVER,
    "aiohttp._websocket.models.WebSocketError": Left.NEVER,
    # Its client hands on what its parser raises as ClientResponseError or ClientPayloadError.
    _RAW + "HttpProcessingError": Left.NEVER,
    _RAW + "BadHttpMessage": Left.NEVER,
    _RAW + "BadHttpMethod": Left.NEVER,
    _RAW + "BadStatusLine": Left.NEVER,
    _RAW + "ContentEncodingError": Left.NEVER,
    _RAW + "ContentLengthError": Left.NEVER,
    _RAW + "DecompressSizeError": Left.NEVER,
    _RAW + "HttpBadRequest": Left.NEVER,
    _RAW + "InvalidHeader": Left.NEVER,
    _RAW + "InvalidURLError": Left.NEVER,
    _RAW + "LineTooLong": Left.NEVER,
    _RAW + "PayloadEncodingError": Left.NEVER,
    _RAW + "TransferEncodingError": Left.NEVER,
    "aiohttp.compression_utils.TooManyMembersError": Left.NEVER,
    "aiohttp.payload.LookupError": Left.NEVER,
    "aiohttp.streams.EofStream": Left.NEVER,
    # --- picows: a message leaves when a session is configured, long after the handshake ---
    "picows.common.WSError": Left.NOTHING,
    "picows.common.WSHandshakeError": Left.NOTHING,
    "picows.common.WSInvalidHeaderError": Left.NOTHING,
    "picows.common.WSInvalidMessageError": Left.NOTHING,
    "picows.common.WSInvalidStatusError": Left.ANSWER,
    "picows.common.WSInvalidUpgradeError": Left.NOTHING,
    "picows.url.WSInvalidURL": Left.NOTHING,
    # The peer broke the protocol, at whatever moment: the line is lost, and what was on it has an unknown outcome.
    "picows.common.WSProtocolError": Left.PERHAPS,
    "picows.picows._NotImplemented": Left.NEVER,
    # Proxies of WebSockets.
    _SOCKS + "_errors.ProxyException": Left.NOTHING,
    _SOCKS + "_errors.ProxyConnectionError": Left.NOTHING,
    _SOCKS + "_errors.ProxyError": Left.NOTHING,
    _SOCKS + "_errors.ProxyTimeoutError": Left.NOTHING,
    _SOCKS + "_errors.IncompleteReadError": Left.NEVER,
    _SOCKS + "_protocols.errors.ReplyError": Left.NEVER,
}

#: Modules of which nothing can come our way: servers, and interfaces that nobody here calls.
UNUSED: Final = (
    "aiohttp.pytest_plugin",
    "aiohttp.test_utils",
    "aiohttp.web_app",
    "aiohttp.web_exceptions",
    "aiohttp.web_protocol",
    "aiohttp.web_runner",
    "picows.websockets",
)


def left_by(error: BaseException) -> Left | None:
    """Return the row of an exception: its own, else that of its nearest base; None where nobody foresaw it."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((FAILURES[name] for name in names if name in FAILURES), None)


def is_unsent(error: BaseException) -> bool:
    """Whether it is certain that nothing of the request has left."""
    return left_by(error) is Left.NOTHING


def is_foreseen(error: BaseException) -> bool:
    """Whether this is one of the ways in which a connection fails; anything else is somebody's bug."""
    return left_by(error) not in (None, Left.NEVER)

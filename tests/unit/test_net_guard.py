"""Requests to addresses that others choose: where they may lead, what goes out, and what an error tells."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from guestwire.net import (
    KEPT_BYTES,
    MAX_ANSWER_BYTES,
    SLICE_BYTES,
    Answer,
    Forbidden,
    Guard,
    Http,
    Unreachable,
)
from guestwire.policy.reach import address_refusal, is_allowed, refusal

PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:2800:220:1:248:1893:25c8:1946"
QUERY = "X-Amz-Signature=c0ffee4711&X-Amz-Expires=60"


# --- the decision ---


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("https://files.example/a/b?c=d#e", [PUBLIC]),
        ("https://files.example:8443/", [PUBLIC, PUBLIC_6]),
        ("HTTPS://Files.Example/%2e%2e/x", [PUBLIC]),
        ("https://my_bucket.s3.example?x=1", [PUBLIC]),
        (f"https://{PUBLIC}/", []),
        (f"https://[{PUBLIC_6}]:443/", []),
        ("https://files.example/", ["64:ff9b::5db8:d822"]),  # NAT64 of a public address
        ("https://files.example/", ["::ffff:93.184.216.34"]),
        ("https://xn--bcher-kva.example/", [PUBLIC]),
        ("https://0x7f.example/", [PUBLIC]),
        ("https://files.example/?u=http://10.0.0.1@x", [PUBLIC]),
    ],
)
def test_public_places_are_open(url: str, addresses: list[str]) -> None:
    """Whoever hands in an ordinary address is not troubled."""
    assert refusal(url, addresses, ()) is None


@pytest.mark.parametrize(
    ("url", "addresses", "said"),
    [
        # schemes
        ("http://files.example/", [PUBLIC], "not https"),
        ("ftp://files.example/", [PUBLIC], "not https"),
        ("file:///etc/passwd", [], "not https"),
        ("gopher://files.example/", [PUBLIC], "not https"),
        ("javascript:alert(1)", [], "not a URL"),
        ("//files.example/", [], "not a URL"),
        ("files.example/x", [], "not a URL"),
        ("", [], "not a URL"),
        # what two readers read differently
        ("https://files.example\\@10.0.0.1/", [], "user name"),
        ("https://files.example\\.evil.example/", [], "cannot be read"),
        ("https://joe@files.example/", [PUBLIC], "user name"),
        ("https://joe:hunter2@files.example/", [PUBLIC], "user name"),
        ("https://@files.example/", [PUBLIC], "user name"),
        ("https://files.example/a b", [PUBLIC], "not a URL"),
        ("https://files.example/\r\nHost: x", [PUBLIC], "not a URL"),
        ("https://files.example/\\x", [PUBLIC], "not a URL"),
        (" https://files.example/", [PUBLIC], "not a URL"),
        ("https://files.example/\n", [PUBLIC], "not a URL"),
        ("https://files.example/é", [PUBLIC], "not a URL"),
        ("https://①②⑦.0.0.1/", [], "cannot be read"),
        ("https://files。example/", [PUBLIC], "cannot be read"),
        ("https://files.example:/", [PUBLIC], "cannot be read"),
        ("https://files.example:0/", [PUBLIC], "cannot be read"),
        ("https://files.example:65536/", [PUBLIC], "cannot be read"),
        ("https://files.example:443:80/", [PUBLIC], "cannot be read"),
        ("https://files.example:+443/", [PUBLIC], "cannot be read"),
        ("https:///x", [], "cannot be read"),
        ("https://files.example./", [PUBLIC], "cannot be read"),
        ("https://files..example/", [PUBLIC], "cannot be read"),
        ("https://.files.example/", [PUBLIC], "cannot be read"),
        ("https://-files.example/", [PUBLIC], "cannot be read"),
        (f"https://{'a' * 64}.example/", [PUBLIC], "cannot be read"),
        (f"https://{'a.' * 127}example/", [PUBLIC], "cannot be read"),
        ("https://%31%32%37.0.0.1/", [], "cannot be read"),
        # odd spellings of IPv4
        ("https://2130706433/", [], "unusual spelling"),
        ("https://0x7f000001/", [], "unusual spelling"),
        ("https://0X7F.1/", [], "unusual spelling"),
        ("https://017700000001/", [], "unusual spelling"),
        ("https://0177.0.0.1/", [], "unusual spelling"),
        ("https://127.1/", [], "unusual spelling"),
        ("https://127.0.0.1./", [], "unusual spelling"),
        ("https://127.0.0.01/", [], "unusual spelling"),
        ("https://0/", [], "unusual spelling"),
        ("https://93.184.216.34.5/", [], "unusual spelling"),
        ("https://files.example.1/", [], "unusual spelling"),
        ("https://[::1%25lo]/", [], "cannot be read"),
        ("https://[93.184.216.34]/", [], "unusual spelling"),
        ("https://[v1.x]/", [], "cannot be read"),
        ("https://[1:2]/", [], "unusual spelling"),
        # names of here
        ("https://localhost/", [PUBLIC], "local network"),
        ("https://crm/", [PUBLIC], "local network"),
        ("https://a.localhost/", [PUBLIC], "local network"),
        ("https://printer.local/", [PUBLIC], "local network"),
        ("https://metadata.google.internal/", [PUBLIC], "local network"),
        # addresses
        ("https://127.0.0.1/", [], "loopback"),
        ("https://10.1.2.3/", [], "private"),
        ("https://[::1]/", [], "loopback"),
        ("https://[0:0:0:0:0:0:0:1]/", [], "loopback"),
        ("https://[::ffff:127.0.0.1]/", [], "loopback"),
        ("https://[::FFFF:7f00:1]/", [], "loopback"),
        ("https://[::127.0.0.1]/", [], "reserved"),
        ("https://[64:ff9b::10.0.0.1]/", [], "private"),
        ("https://[64:ff9b:1::10.0.0.1]/", [], "reserved"),
        ("https://[2002:a00:1::]/", [], "private"),
        ("https://[2001::1]/", [], "reserved"),
        ("https://[fd00:ec2::254]/", [], "private"),
        ("https://[fec0::1]/", [], "reserved"),
        ("https://files.example/", ["172.16.0.1"], "private"),
        ("https://files.example/", ["192.168.0.1"], "private"),
        ("https://files.example/", ["100.64.0.1"], "carrier"),
        ("https://files.example/", ["100.100.100.200"], "carrier"),
        ("https://files.example/", ["169.254.169.254"], "link-local"),
        ("https://files.example/", ["168.63.129.16"], "cloud host"),
        ("https://files.example/", ["192.0.0.192"], "reserved"),
        ("https://files.example/", ["0.0.0.0"], "unspecified"),  # noqa: S104 - refused, not listened on
        ("https://files.example/", ["224.0.0.1"], "multicast"),
        ("https://files.example/", ["255.255.255.255"], "reserved"),
        ("https://files.example/", ["::"], "unspecified"),
        ("https://files.example/", ["fe80::1%eth0"], "link-local"),
        ("https://files.example/", ["2606:2800::1%eth0"], "link-local"),
        ("https://files.example/", ["ff02::1"], "multicast"),
        ("https://files.example/", ["2001:db8::1"], "documentation"),
        ("https://files.example/", [PUBLIC, "10.0.0.1"], "private"),
        ("https://files.example/", [PUBLIC_6, PUBLIC, "::1"], "loopback"),
        ("https://files.example/", ["nonsense"], "no IP address"),
    ],
)
def test_everything_else_is_closed(url: str, addresses: list[str], said: str) -> None:
    """Each refusal says why, in words that hold nothing of path and query."""
    reason = refusal(url + "?" + QUERY if url else url, addresses, ())
    assert reason is not None
    assert said in reason
    assert "Amz" not in reason
    assert "hunter2" not in reason


@pytest.mark.parametrize(
    ("url", "allow", "is_open"),
    [
        ("http://127.0.0.1:8080/x", ("127.0.0.1:8080",), True),
        ("http://127.0.0.1:8081/x", ("127.0.0.1:8080",), False),
        ("http://127.0.0.1:8081/x", ("127.0.0.1",), True),
        ("https://127.0.0.2/x", ("127.0.0.1",), False),
        ("https://CRM/x", ("crm",), True),
        ("https://crm/x", ("CRM:443",), True),
        ("http://crm/x", ("crm:80",), True),
        ("http://crm/x", ("crm:443",), False),
        ("http://[0::1]:99/x", ("[::1]:99",), True),
        ("ftp://crm/x", ("crm",), False),
        ("http://joe@crm/x", ("crm",), False),
        ("http://127.1/x", ("127.0.0.1", "127.1"), False),
        ("https://crm.evil.example/x", ("crm",), True),  # as open as any other name
        ("http://evil.example/x", ("example", ".example", "*"), False),
    ],
)
def test_only_the_very_host_that_was_allowed_is_open(url: str, allow: tuple[str, ...], is_open: bool) -> None:
    """An entry opens one host, on one port or on all; it excuses neither a user name nor an odd spelling."""
    assert (refusal(url, (), allow) is None) == is_open


def test_an_allowed_address_is_recognised_as_the_resolver_gives_it() -> None:
    """Without the brackets that a URL needs."""
    assert is_allowed("::1", 80, ("[::1]:80",))


def _parts(address: int) -> list[list[int]]:
    """The address as 1, 2, 3 and 4 numbers: resolvers take all of them."""
    a, b, c, d = address.to_bytes(4, "big")
    return [[address], [a, address & 0xFFFFFF], [a, b, address & 0xFFFF], [a, b, c, d]]


#: Decimal, hexadecimal, and octal, which has a zero before it.
_SPELLINGS = ("{}", "{:#x}", "{:#X}", "0{:o}", "000{:o}")


@st.composite
def _spellings(draw: st.DrawFn) -> str:
    """A host that some reader takes for an IPv4 address that is not public."""
    blocks = ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
    blocks += ["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"]
    network, _, bits = draw(st.sampled_from(blocks)).partition("/")
    address = int(IPv4Address(network)) | draw(st.integers(0, 2 ** (32 - int(bits)) - 1))
    shape = draw(st.sampled_from(["numbers", "mapped", "nat64", "6to4", "compatible"]))
    if shape == "numbers":
        numbers = draw(st.sampled_from(_parts(address)))
        spelled = [draw(st.sampled_from(_SPELLINGS)).format(number) for number in numbers]
        return ".".join(spelled) + draw(st.sampled_from(["", "."]))
    number = {
        "mapped": 0xFFFF << 32 | address,
        "nat64": 0x64FF9B << 96 | address,
        "6to4": 0x2002 << 112 | address << 80 | draw(st.integers(0, 2**80 - 1)),
        "compatible": address,
    }[shape]
    six = IPv6Address(number)
    return f"[{draw(st.sampled_from([six.compressed, six.exploded, six.exploded.upper()]))}]"


@given(host=_spellings(), scheme=st.sampled_from(["https", "HTTPS"]), rest=st.sampled_from(["", "/", ":443/x", "?a"]))
def test_no_private_address_passes_in_any_spelling(host: str, scheme: str, rest: str) -> None:
    """Decimal, octal, hexadecimal, 1 to 4 numbers, dotted end, mapped, translated, tunnelled."""
    assert refusal(f"{scheme}://{host}{rest}", (), ()) is not None


@given(number=st.integers(0, 2**32 - 1))
@example(number=int(IPv4Address("168.63.129.16")))
@example(number=int(IPv4Address("192.88.99.1")))
def test_what_passes_is_public_for_others_too(number: int) -> None:
    """The standard library's own list of IPv4 networks agrees, as an address and as a spelling of one."""
    address = IPv4Address(number)
    if address_refusal(str(address)) is None:
        assert address.is_global
        assert not address.is_multicast
    assert (refusal(f"https://{address}/", (), ()) is None) == (address_refusal(str(address)) is None)


@given(number=st.integers(0, 2**128 - 1) | st.integers(0x2 << 124, (0x4 << 124) - 1))
def test_what_passes_in_ipv6_is_public_for_others_too(number: int) -> None:
    """Or stands for an IPv4 address that is."""
    address = IPv6Address(number)
    if address_refusal(str(address)) is None:
        public = address.is_global and not address.is_multicast and not address.is_site_local
        assert public or (address.sixtofour is not None and address.sixtofour.is_global)
    assert (refusal(f"https://[{address}]/", (), ()) is None) == (address_refusal(str(address)) is None)


@given(text=st.text(max_size=80))
def test_any_text_is_decided(text: str) -> None:
    """Nothing that somebody hands in raises."""
    for url in (text, "https://" + text):
        reason = refusal(url, (text,), ())
        assert reason is None or isinstance(reason, str)


# --- over the network ---

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on loopback; gives ``host:port``."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def client(
    guard: Guard | None = None,
    *,
    resolve: Callable[[str, int], Awaitable[Sequence[str]]] | None = None,
    proxy: str | None = None,
    timeout_s: float = 30.0,
) -> AsyncIterator[Http]:
    """A client that is closed at the end."""
    http = Http(tls=None, proxy=proxy, timeout_s=timeout_s, guard=guard, resolve=resolve)
    try:
        yield http
    finally:
        await http.close()


async def raw_request(server_answer: bytes, ask: Callable[[str], Awaitable[object]]) -> bytes:
    """What reaches a server byte for byte, up to the end of a body with Content-Length."""
    got = bytearray()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.extend(head)
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        got.extend(await reader.readexactly(length))
        writer.write(server_answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await ask(f"127.0.0.1:{port}")
    return bytes(got)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_a_put_carries_its_own_headers_and_no_others() -> None:
    """Presigned addresses are signed over what is sent: no chunks, nothing added, the query as it came."""

    async def ask(place: str) -> None:
        async with client(Guard((place,))) as http:
            headers = {"x-amz-tagging": "a=1&b=2", "Content-Type": "image/png"}
            answer = await http.put(f"http://{place}/a%2Fb%7e+c?X-Sig=%2b%41/", headers, b"x" * 70_000)
            assert answer.status == 200

    head, _, body = (await raw_request(OK, ask)).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first == "PUT /a%2Fb%7e+c?X-Sig=%2b%41/ HTTP/1.1"
    names = {line.split(": ")[0].lower(): line.split(": ")[1] for line in lines}
    assert names.pop("host").startswith("127.0.0.1:")
    assert names == {"x-amz-tagging": "a=1&b=2", "content-type": "image/png", "content-length": "70000"}
    assert body == b"x" * 70_000


async def test_a_put_without_a_type_goes_out_without_one() -> None:
    """An empty body too."""

    async def ask(place: str) -> None:
        async with client(Guard((place,))) as http:
            await http.put(f"http://{place}/", {}, b"")

    head = (await raw_request(OK, ask)).decode().lower()
    assert "content-type" not in head
    assert "transfer-encoding" not in head
    assert "content-length: 0\r\n" in head


async def test_the_progress_of_a_put_is_told_slice_by_slice() -> None:
    """Rising, and up to the last byte."""

    async def take(request: web.BaseRequest) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    told: list[int] = []
    size = 5 * SLICE_BYTES + 7
    async with serving(take) as place, client(Guard((place,))) as http:
        answer = await http.put(f"http://{place}/", {}, bytes(size), on_progress=told.append)
    assert answer.body == str(size).encode()
    assert told == [SLICE_BYTES * n for n in range(1, 6)] + [size]


@pytest.mark.parametrize("method", ["get", "put", "post"])
async def test_nothing_is_sent_twice(method: str) -> None:
    """A connection that breaks before the answer is an error: limits count requests, and the caller decides."""
    connections: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with client(Guard((place,))) as http:
            with pytest.raises(Unreachable):
                await _ask(http, method, f"http://{place}/")
    assert len(connections) == 1


async def test_a_post_brings_status_headers_and_the_beginning_of_the_answer() -> None:
    """However long that is: whoever took a POST has taken it, whatever he says after that."""

    async def take(request: web.BaseRequest) -> web.Response:
        assert request.headers["X-Key"] == "1"
        size = int(await request.text())
        return web.Response(status=202, headers={"Retry-After": "7"}, body=b"a" * size)

    async with serving(take) as place, client(Guard((place,))) as http:
        short = await http.post(f"http://{place}/", {"X-Key": "1"}, b"10")
        huge = await http.post(f"http://{place}/", {"X-Key": "1"}, b"20000000")
    assert (short.status, short.headers["Retry-After"], short.body) == (202, "7", b"a" * 10)
    assert (huge.status, len(huge.body)) == (202, KEPT_BYTES)


async def test_an_answer_to_a_get_is_whole_or_none() -> None:
    """Compressed ones count by what they unpack to."""

    async def give(request: web.BaseRequest) -> web.Response:
        if request.path == "/bomb":
            bomb = gzip.compress(bytes(8 * MAX_ANSWER_BYTES))
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
        return web.json_response({"a": 1})

    async with serving(give) as place, client(Guard((place,))) as http:
        assert (await http.get(f"http://{place}/")).json() == {"a": 1}
        with pytest.raises(Unreachable, match="larger than"):
            await http.get(f"http://{place}/bomb")


@pytest.mark.parametrize("method", ["get", "put", "post"])
async def test_redirects_are_answers(method: str) -> None:
    """Nobody is sent on to where the guard has not looked."""
    asked: list[str] = []

    async def send_on(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(send_on) as place, client(Guard((place,))) as http:
        answer = await _ask(http, method, f"http://{place}/here")
    assert answer.status == 307
    assert asked == ["/here"]


async def _ask(http: Http, method: str, url: str) -> Answer:
    if method == "get":
        return await http.get(url)
    return await (http.put if method == "put" else http.post)(url, {}, b"body")


@pytest.mark.parametrize("method", ["get", "put", "post"])
@pytest.mark.parametrize("proxied", [False, True])
async def test_a_refused_url_reaches_nobody(method: str, proxied: bool) -> None:
    """Neither the host nor a proxy; the error can be told from one that is worth another try."""
    asked: list[str] = []

    async def take(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async with serving(take) as place, client(Guard(), proxy=f"http://{place}" if proxied else None) as http:
        for url in (f"https://{place}/", f"http://{place}/", "https://localhost/", "https://2130706433/"):
            with pytest.raises(Forbidden):
                await _ask(http, method, url)
    assert asked == []


async def test_a_name_is_refused_for_any_of_its_addresses() -> None:
    """One private address among public ones is enough, before anything connects."""

    async def resolve(host: str, port: int) -> list[str]:
        return [PUBLIC, "127.0.0.1"]

    async with client(Guard(), resolve=resolve) as http:
        with pytest.raises(Forbidden, match=r"loopback address, 127\.0\.0\.1$"):
            await http.get("https://files.example/?" + QUERY)


async def test_a_name_is_asked_for_once_and_its_answer_is_connected_to() -> None:
    """A name that leads elsewhere between check and connect gains nothing: there is no second question."""
    asked: list[str] = []
    reached: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    async def take(request: web.BaseRequest) -> web.Response:
        reached.append(request.headers["Host"])
        return web.Response(headers={"Connection": "close"})

    async with serving(take) as place:
        crm = f"crm.example:{place.rpartition(':')[2]}"
        async with client(Guard((crm,)), resolve=resolve) as http:
            assert (await http.get(f"http://{crm}/")).status == 200
    assert asked == ["crm.example"]
    assert reached == [crm]


async def test_the_system_resolver_is_asked_where_no_other_is_given() -> None:
    """`localhost` is a name that every machine knows."""

    async def take(_: web.BaseRequest) -> web.Response:
        return web.Response()

    async with serving(take) as place:
        local = f"localhost:{place.rpartition(':')[2]}"
        async with client(Guard((local,))) as http:
            assert (await http.get(f"http://{local}/")).status == 200


async def test_through_a_proxy_the_name_is_left_to_the_proxy() -> None:
    """It resolves and connects; the guard has checked the spelling, and the proxy's own address is nobody's matter."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("the proxy resolves")

    async def take(request: web.BaseRequest) -> web.Response:
        asked.append(str(request.url))
        return web.Response()

    async with (
        serving(take) as place,
        client(Guard(("crm.example",)), resolve=resolve, proxy=f"http://{place}") as http,
    ):
        assert (await http.get("http://crm.example/x")).status == 200
    assert asked == ["http://crm.example/x"]


# --- what an error tells ---


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@pytest.mark.parametrize("method", ["get", "put", "post"])
@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("trouble", ["refused", "cut", "garbage", "silent", "no-tls", "bad-header"])
async def test_no_error_tells_the_query(
    method: str, guarded: bool, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither its words, its repr, its traceback nor a log line: who has a presigned URL's query has the file."""
    caplog.set_level(0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if trouble == "no-tls":
                writer.write(b"what?\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            if trouble == "garbage":
                writer.write(b"SMTP/9 go away\r\n\r\n")
            if trouble == "silent":
                await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = _free_port() if trouble == "refused" else server.sockets[0].getsockname()[1]
    place = f"127.0.0.1:{port}"
    url = f"{'https' if trouble == 'no-tls' else 'http'}://{place}/secret-path?{QUERY}"
    guard = Guard((place,)) if guarded else None
    async with server, client(guard, timeout_s=0.3 if trouble == "silent" else 30) as http:
        ask = http.put(url, {"X": "a\r\nb"}, b"") if trouble == "bad-header" else _ask(http, method, url)
        with pytest.raises(Unreachable) as caught:
            await ask
    assert not isinstance(caught.value, Forbidden)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
    shown = "\n".join(line for line in told.splitlines() if not line.lstrip().startswith("|"))
    assert str(caught.value) != ""
    for canary in ("secret-path", "c0ffee4711", "X-Amz"):
        assert canary not in str(caught.value)
        assert canary not in shown


@pytest.mark.parametrize("url", ["nonsense?" + QUERY, "http://[::1?" + QUERY, "http://a:b/?" + QUERY])
async def test_a_url_that_is_none_is_not_quoted(url: str) -> None:
    """With a guard and without one."""
    for guard in (None, Guard()):
        async with client(guard) as http:
            with pytest.raises(Unreachable) as caught:
                await http.get(url)
            told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
            assert "c0ffee4711" not in told


def test_an_answer_shows_nothing_of_what_it_brought() -> None:
    """Tokens stand in bodies, and in the Location of a redirect."""
    shown = repr(Answer(302, {"Location": "https://x/?" + QUERY}, b'{"jwt": "c0ffee4711"}'))
    assert "c0ffee4711" not in shown
    assert "302" in shown


def test_the_spellings_that_the_law_tries_mean_the_address() -> None:
    """As the system itself reads them."""
    address = IPv4Address("10.2.3.4")
    for numbers in _parts(int(address)):
        for spelling in _SPELLINGS:
            assert ip_address(socket.inet_aton(".".join(map(spelling.format, numbers)))) == address

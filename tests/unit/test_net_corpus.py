"""A thousand addresses that lead inside: each is refused with an error of its own, before anything connects."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from guestwire.model import RemoteFile
from guestwire.net import Forbidden, Guard, Http, Resolve, Unreachable
from guestwire.policy.links import check_link
from guestwire.policy.reach import refusal
from tests.corpora.urls import INSIDE, POINTING_NAMES, PUBLIC, PUBLIC_6, RESOLVED, refused_by_spelling

SPELLED = refused_by_spelling()


@contextlib.asynccontextmanager
async def guarded(resolve: Resolve, proxy: str | None = None) -> AsyncIterator[Http]:
    """A client with a guard that opens nothing."""
    http = Http(tls=None, proxy=proxy, timeout_s=30, guard=Guard(), resolve=resolve)
    try:
        yield http
    finally:
        await http.close()


async def nowhere(host: str, port: int) -> Sequence[str]:
    """A resolver that must not be asked."""
    raise AssertionError(f"asked for {host}")


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:9"])
@pytest.mark.parametrize("group", SPELLED)
async def test_what_the_spelling_gives_away_is_refused(group: str, proxy: str | None) -> None:
    """Without asking a resolver or a proxy; the error holds nothing of path and query."""
    async with guarded(nowhere, proxy) as http:
        for url in SPELLED[group]:
            with pytest.raises(Forbidden) as caught:
                await http.get(url)
            assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize("group", SPELLED)
def test_no_message_with_such_an_address_is_accepted(group: str) -> None:
    """The same law holds for files that the platform is to fetch."""
    for url in SPELLED[group]:
        found = list(check_link(RemoteFile(url=url), allow=(), now=0.0, min_life_s=0.0))
        assert [(one.rule, one.path) for one in found] == [("link.refused", "attachments")], url


@pytest.mark.parametrize("name", POINTING_NAMES)
async def test_a_name_that_leads_inside_is_refused(name: str) -> None:
    """For any one of its addresses, whatever stands beside it."""
    for addresses in RESOLVED:
        asked: list[str] = []

        async def resolve(
            host: str, port: int, asked: list[str] = asked, answer: tuple[str, ...] = addresses
        ) -> Sequence[str]:
            asked.append(host)
            return answer

        async with guarded(resolve) as http:
            with pytest.raises(Forbidden):
                await http.get(f"https://{name}/")
        assert asked == [name]


async def test_a_name_that_changes_its_mind_gains_nothing() -> None:
    """Each answer is checked, and the checked one is connected to: public, failing, inside, in every order."""

    for order in itertools.permutations(["fails", "127.0.0.1", "mixed", "::ffff:10.0.0.1"]):
        answers: Iterator[str] = iter(order)

        async def resolve(host: str, port: int, answers: Iterator[str] = answers) -> Sequence[str]:
            answer = next(answers)
            if answer == "fails":
                raise OSError("no such name")
            return [PUBLIC, "169.254.169.254", PUBLIC_6] if answer == "mixed" else [answer]

        async with guarded(resolve) as http:
            for answer in order:
                with pytest.raises(Unreachable) as caught:
                    await http.get("https://files.example/")
                assert isinstance(caught.value, Forbidden) == (answer != "fails")


async def test_a_redirect_inside_leads_nowhere() -> None:
    """It is an answer; and whoever goes where it points meets the guard again."""
    asked: list[str] = []
    places = [f"https://{address}/" for address in INSIDE] + ["//localhost/", "file:///etc/passwd", "https://[::1]/"]

    async def send_on(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302 + len(asked) % 2 * 5, headers={"Location": places[int(request.path[1:])]})

    runner = web.ServerRunner(web.Server(send_on))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    place = f"127.0.0.1:{runner.addresses[0][1]}"
    http = Http(tls=None, proxy=None, timeout_s=30, guard=Guard((place,)), resolve=nowhere)
    try:
        for number, target in enumerate(places):
            answer = await http.get(f"http://{place}/{number}")
            assert answer.status in (302, 307)
            with pytest.raises(Forbidden):
                await http.get(answer.headers["Location"])
            assert answer.headers["Location"] == target
    finally:
        await http.close()
        await runner.cleanup()
    assert asked == [f"/{number}" for number in range(len(places))]


def test_the_corpus_is_large() -> None:
    """More than 300 spellings, each once."""
    every = [url for urls in SPELLED.values() for url in urls]
    assert len(every) >= 300
    assert len(set(every)) > len(every) * 0.98
    assert len(RESOLVED) >= 100


@given(
    before=st.text("ab.:@/\\?#[]%-_ \t0123456789xX", max_size=12),
    host=st.sampled_from(["files.example", "127.0.0.1", "[::1]", "localhost", "evil.example", PUBLIC]),
    after=st.text("ab.:@/\\?#[]%-_;&=0123456789", max_size=12),
)
def test_whoever_passes_has_one_host_for_every_reader(before: str, host: str, after: str) -> None:
    """The guard, the library that connects, and the standard library read the same host and port."""
    url = f"https://{before}{host}{after}"
    if refusal(url, (), ()) is None:
        read, sent = urlsplit(url), URL(url, encoded=True)
        assert read.hostname == (sent.raw_host or "").lower()
        assert (read.port or 443) == sent.port
        assert read.hostname not in ("127.0.0.1", "::1", "localhost")
        assert "@" not in read.netloc

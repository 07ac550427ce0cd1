"""The emulator's page in a real browser: what a guest does appears, what a person does there reaches the guest."""

from __future__ import annotations

import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.thread import EmulatorThread
from tests.journey.raw_guest import Guest, connected

#: How long the browser may take for what must come, in milliseconds.
PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's own browser, without a window."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "no browser is installed: apt-get install chromium, or make .venv/.browser"
    # As root there is no sandbox to be had; the only pages are our own.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=args)
        yield started
        started.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, genesys: EmulatorThread) -> Iterator[Open]:
    """Opens the page; in the end nothing was complained about, and nobody else was asked for anything."""
    complaints: list[str] = []
    asked: set[str] = set()
    contexts = []

    def open_(*, width: int = 1280, height: int = 800, quiet: bool = True, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if quiet:
            page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.goto(f"{genesys.url}/_emulator/")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert asked <= {urlsplit(genesys.url).netloc, ""}


@pytest.fixture
def guest(genesys: EmulatorThread) -> Iterator[Guest]:
    """A guest who is connected and has not said anything yet."""
    with connected(genesys) as someone:
        yield someone


def messages(page: Page) -> Locator:
    """What the chosen conversation shows."""
    return page.locator("#messages .message")


def row(page: Page, guest: Guest) -> Locator:
    """The conversation of a guest in the list."""
    return page.locator("#list button", has_text=guest.name)


# --- what is served ---


@pytest.mark.parametrize(
    ("path", "kind"), [("", "text/html"), ("agent.js", "text/javascript"), ("agent.css", "text/css")]
)
def test_every_file_comes_with_a_strict_policy(genesys: EmulatorThread, path: str, kind: str) -> None:
    """Nothing inline, nothing from elsewhere, no frame, no form target, no guessing of types."""
    with urllib.request.urlopen(f"{genesys.url}/_emulator/{path}") as answer:  # noqa: S310 - our own address
        headers = answer.headers
        text = answer.read().decode()
    assert headers.get_content_type() == kind
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "innerHTML" not in text
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*[:/]", text) == []


def test_other_names_and_hosts_get_nothing(genesys: EmulatorThread) -> None:
    """A file that is none is not found, a foreign Host is refused; without the last slash it is there as well."""
    for path, headers, status in (
        ("/page.py", {}, 404),
        ("/..%2fpage.py", {}, 404),
        ("/", {"Host": "evil.example"}, 403),
        ("/", {"Sec-Fetch-Site": "cross-site"}, 403),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{genesys.url}/_emulator{path}", headers=headers))  # noqa: S310
        with refused.value as answer:
            assert answer.code == status
    with urllib.request.urlopen(f"{genesys.url}/_emulator") as answer:  # noqa: S310
        assert answer.url == f"{genesys.url}/_emulator/"


# --- watching and answering ---


def test_a_first_message_appears_and_its_answer_arrives(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """Without a reload: nothing yet, then the message; Enter sends the answer to the guest's own socket."""
    page = open_page()
    expect(page.locator("#blank")).to_contain_text("No conversation yet")
    expect(page.locator("#blank")).to_contain_text(f"--gateway {genesys.url} ")
    expect(page.locator("#blank")).to_contain_text(f"/v1?deploymentId={genesys.deployment_id}")
    expect(page.locator("#say")).to_be_disabled()
    guest.say("Where is my order?", channel={"metadata": {"customAttributes": {"topic": "returns"}}})
    expect(messages(page)).to_have_count(1)
    expect(messages(page).first).to_contain_text("Where is my order?")
    expect(page.locator("#thread-facts")).to_contain_text("topic=returns")
    expect(row(page, guest)).to_contain_text("1 message")
    page.fill("#nickname", "Robin")
    page.locator("#say").press_sequentially("On its way.")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Promised.")
    page.keyboard.press("Enter")
    body = guest.body()
    assert (body["text"], body["channel"]["from"]["nickname"]) == ("On its way.\nPromised.", "Robin")
    expect(messages(page).nth(1)).to_contain_text("On its way.")
    expect(messages(page).nth(1)).to_contain_text("Robin")
    expect(page.locator("#say")).to_have_value("")
    expect(page.locator("#say")).to_be_focused()


def test_choices_a_card_typing_and_the_end_reach_the_guest(open_page: Open, guest: Guest) -> None:
    """What the buttons below the answer compose is what the guest's socket gets."""
    guest.say("hello")
    page = open_page()
    page.click("#act-typing")
    assert guest.body()["events"][0]["eventType"] == "Typing"
    expect(page.locator("#typing")).to_contain_text("is typing")
    page.fill("#say", "Which one?")
    page.click("#act-quick")
    page.fill("#quick", "Lamp, , Chair ")
    page.click("#act-card")
    for field, value in (
        ("title", "Lamp"),
        ("description", "Red"),
        ("button", "Terms"),
        ("target", "https://a.example/"),
    ):
        page.fill(f"#card-{field}", value)
    page.get_by_role("button", name="Send", exact=True).click()
    card, *replies = guest.body()["content"]
    assert card["card"] == {
        "title": "Lamp",
        "description": "Red",
        "actions": [{"type": "Link", "text": "Terms", "url": "https://a.example/"}],
    }
    assert [item["quickReply"]["payload"] for item in replies] == ["Lamp", "Chair"]
    expect(page.locator("#quick-panel")).to_be_hidden()
    page.get_by_role("button", name="Disconnect, read-only").click()
    assert guest.body()["metadata"]["readOnly"] == "true"
    expect(page.locator("#say")).to_be_disabled()
    expect(row(page, guest)).to_contain_text("read-only")
    expect(page.locator("#messages .event").last).to_contain_text("Ended")


@pytest.mark.genesys(echo_delay_ms=0)
def test_other_conversations_count_what_is_new(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """A message elsewhere is counted until it is looked at; who has left is not connected any more."""
    guest.say("first")
    page = open_page()
    expect(messages(page)).to_have_count(1)
    with connected(genesys, "other") as other:
        other.join()
        other.say("one")
        other.say("two")
        expect(row(page, other).locator(".new")).to_have_text("2 new")
        expect(row(page, other)).to_have_attribute("data-connected", "true")
        expect(messages(page)).to_have_count(1)
        row(page, other).click()
        expect(messages(page)).to_have_count(2)
        expect(page.locator("#messages")).to_contain_text("The guest joined")
        expect(row(page, other).locator(".new")).to_have_text("")
    expect(row(page, other)).to_have_attribute("data-connected", "false")
    expect(page.locator("#thread-facts")).to_contain_text("not connected")


@pytest.mark.genesys(limits="off")
def test_a_long_conversation_shows_its_end_first(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """The newest hundred, at the end; what was before comes when asked for, in order."""
    for number in range(120):
        guest.send("onMessage", message={"type": "Text", "text": f"number {number}"})
    for _ in range(120):
        guest.body()
    page = open_page()
    expect(messages(page)).to_have_count(100)
    expect(messages(page).last).to_contain_text("number 119")
    expect(messages(page).last).to_be_in_viewport()
    page.click("#earlier")
    expect(messages(page)).to_have_count(120)
    texts = messages(page).locator(".said-text").all_inner_texts()
    assert texts == [f"number {number}" for number in range(120)]


STRUCTURED: list[tuple[dict[str, Any], list[str]]] = [
    ({"contentType": "QuickReply", "quickReply": {"text": "Yes", "payload": "y"}}, ["Yes"]),
    (
        {"contentType": "Carousel", "carousel": {"cards": [
            {"title": "Lamp", "description": "Red", "image": "https://cdn.example/l.png",
             "actions": [{"type": "Postback", "text": "Buy", "payload": "b"}]}, {"title": "Chair"}]}},
        ["Lamp", "Red", "cdn.example", "Buy", "Chair"],
    ),
    (
        {"contentType": "DatePicker", "datePicker": {"title": "When?", "availableTimes": [
            {"dateTime": "2026-11-26T08:00:00.000Z", "duration": 7200}]}},
        ["When?", "2026", "120 min"],
    ),
    (
        {"contentType": "ListPicker", "listPicker": {"receivedMessage": {"title": "What else?"}, "sections": [
            {"title": "Parts", "multipleSelection": True, "items": [
                {"id": "1", "title": "Bulb", "subtitle": "E27"}]}]}},
        ["What else?", "Parts", "☐ Bulb", "E27"],
    ),
    (
        {"contentType": "Form", "form": {"introduction": {"title": "Address"}, "formPages": [{"title": "Page 1",
            "pageComponents": [
                {"formComponentType": "Input", "input": {"id": "n", "title": "Name", "isRequired": True}}]}]}},
        ["Address", "Page 1", "Name *"],
    ),
    ({"contentType": "Hologram", "hologram": {"depth": 3}}, ["HOLOGRAM", '"depth": 3']),
]  # fmt: skip


def test_structured_content_is_drawn(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """Each kind as what it is, unknown ones as they came; an answer as the choice that it was."""
    guest.say("hello")
    for content, _ in STRUCTURED:
        genesys.say(None, content=[content])
    answer = {"type": "ListPicker", "text": "Bulb", "payload": "1"}
    for _ in STRUCTURED:
        guest.body()
    guest.say("Bulb", type="Structured", content=[{"contentType": "ButtonResponse", "buttonResponse": answer}])
    page = open_page()
    for place, (_, words) in enumerate(STRUCTURED, 1):
        for word in words:
            expect(messages(page).nth(place)).to_contain_text(word, use_inner_text=True)
    expect(messages(page).last).to_contain_text("CHOSE", use_inner_text=True)
    expect(messages(page).last.locator(".chip")).to_have_text(["Bulb"])
    messages(page).last.locator("summary").click()
    expect(messages(page).last.locator("pre")).to_contain_text('"direction": "Inbound"')


def test_a_file_is_named_and_can_be_fetched(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """Name, size and type; the link brings the bytes that were sent."""
    guest.say("hello")
    genesys.say("Here", attachment={"name": "invoice.txt", "type": "text/plain", "text": "49.90"})
    page = open_page()
    file = messages(page).last.locator(".file")
    expect(file).to_contain_text("5 B · text/plain")
    with page.expect_download() as download:
        file.get_by_role("link", name="invoice.txt").click()
    assert download.value.path().read_text() == "49.90"


# --- hostile words ---

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> "
    "\x1b[31mred\x07 \u202egpj.exe\u202c \u2066x\u2069 \x00\x9b {{7*7}} ${7*7} &amp;"
)


def test_hostile_text_stays_text(open_page: Open, genesys: EmulatorThread) -> None:
    """Wherever a guest's or a bot's words stand: nothing runs, nothing is loaded, nothing turns or hides the line."""
    with connected(genesys, HOSTILE) as guest:
        page = open_page()
        guest.say(HOSTILE, channel={"metadata": {"customAttributes": {HOSTILE: HOSTILE, "__proto__": "x"}}})
        genesys.say("ok", nickname=HOSTILE, metadata={HOSTILE: HOSTILE})
        actions = [{"type": "Link", "text": "Go", "url": "javascript:document.title='owned'"}]
        card = {"title": HOSTILE, "description": HOSTILE, "image": "https://evil.example/x.png", "actions": actions}
        genesys.say(None, content=[{"contentType": "Card", "card": card}])
        genesys.say(None, content=[{"contentType": HOSTILE, HOSTILE: HOSTILE}])
        genesys.say(None, event={"eventType": HOSTILE})
        genesys.inject("lose_echo", match={"text": HOSTILE})
        genesys.trigger("hostile_reply")
        expect(messages(page)).to_have_count(5)
        for summary in messages(page).locator("summary").all():
            summary.click()
        page.fill("#filter", HOSTILE.replace("\x00", ""))
        text = page.locator("body").inner_text()
        assert "<script>document.title='owned'</script>" in text
        assert re.findall(r"[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]", text) == []
        assert "U+202E" in text
        assert "ESC" in text
        assert page.locator("main img, main script, main [onerror], main [style]").count() == 0
        assert page.locator("a[href^='javascript']").count() == 0
        link = page.get_by_role("link", name="evil.example")
        expect(link).to_have_attribute("rel", "noreferrer noopener")
        assert page.title() == "guestwire emulator"


def test_a_very_long_and_a_right_to_left_text(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """100 kB without a space break no line and wait behind a button; Hebrew runs from the right, beside English."""
    guest.say("שלום, איפה ההזמנה שלי?")
    genesys.say("x" * 100_000)
    page = open_page()
    hebrew, long = messages(page).nth(0).locator(".said-text"), messages(page).nth(1)
    assert hebrew.evaluate("each => getComputedStyle(each).direction") == "rtl"
    assert len(long.inner_text()) < 5000
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 1280
    long.get_by_role("button", name="Show all 100,000 characters").click()
    assert len(long.inner_text()) > 100_000
    assert page.locator("#scroller").evaluate("each => each.scrollWidth <= each.clientWidth")


# --- tools ---


def test_a_fault_set_up_in_the_page_fires(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """With its parameters and the text that it waits for; the page counts it, notes it and removes it."""
    guest.say("hello")
    page = open_page()
    page.select_option("#fault-kind", "refuse_upgrade")
    expect(page.locator("#fault-text")).to_be_hidden()
    page.select_option("#fault-kind", "throttle")
    expect(page.locator("#fault-does")).to_contain_text("refused")
    page.get_by_label("retry after s").fill("7")
    page.fill("#fault-text", "17")
    page.fill("#fault-times", "2")
    page.check("#fault-guest")
    page.get_by_role("button", name="Inject").click()
    expect(page.locator("#faults")).to_contain_text("0 of 2")
    assert "errorMessage" not in guest.say("order 18")
    assert guest.say("order 17")["retryAfter"] == 7
    expect(page.locator("#faults")).to_contain_text("1 of 2")
    expect(page.locator("#messages .event.wrong")).to_contain_text("throttle")
    guest.say("order 19")
    row(page, guest).click()
    lines = page.locator("#messages > *").all_inner_texts()[1:]
    words = ("hello", "order 18", "fired", "order 19")
    assert [next(word for word in words if word in line) for line in lines] == list(words)
    (fault,) = genesys.faults()
    assert fault["match"]["text"] == "17"
    assert len(fault["match"]["token_sha256"]) == 64
    page.get_by_role("button", name="Remove fault f1").click()
    expect(page.locator("#faults li")).to_have_count(0)
    assert genesys.faults() == []


def test_a_fault_that_cannot_be_is_explained(open_page: Open) -> None:
    """In the emulator's own words."""
    page = open_page(quiet=False)
    page.select_option("#fault-kind", "delay_echo")
    page.get_by_label("delay ms").fill("-1")
    page.get_by_role("button", name="Inject").click()
    expect(page.locator("#said")).to_contain_text("delay_ms")


def test_a_trigger_pulled_in_the_page_happens(open_page: Open, guest: Guest) -> None:
    """To the chosen conversation's guest, with its parameters."""
    guest.say("hello")
    page = open_page()
    page.select_option("#trigger-what", "big_reply")
    page.get_by_label("length").fill("5000")
    page.get_by_role("button", name="Trigger").click()
    assert len(guest.body()["text"]) == 5000
    expect(page.locator("#messages .event")).to_contain_text(["Triggered: big_reply"])


def test_the_clock_moves(open_page: Open, genesys: EmulatorThread) -> None:
    """By a minute and by an hour."""
    page = open_page()
    expect(page.locator("#link")).to_have_text("live")
    before = genesys.now()
    page.get_by_role("button", name="+1 min").click()
    expect(page.locator("#said")).to_contain_text("a minute")
    page.get_by_role("button", name="+1 h").click()
    expect(page.locator("#said")).to_contain_text("an hour")
    assert genesys.now() >= before + 3660


def test_a_reset_asks_first(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """Escape keeps everything; confirmed, the page is empty again and follows what comes next."""
    guest.say("hello")
    page = open_page()
    expect(messages(page)).to_have_count(1)
    page.click("#reset")
    expect(page.get_by_role("dialog")).to_contain_text("Reset the emulator?")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert len(genesys.conversations()) == 1
    page.click("#reset")
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(page.locator("#blank")).to_contain_text("No conversation yet")
    assert genesys.conversations() == []
    with connected(genesys, "new") as other:
        other.say("after")
        expect(messages(page)).to_have_text([re.compile("after")])


# --- empty, lost ---


def test_a_filter_that_nothing_matches(open_page: Open, guest: Guest) -> None:
    """It says so and offers the way back."""
    guest.say("hello")
    page = open_page()
    page.fill("#filter", "HELLO")
    expect(row(page, guest)).to_be_visible()
    page.fill("#filter", "nobody")
    expect(page.locator("#list-note")).to_contain_text("No conversation matches “nobody”")
    expect(row(page, guest)).to_have_count(0)
    page.get_by_role("button", name="Clear the filter").click()
    expect(row(page, guest)).to_be_visible()
    expect(page.locator("#filter")).to_be_focused()


def test_a_page_that_could_not_be_loaded_offers_to_try_again(
    browser: Browser, genesys: EmulatorThread, guest: Guest
) -> None:
    """It says what is wrong; trying again brings everything."""
    guest.say("hello")
    page = browser.new_context().new_page()
    page.route("**/_emulator/conversations", lambda route: route.abort())
    page.goto(f"{genesys.url}/_emulator/")
    expect(page.locator("#blank")).to_contain_text("The emulator does not answer")
    page.unroute("**/_emulator/conversations")
    page.get_by_role("button", name="Try again").click()
    expect(messages(page)).to_have_count(1)
    page.context.close()


def test_an_emulator_that_comes_back_is_followed_again(browser: Browser) -> None:
    """While it is away the page says so and keeps what it has; then it shows what there is now."""
    first = EmulatorThread(EmulatorSettings())
    port = int(first.url.rpartition(":")[2])
    page = browser.new_context().new_page()
    try:
        with connected(first) as guest:
            guest.say("before")
            page.goto(f"{first.url}/_emulator/")
            expect(messages(page)).to_have_count(1)
    finally:
        first.close()
    expect(page.locator("#link")).to_contain_text("not connected")
    expect(messages(page)).to_have_count(1)
    second = EmulatorThread(EmulatorSettings(port=port, seed=2))
    try:
        expect(page.locator("#link")).to_have_text("live")
        expect(page.locator("#blank")).to_contain_text("No conversation yet")
        expect(page.locator("#deployment")).to_have_text(second.deployment_id)
    finally:
        page.context.close()
        second.close()


# --- hands and eyes ---


def test_the_keyboard_is_enough(open_page: Open, genesys: EmulatorThread, guest: Guest) -> None:
    """From the address bar to an answer and a fault, with the focus always to be seen."""
    with connected(genesys, "other") as other:
        other.say("older")
        guest.say("newer")
        page = open_page()
        expect(row(page, guest)).to_have_attribute("aria-current", "true")

        def tab_to(selector: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", page.evaluate("document.activeElement.outerHTML")
                if page.locator(f"{selector}:focus").count():
                    return
            raise AssertionError(f"the keyboard does not reach {selector}")

        tab_to("#list button")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(row(page, other)).to_have_attribute("aria-current", "true")
        expect(messages(page)).to_contain_text(["older"])
        tab_to("#scroller")
        tab_to("#say")
        page.keyboard.type("by hand")
        page.keyboard.press("Enter")
        assert other.body()["text"] == "by hand"
        tab_to("#fault-kind")
        tab_to("#fault-text")
        page.keyboard.press("Enter")
        expect(page.locator("#faults li")).to_have_count(1)
        expect(page.locator("#said")).to_contain_text("f1")


def test_every_control_has_a_name_and_arrivals_are_announced(open_page: Open, guest: Guest) -> None:
    """For those who listen: fields and buttons say what they are, and a new message is read out."""
    page = open_page()
    expect(page.locator("#link")).to_have_text("live")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input, select, textarea, button')]
          .filter((each) => !(each.labels?.length || each.textContent.trim() || each.ariaLabel))
          .map((each) => each.id)"""
    )
    assert nameless == []
    guest.say("hello")
    expect(page.locator("[aria-live=polite]#heard")).to_contain_text(f"{guest.name}: hello")


@pytest.mark.parametrize("width", [1280, 700, 400])
def test_it_fits_its_window(open_page: Open, guest: Guest, width: int) -> None:
    """Nothing sticks out; where it is narrow the tools wait behind a button, and Escape puts them back."""
    guest.say("hello " * 100)
    page = open_page(width=width)
    expect(messages(page)).to_have_count(1)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    tools, button = page.locator("#tools"), page.locator("#toggle-tools")
    if width == 1280:
        expect(tools).to_be_visible()
        expect(button).to_be_hidden()
        return
    expect(tools).to_be_hidden()
    button.click()
    page.get_by_role("button", name="Inject").click()
    expect(page.locator("#faults li")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(tools).to_be_hidden()
    expect(button).to_be_focused()
    expect(page.locator("#say")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(open_page: Open, guest: Guest, scheme: str) -> None:
    """Text stands out from what is behind it, 4.5 to 1 at least (WCAG 2.2, 1.4.3)."""
    guest.say("hello")
    page = open_page(color_scheme=scheme)
    expect(messages(page)).to_have_count(1)
    page.wait_for_function("document.getAnimations().length === 0")
    contrasts: dict[str, float] = page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    assert {words: ratio for words, ratio in contrasts.items() if ratio < 4.5} == {}


CONTRASTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((each) => each / 255)
    .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
    .reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color[3] !== 0) return color;
    }
  };
  const found = {};
  for (const each of document.querySelectorAll('body *')) {
    const words = [...each.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
    if (!words || !each.checkVisibility() || each.closest('.unseen, option, dialog')) continue;
    const [one, other] = [light(channels(getComputedStyle(each).color)), light(behind(each))];
    found[words.slice(0, 40)] = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  }
  return found;
}"""

"""
The far end of the conversation: bot scripts in TOML.

    name = "shop"                                 # shown as the nickname
    [[rule]]
    join = true                                   # the guest's client announced itself (autoStart)
    reply = "Hello! Order or return?"
    quick_replies = ["Order", "Return"]

    [[rule]]
    match = "return"                              # substring, without case; or pattern = "..." or any = true
    typing = true
    delay_ms = 400
    reply = ["Which item, {guest}?", "You said: {text}. Which item?"]     # one is drawn
    chance = 0.8                                  # otherwise the following rules get their turn
    card = { title = "Return label", actions = [{ type = "Link", text = "Print", url = "https://example.com" }] }
    disconnect = "read_only"                      # or "send"

    [[rule]]
    answer = "size-*"                             # the payload of what the guest chose; file = "image/*": what he sent
    content = [{ contentType = "Card", card = { … } }]    # as on the wire, any structured type
    attachment = { name = "a.txt", type = "text/plain", text = "…" }      # or base64, or size

    [[rule]]
    match = "human"
    hand_over = true                              # said by a person; from now on the bot is silent
    nickname = "Ann"
    reply = "Ann here."

The first rule that fits answers. Placeholders are replaced as plain text, never formatted: `{guest}` is a name made of
the token's hash, `{text}` the guest's text, `{hours+24}` the full hour so many hours ahead, as the wire writes times.
"""

from __future__ import annotations

import fnmatch
import pathlib
import re
import tomllib
from importlib import resources
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from guestwire.emulator.ids import Draws, iso_time
from guestwire.emulator.structured import content_problem
from guestwire.emulator.uploads import Handout
from guestwire.errors import ConfigError
from guestwire.protocol import codec
from guestwire.protocol.frames import ButtonResponse, Content, Event, Message, Presence, Typing

#: Longest outbound text (limits page).
MAX_REPLY = 4000
#: Guests may write up to this much before a pattern of a script is applied to the rest: user patterns can be slow.
MAX_MATCHED = 4096
#: Largest file of a rule, bytes: the platform's default.
MAX_HANDOUT = 10_240_000
#: Who has a conversation that was handed over to nobody in particular.
DEFAULT_HUMAN = "Agent"
#: Keys of a rule that say when it is its turn; exactly one of them.
CONDITIONS = ("match", "pattern", "answer", "file", "any", "join")
#: Keys of a rule that say what it does; at least one of them.
DEEDS = (
    "reply",
    "quick_replies",
    "card",
    "content",
    "attachment",
    "typing",
    "presence",
    "disconnect",
    "hand_over",
)

_PLACEHOLDER = re.compile(r"\{(?:text|guest|hours\+(?P<hours>[0-9]{1,5}))\}")


class CardRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """`card` of a rule."""

    title: str
    description: str | None = None
    image: str | None = None
    actions: list[CardActionRow] = []


class CardActionRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One action of a card."""

    type: Literal["Link", "Postback"]
    text: str
    url: str | None = None
    payload: str | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to answer, and with what. Keys as in the module's docstring."""

    match: str | None = None
    pattern: str | None = None
    answer: str | None = None
    file: str | None = None
    any: bool = False
    join: bool = False
    reply: str | list[str] | None = None
    quick_replies: list[str] = []
    card: CardRow | None = None
    content: list[dict[str, Any]] = []
    attachment: Handout | None = None
    typing: bool = False
    presence: str | None = None
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=600_000)] = 0
    disconnect: Literal["send", "read_only"] | None = None
    hand_over: bool = False
    nickname: str | None = None
    chance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0

    def problem(self) -> tuple[str, str] | None:
        """The key that is wrong and why, or None."""
        conditions = [key for key in CONDITIONS if getattr(self, key)]
        if len(conditions) != 1:
            return "match", "a rule has exactly one of match, pattern, answer, file, any = true, join = true"
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                return "pattern", f"not a regular expression: {error}"
        if not any(getattr(self, key) for key in DEEDS):
            return "reply", f"a rule does something: {', '.join(DEEDS)}"
        replies = [self.reply] if isinstance(self.reply, str) else self.reply or []
        if any(len(reply) > MAX_REPLY for reply in replies):
            return "reply", f"longer than {MAX_REPLY} characters, the platform's limit"
        if self.nickname is not None and not self.hand_over:
            return "nickname", "names the person of hand_over = true"
        return self._content_problem()

    def _content_problem(self) -> tuple[str, str] | None:
        for item in self.content:
            problem = content_problem(item)
            if problem:
                return "content", problem
        if self.attachment is not None:
            try:
                self.attachment.content(MAX_HANDOUT)
            except ValueError as error:
                return "attachment", str(error)
        return None


class Action(NamedTuple):
    """Something the bot does `delay_s` after the guest's message."""

    delay_s: float
    body: Message | None = None
    """What to say; None for a disconnect, and where there is nothing to say."""
    disconnect: Literal["send", "read_only"] | None = None
    handout: Handout | None = None
    """A file to send with it."""
    human: str | None = None
    """The person who does it, and has the conversation from then on; None: the bot."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A bot: rules in order of their turn."""

    rules: list[Rule]
    name: str = "Bot"

    def react(self, heard: Message | None, guest: str, draws: Draws, now: float) -> list[Action]:
        """
        Say what the bot does.

        Args:
            heard: What the guest sent, as its echo shows it; None: he joined.
            guest: A name for him.
            draws: Where `chance` and the choice of a reply come from.
            now: Seconds since the epoch; for times that are offered.
        """
        for rule in self.rules:
            if _fits(rule, heard) and (rule.chance >= 1 or draws.random() < rule.chance):
                values = {"{text}": text_of(heard) if heard else "", "{guest}": guest}
                return _actions(rule, values, draws, now)
        return []


def text_of(heard: Message) -> str:
    """What the guest said in words: his text, or, where a client leaves that empty, the labels that he chose."""
    return heard.text or ", ".join(button.text for button in _buttons(heard) if button.text)


def _buttons(heard: Message) -> list[ButtonResponse]:
    """Every choice in a message, those within a form included."""
    buttons = []
    for content in heard.content or ():
        given = [content.button_response]
        for answer in (content.form.response if content.form else None) or ():
            given.append(answer.component.button_response if answer.component else None)
        buttons += [button for button in given if button is not None]
    return buttons


def _fits(rule: Rule, heard: Message | None) -> bool:
    if rule.join or heard is None:
        return rule.join and heard is None
    if rule.any:
        return True
    if rule.answer is not None:
        return any(fnmatch.fnmatchcase(button.payload or "", rule.answer) for button in _buttons(heard))
    if rule.file is not None:
        sent = (content.attachment for content in heard.content or ())
        return any(fnmatch.fnmatchcase(file.mime or "", rule.file) for file in sent if file is not None)
    if rule.match is not None:
        return rule.match.casefold() in text_of(heard).casefold()
    return re.search(rule.pattern or "", text_of(heard)[:MAX_MATCHED]) is not None


def _actions(rule: Rule, values: dict[str, str], draws: Draws, now: float) -> list[Action]:
    delay_s = rule.delay_ms / 1000
    human = (rule.nickname or DEFAULT_HUMAN) if rule.hand_over else None
    actions = []
    if human:
        actions.append(Action(0.0, human=human))
    if rule.typing:
        typing = Typing(type="On", duration=max(1000, int(rule.delay_ms)))
        actions.append(
            Action(0.0, Message(type="Event", events=[Event(event_type="Typing", typing=typing)]), human=human)
        )
    if rule.presence:
        event = Event(event_type="Presence", presence=Presence(type=rule.presence))
        actions.append(Action(delay_s, Message(type="Event", events=[event]), human=human))
    replies = [rule.reply] if isinstance(rule.reply, str) else rule.reply or []
    content = [codec.read(Content, _filled(item, values, now)) for item in _content(rule)]
    if replies or content or rule.attachment:
        said = draws.choice(replies) if replies else None
        text = said and _filled(said, values, now)[:MAX_REPLY]
        body = Message(type="Structured" if content else "Text", text=text, content=content or None)
        actions.append(Action(delay_s, body, handout=rule.attachment, human=human))
    if rule.disconnect:
        actions.append(Action(delay_s, None, rule.disconnect, human=human))
    return actions


def _filled(said: Any, values: dict[str, str], now: float) -> Any:
    """Put values into placeholders, at any depth, in one pass: a guest who writes `{guest}` gets that back."""
    if isinstance(said, str):
        return _PLACEHOLDER.sub(lambda found: values.get(found[0]) or _hours_from(now, found), said)
    if isinstance(said, dict):
        return {key: _filled(value, values, now) for key, value in said.items()}
    return [_filled(item, values, now) for item in said] if isinstance(said, list) else said


def _hours_from(now: float, found: re.Match[str]) -> str:
    hours = found["hours"]
    return "" if hours is None else iso_time((now // 3600 + int(hours)) * 3600)


def _content(rule: Rule) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [
        {"contentType": "QuickReply", "quickReply": {"text": label, "payload": label, "action": "Message"}}
        for label in rule.quick_replies
    ]
    if rule.card:
        content.append({"contentType": "Card", "card": {"actions": [], **msgspec.to_builtins(rule.card)}})
    return content + rule.content


def disconnect_event(mode: Literal["send", "read_only"] | None) -> Message:
    """The event that ends a conversation. `readOnly` is a string; without a mode it is missing."""
    return Message(
        type="Event",
        events=[Event(event_type="Presence", presence=Presence(type="Disconnect"))],
        metadata=None if mode is None else {"readOnly": "true" if mode == "read_only" else "false"},
    )


# --- reading scripts ---


#: Scripts that come with the emulator, each a file in `scripts/` to learn from.
BUILT_IN = ("echo", "showcase", "support")


def load_script(name: str) -> Script | None:
    """
    Find the script of a setting: a built-in name, or a path. None for an empty name.

    Raises:
        ConfigError: It cannot be read (GW-C034) or a rule is wrong (GW-C035: file, number of the rule, key).
    """
    if not name:
        return None
    if name in BUILT_IN:
        script = resources.files("guestwire.emulator") / "scripts" / f"{name}.toml"
        return parse_script(script.read_text("utf-8"), name)
    try:
        text = pathlib.Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(
            f"the bot script {name!r} cannot be read: {reason}",
            code="GW-C034",
            hint=f"give a file, or one of the built-in scripts: {', '.join(BUILT_IN)}",
        ) from error
    return parse_script(text, name)


def parse_script(text: str, name: str) -> Script:
    """Read a script's TOML; `name` is for error messages. Raises ConfigError (GW-C034, GW-C035)."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"the bot script {name!r} is not TOML: {error}", code="GW-C034", hint="docs/emulator.md has an example"
        ) from error
    unknown = sorted(set(data) - {"name", "rule"})
    rows = data.get("rule", [])
    if unknown or not isinstance(rows, list) or not rows or not isinstance(data.get("name", ""), str):
        what = f"unknown key {unknown[0]!r}" if unknown else "it needs at least one [[rule]], and a name that is text"
        raise ConfigError(f"the bot script {name!r}: {what}", code="GW-C035", hint="docs/emulator.md has an example")
    rules = [_rule(row, number, name) for number, row in enumerate(rows, 1)]
    return Script(rules=rules, name=data.get("name", "Bot"))


def _rule(row: Any, number: int, name: str) -> Rule:
    try:
        rule = msgspec.convert(row, Rule)
    except msgspec.ValidationError as error:
        found = re.search(r"`\$\.?([^`]*)`|field `([^`]+)`", str(error))
        key = next((group for group in found.groups() if group), "rule") if found else "rule"
        raise _rule_error(name, number, key, str(error)) from error
    problem = rule.problem()
    if problem:
        raise _rule_error(name, number, *problem)
    return rule


def _rule_error(name: str, number: int, key: str, why: str) -> ConfigError:
    return ConfigError(
        f"the bot script {name!r}, rule {number}, key {key!r}: {why}",
        code="GW-C035",
        hint="docs/emulator.md lists the keys of a rule",
    )

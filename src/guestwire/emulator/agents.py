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

The first rule that fits answers. Placeholders are replaced as plain text, never formatted: `{guest}` is a name made of
the token's hash, `{text}` the guest's text.
"""

from __future__ import annotations

import pathlib
import re
import tomllib
from importlib import resources
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from guestwire.emulator.ids import Draws
from guestwire.errors import ConfigError
from guestwire.protocol.frames import Card, CardAction, Content, Event, Message, Presence, QuickReply, Typing

#: Longest outbound text (limits page).
MAX_REPLY = 4000
#: Guests may write up to this much before a pattern of a script is applied to the rest: user patterns can be slow.
MAX_MATCHED = 4096


class CardRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`card` of a rule."""

    title: str
    description: str | None = None
    image: str | None = None
    actions: list[CardActionRow] = []


class CardActionRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One action of a card."""

    type: Literal["Link", "Postback"]
    text: str
    url: str | None = None
    payload: str | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to answer, and with what. Keys as in the module's docstring."""

    match: str | None = None
    pattern: str | None = None
    any: bool = False
    join: bool = False
    reply: str | list[str] | None = None
    quick_replies: list[str] = []
    card: CardRow | None = None
    typing: bool = False
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=600_000)] = 0
    disconnect: Literal["send", "read_only"] | None = None
    chance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0

    def problem(self) -> tuple[str, str] | None:
        """The key that is wrong and why, or None."""
        conditions = [key for key in ("match", "pattern", "any", "join") if getattr(self, key)]
        if len(conditions) != 1:
            return "match", "a rule has exactly one of match, pattern, any = true, join = true"
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                return "pattern", f"not a regular expression: {error}"
        if not (self.reply or self.quick_replies or self.card or self.disconnect or self.typing):
            return "reply", "a rule does something: reply, quick_replies, card, typing or disconnect"
        replies = [self.reply] if isinstance(self.reply, str) else self.reply or []
        if any(len(reply) > MAX_REPLY for reply in replies):
            return "reply", f"longer than {MAX_REPLY} characters, the platform's limit"
        return None


class Action(NamedTuple):
    """Something the bot does `delay_s` after the guest's message."""

    delay_s: float
    body: Message | None
    """What to say; None for a disconnect."""
    disconnect: Literal["send", "read_only"] | None = None


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A bot: rules in order of their turn."""

    rules: list[Rule]
    name: str = "Bot"

    def react(self, text: str | None, guest: str, draws: Draws) -> list[Action]:
        """
        Say what the bot does.

        Args:
            text: What the guest wrote; None: he joined.
            guest: A name for him.
            draws: Where `chance` and the choice of a reply come from.
        """
        for rule in self.rules:
            if _fits(rule, text) and (rule.chance >= 1 or draws.random() < rule.chance):
                return _actions(rule, text or "", guest, draws)
        return []


def _fits(rule: Rule, text: str | None) -> bool:
    if rule.join or text is None:
        return rule.join and text is None
    if rule.any:
        return True
    if rule.match is not None:
        return rule.match.casefold() in text.casefold()
    return re.search(rule.pattern or "", text[:MAX_MATCHED]) is not None


def _actions(rule: Rule, text: str, guest: str, draws: Draws) -> list[Action]:
    delay_s = rule.delay_ms / 1000
    actions = []
    if rule.typing:
        typing = Typing(type="On", duration=max(1000, int(rule.delay_ms)))
        actions.append(Action(0.0, Message(type="Event", events=[Event(event_type="Typing", typing=typing)])))
    replies = [rule.reply] if isinstance(rule.reply, str) else rule.reply or []
    content = _content(rule)
    if replies or content:
        said = draws.choice(replies) if replies else None
        # In one pass: one after the other would fill in a `{guest}` that the guest himself wrote.
        values = {"{text}": text, "{guest}": guest}
        filled = said and re.sub(r"\{(?:text|guest)\}", lambda found: values[found[0]], said)[:MAX_REPLY]
        actions.append(
            Action(
                delay_s,
                Message(type="Structured" if content else "Text", text=filled, content=content or None),
            )
        )
    if rule.disconnect:
        actions.append(Action(delay_s, None, rule.disconnect))
    return actions


def _content(rule: Rule) -> list[Content]:
    content = [
        Content(content_type="QuickReply", quick_reply=QuickReply(text=label, payload=label, action="Message"))
        for label in rule.quick_replies
    ]
    if rule.card:
        actions = [
            CardAction(type=row.type, text=row.text, url=row.url, payload=row.payload) for row in rule.card.actions
        ]
        card = Card(title=rule.card.title, description=rule.card.description, image=rule.card.image, actions=actions)
        content.append(Content(content_type="Card", card=card))
    return content


def disconnect_event(mode: Literal["send", "read_only"] | None) -> Message:
    """The event that ends a conversation. `readOnly` is a string; without a mode it is missing."""
    return Message(
        type="Event",
        events=[Event(event_type="Presence", presence=Presence(type="Disconnect"))],
        metadata=None if mode is None else {"readOnly": "true" if mode == "read_only" else "false"},
    )


# --- reading scripts ---


#: Scripts that come with the emulator, each a file in `scripts/` to learn from.
BUILT_IN = ("echo", "support")


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

"""`guestwire policy`: what a policy file says, and what it says of a text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from guestwire.cli import show
from guestwire.cli.common import AsJson, settings
from guestwire.errors import Finding

if TYPE_CHECKING:
    from guestwire.policy.verdict import Verdict
    from guestwire.settings import Destination

policy_app = typer.Typer(name="policy", help="What may be said: look at a policy, ask it.", rich_markup_mode=None)

#: Exit code when our rules reject a message.
REJECTED = 3
#: So much of a text is shown around a place, in characters.
AROUND = 30
#: What a finding's action is called in front of people.
SAID = {"reject": "rejected", "redact": "masked", "park": "waits for a person", "warn": "warning"}

File = Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="Default: policy.file of the settings.")]


@policy_app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file.")],
    as_json: AsJson = False,
) -> int:
    """
    Read a policy file without using it.

    Exit code 4 if it cannot be used, with the line where that is certain.

    \b
    Examples:
      guestwire policy check policy.toml
    """
    from guestwire.rulebook import read_policy

    content = read_policy(file)
    policy = content.policy
    sizes = {
        **{f"list.{name}": show.counted(len(words.words), "word") for name, words in policy.lists.items()},
        **{f"pattern.{name}": show.counted(len(some.patterns), "pattern") for name, some in policy.patterns.items()},
    }
    if as_json:
        show.out(show.as_json({"version": policy.version, "digest": policy.digest, "rules": dict(content.rules)}))
        return 0
    show.out(f"policy {show.printable(policy.name)}")
    rows = [(rule, action, sizes.get(rule, "")) for rule, action in sorted(content.rules.items())]
    show.table(("rule", "action", ""), rows)
    for name, group in policy.groups.items():
        others = ", ".join(f"{rule} {action}" for rule, action in group.actions.items()) or "nothing"
        show.out(f"group {name}: {others} for guests {show.printable(', '.join(group.guests))}")
    return 0


@policy_app.command()
def explain(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What a guest says; - reads it from stdin.")],
    to: Annotated[str | None, typer.Option("--to", metavar="NAME", help="Whose limits hold.")] = None,
    policy: File = None,
    guest: Annotated[str, typer.Option("--guest", metavar="KEY", help="For the groups of the policy.")] = "anybody",
    as_json: AsJson = False,
) -> int:
    """
    Say what would become of a text, and which rule says so.

    Nothing is stored or sent. Without --to the limits are those of web messaging.
    Exit code 3 if the text would be rejected.

    \b
    Examples:
      guestwire policy explain "my card is 4111 1111 1111 1111"
      guestwire policy explain --policy policy.toml --guest vip-7 - < letter.txt
    """
    from guestwire.clock import SystemClock
    from guestwire.model import Draft, GuestKey
    from guestwire.policy.verdict import judge
    from guestwire.rulebook import Rulebook, find_rules

    loaded = settings()
    destination = _destination(loaded.settings.destinations, to)
    said = sys.stdin.read().removesuffix("\n") if text == "-" else text
    clock = SystemClock()
    book = Rulebook(clock, policy or loaded.settings.policy.file, find_rules(loaded.settings.policy.rules))
    draft = Draft(destination=destination.name, guest=GuestKey(guest), text=said, conversation=_somewhere(destination))
    verdict = judge(draft, destination, book.content, book.rules, now=clock.now())
    if as_json:
        show.out(show.as_json(_data(verdict)))
    else:
        _tell(said, verdict, destination)
    return REJECTED if verdict.is_rejected else 0


def _destination(known: dict[str, Destination], to: str | None) -> Destination:
    from guestwire.checking import ANYWHERE
    from guestwire.settings import choose, load

    if to is not None:
        return choose(load().settings, to)
    if len(known) == 1:
        return next(iter(known.values()))
    return ANYWHERE


def _somewhere(destination: Destination) -> str | None:
    """Return a conversation where one is wanted: it is the text that is asked about."""
    return "conversation" if destination.transport == "rest-contract" else None


def _data(verdict: Verdict) -> dict[str, Any]:
    return {
        "policy": verdict.policy,
        "outcome": "rejected" if verdict.is_rejected else "parked" if verdict.parked_by else "accepted",
        "findings": verdict.findings,
        "parts": [body.text for body in verdict.bodies],
    }


def _tell(text: str, verdict: Verdict, destination: Destination) -> None:
    for finding in verdict.findings:
        show.out(f"{SAID[finding.action]}: {show.printable(finding.text)} [{finding.rule}]")
        for line in _shown(text, finding):
            show.out(f"  {line}")
        if finding.fix and finding.action != "warn":
            show.out(f"  {show.printable(finding.fix)}")
    show.out(_outcome(verdict, destination))
    changed = [body.text for body in verdict.bodies]
    if changed and changed != [text]:
        show.table(("part", "size", "text"), _parts(changed))


def _shown(text: str, finding: Finding) -> Iterable[str]:
    """Show where it is: the place between marks, with a little of what stands around it."""
    if finding.span is None or finding.path != "text":
        return
    start, end = finding.span
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    lead, trail = "…" * (start > AROUND), "…" * (end + AROUND < len(text))
    place = show.printable(text[start:end], width=4 * AROUND)
    yield f"{lead}{show.printable(before)}»{place}«{show.printable(after)}{trail} (characters {start} to {end})"


def _outcome(verdict: Verdict, destination: Destination) -> str:
    policy = f"policy {show.printable(verdict.policy)}"
    if verdict.is_rejected:
        return f"it would be rejected ({policy})"
    parts = show.counted(len(verdict.bodies), "part")
    if verdict.parked_by:
        return f"it would wait for a person, in {parts}, because of {verdict.parked_by} ({policy})"
    where = "" if destination.name == "anywhere" else f" to {destination.name}"
    return f"it would be accepted and go out{where} in {parts} ({policy})"


def _parts(texts: Sequence[str]) -> list[tuple[str, str, str]]:
    return [
        (str(number), f"{len(text.encode('utf-8', 'replace'))} B", show.printable(text, width=60))
        for number, text in enumerate(texts, 1)
    ]

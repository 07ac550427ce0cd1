"""
What becomes of a message: everything that is said of it at once, and the parts that it goes out in.

First the limits of its way out, then what the policy finds, then the rules of the program that submits it. A message
with a finding that rejects is not stored at all. Otherwise places are masked, and what is left of the text is made to
fit: a mask may be longer than what it stands for, and length is measured on what is really sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from guestwire.errors import Finding
from guestwire.model import Draft, PartBody
from guestwire.policy.content import Content, redact
from guestwire.policy.split import fit
from guestwire.policy.ways import check_message
from guestwire.settings import Destination, FileSettings, Limits

logger = logging.getLogger("guestwire.policy")

_FILES = FileSettings()
#: A rule of one's own: a pure function.
Rule = Callable[[Draft, Limits], Iterable[Finding]]


class Verdict(msgspec.Struct, frozen=True):
    """What is said of a message."""

    findings: tuple[Finding, ...] = ()
    """All of them, in the order of the rules."""
    bodies: tuple[PartBody, ...] = ()
    """Its parts, in order; none where it is rejected."""
    policy: str = ""
    """Version of the policy."""

    @property
    def is_rejected(self) -> bool:
        """Nothing of it may be stored."""
        return bool(self.reasons)

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """The findings that reject it."""
        return tuple(finding for finding in self.findings if finding.action == "reject")

    @property
    def parked_by(self) -> str | None:
        """The rule for which it waits for a person."""
        return next((finding.rule for finding in self.findings if finding.action == "park"), None)


def judge(
    draft: Draft,
    destination: Destination,
    content: Content,
    rules: Sequence[Rule] = (),
    *,
    now: float,
    with_links: bool = True,
    files: FileSettings = _FILES,
) -> Verdict:
    """
    Hold a message against every rule.

    Args:
        draft: The message.
        destination: Where it goes.
        content: The policy.
        rules: The program's own.
        now: Seconds since the epoch.
        with_links: Look at addresses of files too; False for a message that is stored already.
        files: What files may be.
    """
    limits, policy = destination.limits, content.policy.name
    findings = [*check_message(draft, destination, now, with_links=with_links, files=files)]
    if len(draft.text) > limits.max_text * limits.max_parts:  # nobody looks through a book
        count = len(draft.text) // limits.max_text
        return Verdict((*findings, _too_many_parts(count, limits)), policy=policy)
    findings += _look(draft, content)
    if rules:
        findings += _ask(rules, draft, limits)
    text = redact(draft.text, [one for one in findings if one.path == "text"]) if findings else draft.text
    # Markup that is cut in two is no markup any more.
    mode = "reject" if draft.content_type == "text/html" and destination.long_text == "split" else destination.long_text
    fitted = fit(text, limits.max_text, limits.text_unit, mode=mode, markers=destination.part_markers)
    findings += fitted.findings
    if len(fitted.parts) > limits.max_parts:
        findings.append(_too_many_parts(len(fitted.parts), limits))
    if any(finding.action == "reject" for finding in findings):
        return Verdict(tuple(findings), policy=policy)
    return Verdict(tuple(findings), _bodies(draft, destination, fitted.parts, findings), policy)


def _too_many_parts(count: int, limits: Limits) -> Finding:
    return Finding(
        "text.too_many_parts",
        "text",
        f"it would become {count} parts or more, and {limits.max_parts} are the most",
        "send it as a file, or raise limits.max_parts",
    )


def _look(draft: Draft, content: Content) -> Iterator[Finding]:
    if draft.text:
        yield from content.look(draft.text, draft.guest)
    for number, file in enumerate(draft.remote_files):
        if file.caption:
            yield from content.look(file.caption, draft.guest, f"attachments[{number}].caption")
    if draft.answer is not None:
        for choice in draft.answer.choices:
            # It is one of the reply's own options: masked it would be none of them.
            for finding in content.look(choice.text, draft.guest, "answer"):
                yield msgspec.structs.replace(finding, action="warn") if finding.action == "redact" else finding


def _ask(rules: Sequence[Rule], draft: Draft, limits: Limits) -> Iterator[Finding]:
    """Ask the program's own rules. One that fails rejects: nobody knows what it would have said."""
    for rule in rules:
        name = f"{getattr(rule, '__module__', '')}:{getattr(rule, '__qualname__', type(rule).__qualname__)}"
        try:
            yield from msgspec.convert(list(rule(draft, limits)), list[Finding])
        except Exception as error:
            # Neither the words of the error nor its traceback: both may quote the text.
            logger.error("the rule %s failed: %s", name, type(error).__name__, extra={"action": "rule_failed"})
            yield Finding("rule.failed", "text", f"the rule {name} failed: {type(error).__name__}", "mend the rule")


def _bodies(
    draft: Draft, destination: Destination, texts: Sequence[str], findings: Sequence[Finding]
) -> tuple[PartBody, ...]:
    """Make the parts; whatever goes with a text goes with the first."""
    files = tuple(
        msgspec.structs.replace(
            file,
            caption=redact(file.caption, (one for one in findings if one.path == f"attachments[{number}].caption")),
        )
        if file.caption
        else file
        for number, file in enumerate(draft.remote_files)
    )
    asks = destination.read_receipt if draft.read_receipt is None else draft.read_receipt
    first = PartBody(
        texts[0],
        draft.attributes,
        draft.answer,
        remote_files=files,
        profile=draft.profile,
        content_type=draft.content_type,
        conversation=draft.conversation,
        read_receipt=asks,
    )
    if len(texts) == 1:
        return (first,)
    rest = (
        PartBody(
            text,
            profile=draft.profile,
            content_type=draft.content_type,
            conversation=draft.conversation,
            read_receipt=asks,
        )
        for text in texts[1:]
    )
    return (first, *rest)

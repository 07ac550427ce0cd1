"""
Whether an attempt with an unknown outcome arrived, as far as the guest's history can say.

The history is the only witness, and not a good one: it may lag behind, nobody publishes whether it gives back our
metadata, and its pages shift while they are read. So *found* is believed at once and *absent* only after two
reads, one at least `settle_s` after the loss and another at least `settle_s` later. The local clock takes no part in
the matching, only the order of the history itself: candidates are the guest's own entries after the *anchor*, the
newest entry that already belongs to one of his parts. One entry is never assigned twice.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

import msgspec

from guestwire.model import Entity, PartBody, PartId

#: Times go out in milliseconds, rounded down.
SAME_TIME_S = 0.002


class Found(msgspec.Struct, frozen=True):
    """It arrived."""

    entity: Entity


class Absent(msgspec.Struct, frozen=True):
    """Two reads, far enough apart, did not show it. Not a proof; the best there is."""

    reads: int


class LookAgain(msgspec.Struct, frozen=True):
    """Too early to say; read again at `at`, in seconds since the epoch."""

    at: float


class Unsettleable(msgspec.Struct, frozen=True):
    """No history can say: the session was replaced, or the history stayed unreadable."""

    reason: str


Verdict = Found | Absent | LookAgain | Unsettleable


class Progress(msgspec.Struct, frozen=True):
    """What a check has done so far. Times in seconds since the epoch."""

    lost_at: float
    read_at: tuple[float, ...] = ()
    failures: int = 0


def after_anchor(entities: Sequence[Entity], anchor: str | None) -> list[Entity]:
    """
    Return the entries newer than the anchor.

    Args:
        entities: The guest's own entries, newest first, as the history gives them; pages that shifted while they
            were read may repeat entries.
        anchor: A name of the newest entry that belongs to a part; None where there is none yet.
    """
    fresh: list[Entity] = []
    seen: set[str] = set()
    for entity in entities:
        if entity.is_called(anchor):
            break
        if entity.gateway_id not in seen:
            seen.add(entity.gateway_id)
            fresh.append(entity)
    return fresh


def find(
    part_id: PartId,
    body: PartBody,
    candidates: Iterable[Entity],
    is_taken: Callable[[Entity], bool],
    marks: tuple[str, ...] | None = (),
    said_at: float | None = None,
    doubles: int = 0,
) -> Entity | None:
    """
    Find the entry that the part became: by our id in its metadata, else by its content.

    Args:
        part_id: The part in question.
        body: What was sent.
        candidates: From `after_anchor`, newest first.
        is_taken: Whether an entry already belongs to another part of the guest.
        marks: Ids of its file and payloads of its answer: what tells it apart beside its text. None: it has a file,
            and nobody knows under which id.
        said_at: The time that went out with it, in seconds since the epoch; None: none did. An entry with another time
            is another message, however equal the words.
        doubles: So many copies of earlier parts with the same words may stand among the candidates and belong to
            nobody, because nobody learned whether they arrived: only what is there beside them can be this part.

    Returns:
        The *oldest* match: of two equal texts the earlier one was sent earlier.
    """
    free = [entity for entity in candidates if not is_taken(entity)]
    for entity in reversed(free):
        if entity.part_id == part_id:
            return entity
    wanted = _words(body)
    matches = [
        entity
        for entity in reversed(free)
        if is_then(said_at, entity.said_at)
        and entity.part_id is None
        and (entity.marks == marks if marks is not None else len(entity.marks) == 1)
        and normalized(entity.text or "") == wanted
    ]
    return matches[doubles] if len(matches) > doubles else None


def says_same(one: PartBody, other: PartBody) -> bool:
    """Whether two parts cannot be told apart by their words."""
    return _words(one) == _words(other)


def _words(body: PartBody) -> str:
    return normalized(body.text if body.answer is None else body.answer.text or "")


def is_then(went_out: float | None, came_back: float | None) -> bool:
    """Whether two times may be one, as precisely as the later of them is told; one that is not told says nothing."""
    if went_out is None or came_back is None:
        return True
    return abs(went_out - came_back) < (1.0 if came_back.is_integer() else SAME_TIME_S)


def judge(
    found: Entity | None,
    progress: Progress,
    *,
    settle_s: float,
) -> Verdict:
    """
    Say what a completed read means.

    Args:
        found: From `find`, on the entries of this read.
        progress: With this read already in it.
        settle_s: How long the history is given to show an entry, in seconds.
    """
    if found is not None:
        return Found(found)
    first = next((at for at in progress.read_at if at >= progress.lost_at + settle_s), None)
    if first is None:
        return LookAgain(progress.lost_at + settle_s)
    if progress.read_at[-1] >= first + settle_s:
        return Absent(len(progress.read_at))
    return LookAgain(first + settle_s)


def judge_unreadable(reason: str, progress: Progress, *, now: float, check_for_s: float, retry_s: float) -> Verdict:
    """Say what a failed read means: try again, until `check_for_s` after the loss."""
    if now - progress.lost_at >= check_for_s:
        return Unsettleable(f"the history could not be read for {check_for_s:.0f} s: {reason}")
    return LookAgain(now + retry_s)


def normalized(text: str) -> str:
    """Return a text as it may come back: composed (NFC), with bare line feeds, trimmed."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()

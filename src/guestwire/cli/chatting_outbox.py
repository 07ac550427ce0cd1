"""What the guest said in a chat and what became of it, by the journal. Pure."""

from __future__ import annotations

import msgspec

from guestwire.cli.chatting_words import Paragraph, Said
from guestwire.cli.show import printable
from guestwire.model import JournalEntry, PartId


class Mine(msgspec.Struct):
    """A message of the guest's that has no end yet."""

    at: float
    shown: list[Paragraph]
    doing: str = "sending"


class Outbox:
    """The guest's messages that have no end yet, in their order."""

    def __init__(self) -> None:
        self._mine: dict[PartId, Mine] = {}
        #: Exit code for the first message that ended otherwise than accepted; 0: none did.
        self.code = 0

    def __len__(self) -> int:
        return len(self._mine)

    def __contains__(self, part_id: object) -> bool:
        return part_id in self._mine

    @property
    def doing(self) -> str:
        """What is done with the first of them; empty: there is none."""
        for mine in self._mine.values():
            return mine.doing
        return ""

    @property
    def is_unknown(self) -> bool:
        """Whether the outcome of one of them is unknown."""
        return any(mine.doing == "checking" for mine in self._mine.values())

    def add(self, part_id: PartId, at: float, shown: list[Paragraph]) -> None:
        """A message was stored."""
        self._mine[part_id] = Mine(at, shown)

    def moved(self, part_id: PartId, entry: JournalEntry) -> Said | str | None:
        """
        Take what the journal says about a message in here.

        Returns:
            The message, when it has its end; words, where the guest should know; None, where a new `doing` says it all.
        """
        mine = self._mine[part_id]
        reason = printable(str(entry.detail.get("reason", "no reason given")), width=300)
        match entry.event:
            case "part.accepted":
                return self._ended(part_id)
            case "part.dead" | "part.expired" | "part.cancelled":
                return self._ended(part_id, f"not sent: {reason}", 5)
            case "part.parked":
                see = f"see 'guestwire messages show {part_id}'"
                return self._ended(part_id, f"waits for a person: {reason}; {see}", 8)
            case "part.checking":
                mine.doing = "checking"
                return "no answer to your message; looking whether it arrived"
            case "part.possible_duplicate":
                mine.doing = "sending again"
                return f"your message is sent again, and may be seen twice: {reason}"
            case "part.requeued" | "part.deferred":
                mine.doing = "trying again"
            case "part.throttled":
                mine.doing = "held by a limit"
            case "part.sending":
                mine.doing = "sending"
            case "upload.started":
                mine.doing = "sending the file"
            case "upload.progress":
                mine.doing = f"sending the file, {_percent(entry)} %"
            case "upload.stored" | "upload.done":
                mine.doing = "sending the file, 100 %"
            case _:
                pass
        return None

    def _ended(self, part_id: PartId, problem: str = "", code: int = 0) -> Said:
        mine = self._mine.pop(part_id)
        self.code = self.code or code
        shown = [*mine.shown, Paragraph(problem, "! ")] if problem else mine.shown
        return Said("you", mine.at, shown, is_mine=True)


def _percent(entry: JournalEntry) -> int:
    sent, size = entry.detail.get("sent"), entry.detail.get("size")
    return 100 * sent // size if isinstance(sent, int) and isinstance(size, int) and size > 0 else 0

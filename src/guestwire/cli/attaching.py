"""Files to go with messages, from disk: what is wrong with one is a finding, as with a text."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from guestwire.answers import Answer, quick_reply
from guestwire.errors import Finding
from guestwire.model import Attachment
from guestwire.policy.rules import BLOCKED_EXTENSIONS, check_file
from guestwire.settings import Limits


def read(path: Path, limits: Limits) -> Attachment | tuple[Finding, ...]:
    """
    Read a file, or say what is wrong with it.

    A file that is too large is not read into memory to find that out, and what is no regular file is not opened: a pipe
    could keep us waiting for ever.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            return (_unreadable(f"it is {what}", "name a file"),)
        with path.open("rb"):
            pass
        findings = tuple(check_file(path.name, found.st_size, max_kb=limits.max_file_kb, blocked=BLOCKED_EXTENSIONS))
        return findings or Attachment.read(path)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "its name cannot be one"
        return (_unreadable(f"it cannot be read: {why}", "check the path and its rights"),)


def locate(name: str, beside: Path, allowed: Path | None) -> Path:
    """
    Return where a file lies that a row of a batch names, links followed.

    Args:
        name: As it stands in the row.
        beside: The folder of the batch: relative names begin there.
        allowed: Another folder whose files may be named too; None: none.

    Raises:
        ValueError: It lies elsewhere; the text says so. A file of messages often comes from somebody else, and must not
            be able to send the password file to an agent.
    """
    try:
        path = Path(os.path.realpath(beside / name))
        homes = [Path(os.path.realpath(home)) for home in (beside, allowed) if home is not None]
    except (OSError, ValueError):
        raise ValueError("its name cannot be one") from None
    if not any(path.is_relative_to(home) for home in homes):
        raise ValueError("it lies outside the folder of the batch: name its folder with --allow-files-from")
    return path


def joined(of_files: tuple[Finding, ...], others: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Join what is wrong with files and with the rest; a text may be empty where there is a file, if a bad one."""
    return (*of_files, *(finding for finding in others if not of_files or finding.rule != "text.empty"))


def quick_reply_of(text: str) -> Answer:
    """Read ``LABEL`` or ``LABEL=PAYLOAD``."""
    label, equals, payload = text.partition("=")
    return quick_reply(label, payload if equals else None)


def _unreadable(what: str, fix: str) -> Finding:
    return Finding("file.unreadable", "attachments", what, fix)

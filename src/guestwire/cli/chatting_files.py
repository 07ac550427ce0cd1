"""Files of a chat: found by what was typed, written for nobody else to read."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from pathlib import Path

from guestwire.errors import ConfigError


def reserve(path: Path) -> None:
    """Look whether a transcript can be written there, before anything is said."""
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        if not path.exists():
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise ConfigError(
            f"the transcript '{path}' cannot be written: {error.strerror}", code="GW-C068", hint="name another file"
        ) from None


def existing(name: str) -> Path:
    """Find a file by what was typed, or dropped onto the terminal: then it may be quoted."""
    names = [name]
    with contextlib.suppress(ValueError):
        words = shlex.split(name)
        names += words if len(words) == 1 else []
    for each in names:
        path = Path(each).expanduser()
        if path.is_file():
            return path
    what = "a folder or a device" if Path(name).expanduser().exists() else "not there"
    raise ConfigError(f"'{name}' is {what}", code="GW-C060", hint="give the path of a file")


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def write_new(name: str, content: bytes) -> Path:
    """Write a file that was not there; what somebody sends never replaces anything."""
    path = Path(name).expanduser()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return path

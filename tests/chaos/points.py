"""Where a process dies by its own hand."""

from __future__ import annotations


def arm(name: str, nth: int) -> None:
    """To come."""

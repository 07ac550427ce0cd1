"""A loop of ours says what went wrong in it, and one known slip of a library is not that."""

from __future__ import annotations

import asyncio
import logging

import pytest

from guestwire.net import mind_loop


def test_a_class_in_place_of_an_exception_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """The loop's own handler would fail over it, with two tracebacks; a real exception is told as ever."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        mind_loop(loop)
        with caplog.at_level(logging.DEBUG, "asyncio"):
            loop.call_exception_handler({"message": "closed within a handshake", "exception": ConnectionResetError})
            assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
            loop.call_exception_handler({"message": "a bug", "exception": ValueError("here")})
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == ["a bug"]

"""
What goes over the pipes between `guestwire.media.cleaning` and its worker: a length of 4 bytes, and so much msgpack.

The worker has held a stranger's file in its hands, so nothing that it says is believed: it can choose among a few
reasons, and its words are never shown.
"""

from __future__ import annotations

import os
import select
import time
from typing import Literal

import msgspec

#: Of a frame beside the file in it, in bytes.
ENVELOPE_BYTES = 4096
#: Nobody waits longer, in seconds: the system counts milliseconds in 31 bits.
LONGEST_S = 1_000_000.0
_LENGTH = 4

#: What has a decoder here, by the names that Pillow has for them.
Form = Literal["PNG", "JPEG", "GIF", "WEBP", "BMP"]
#: What is done to a picture.
Change = Literal["metadata", "orientation", "quality", "size"]
Reason = Literal["broken", "memory", "pixels", "frames", "too_large"]


class Job(msgspec.Struct, frozen=True, array_like=True):
    """A picture to be cleaned."""

    content: bytes
    form: Form
    max_bytes: int
    max_pixels: int
    max_frames: int
    cpu_s: int
    keep_exif: bool


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The worker waits for its first job."""


class Done(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A picture, written anew."""

    content: bytes
    changed: tuple[Change, ...]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The picture cannot be had clean."""

    reason: Reason
    width: int = 0
    height: int = 0


Answer = Ready | Done | Refused

encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


class Lost(Exception):
    """The other side of a pipe is gone, late, or talks nonsense."""


def framed(value: Job | Answer) -> bytes:
    """Put a value behind its length."""
    body = encode(value)
    return len(body).to_bytes(_LENGTH, "big") + body


def write_all(fd: int, data: bytes, *, until: float) -> None:
    """
    Write to a pipe that does not block.

    Args:
        fd: The pipe.
        data: All of it is written.
        until: By then, on the monotonic clock, in seconds.

    Raises:
        Lost: Nobody reads, or not in time.
    """
    rest = memoryview(data)
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    while rest:
        _wait(poll, until)
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            continue
        except OSError as error:
            raise Lost("it reads no more") from error


def read_frame(fd: int, *, most: int, until: float) -> bytes:
    """
    Read one frame from a pipe that does not block.

    Args:
        fd: The pipe.
        most: Longest body that is read, in bytes.
        until: As for `write_all`.

    Raises:
        Lost: The pipe ended, or a frame is too long, or not here in time.
    """
    length = int.from_bytes(_read(fd, _LENGTH, until), "big")
    if length > most:
        raise Lost("it says too much")
    return _read(fd, length, until)


def _read(fd: int, count: int, until: float) -> bytes:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    got = bytearray()
    while len(got) < count:
        _wait(poll, until)
        try:
            piece = os.read(fd, min(count - len(got), 1 << 20))
        except BlockingIOError:
            continue
        if not piece:
            raise Lost("it has ended")
        got += piece
    return bytes(got)


def _wait(poll: select.poll, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0 or not poll.poll(min(left, LONGEST_S) * 1000):
        raise Lost("its time is up")

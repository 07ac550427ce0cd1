"""
The process that decodes pictures: `python -m guestwire.media.worker MEMORY_BYTES MAX_FRAME_BYTES`.

It reads jobs from its standard input and answers on its standard output, one after the other, until the input ends. It
has a bound of memory and, for each job, of processor time; it cannot write a file; and once it is ready, it can open
nothing any more, neither file nor socket. It is started with next to no environment, so there is nothing to find in it.
"""

from __future__ import annotations

import math
import os
import resource
import sys
import time

from guestwire.media.frames import LONGEST_S, Form, Job, Lost, Ready, Refused, decode_job, framed, read_frame, write_all


def main() -> None:
    """Clean pictures until there are no more."""
    memory_bytes, max_frame = int(sys.argv[1]), int(sys.argv[2])
    _bound(resource.RLIMIT_AS, memory_bytes)
    _bound(resource.RLIMIT_FSIZE, 0)
    _bound(resource.RLIMIT_CORE, 0)
    from guestwire.media import pictures

    _warm_up()
    # What is open stays open: the pipes.
    _bound(resource.RLIMIT_NOFILE, 3)
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    _say(sink, framed(Ready()))
    while True:
        try:
            job = decode_job(read_frame(source, most=max_frame, until=time.monotonic() + LONGEST_S))
        except Lost:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = math.ceil(used.ru_utime + used.ru_stime) + job.cpu_s
        _bound(resource.RLIMIT_CPU, soft, may_rise=True)  # for the next job
        answer = pictures.clean(job)
        del job  # while the next one is waited for, this one's memory is free
        _say(sink, framed(answer))
        if isinstance(answer, Refused) and answer.reason == "memory":
            return  # what is left of it lies in pieces; the next file gets a fresh process


def _bound(limit: int, most: int, *, may_rise: bool = False) -> None:
    """Set a limit, unless a stricter one is set already."""
    _, hard = resource.getrlimit(limit)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (most, hard if may_rise else most))


def _warm_up() -> None:
    """Use every decoder and encoder once, so that what they import later is here already."""
    from io import BytesIO

    from PIL import Image

    from guestwire.media.pictures import clean

    exif = Image.Exif()
    exif[0x0112] = 6
    first, second = Image.new("RGB", (32, 32), (1, 2, 3)), Image.new("RGB", (32, 32), (3, 2, 1))
    forms: tuple[Form, ...] = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
    for form in forms:
        for more in ({}, {"save_all": True, "append_images": [second]} if form in ("PNG", "GIF", "WEBP") else {}):
            out = BytesIO()
            first.save(out, form, exif=exif, **more)
            for most in (1, 10**9):
                clean(Job(out.getvalue(), form, most, 10**6, 10, 1, keep_exif=False))


def _say(sink: int, data: bytes) -> None:
    try:
        write_all(sink, data, until=time.monotonic() + LONGEST_S)
    except Lost:
        os._exit(1)


if __name__ == "__main__":
    main()

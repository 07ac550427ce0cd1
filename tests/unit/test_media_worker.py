"""The process that cleans pictures, whatever becomes of it; and commands that look for viruses."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from guestwire.errors import Finding
from guestwire.media.cleaning import Cleaned, MediaLimits, MediaWorker
from guestwire.media.frames import Done, Lost, Ready, Refused, framed, read_frame
from guestwire.media.scanning import Scanner
from guestwire.model import Attachment
from tests.corpora import files

PNG = Attachment("a.png", files.picture("PNG"))
READY = framed(Ready())


@pytest.fixture
def worker() -> Iterator[MediaWorker]:
    """A worker that is closed at the end."""
    worker = MediaWorker()
    yield worker
    worker.close()


def noise(form: str, size: tuple[int, int]) -> Attachment:
    """A picture that no encoder makes small."""
    out = BytesIO()
    Image.frombytes("RGB", size, hashlib.shake_128(b"noise").digest(size[0] * size[1] * 3)).save(out, form)
    return Attachment(f"a.{form.lower()}", out.getvalue())


def ended(pid: int) -> None:
    """Wait until a process has ended, whether or not somebody has taken notice."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            assert select.select([fd], [], [], 30)[0]
        finally:
            os.close(fd)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    """A pipe with a name: who reads it waits for who writes it."""
    os.mkfifo(tmp_path / "note")
    return tmp_path / "note"


def cleaned(result: Cleaned | tuple[Finding, ...]) -> Cleaned:
    """The file; there has to be one."""
    assert isinstance(result, Cleaned), result
    return result


def reason(result: Cleaned | tuple[Finding, ...]) -> tuple[str, str]:
    """Rule and words of the one finding; there has to be one."""
    assert isinstance(result, tuple)
    (finding,) = result
    assert finding.path == "attachments.content"
    assert finding.action == "reject"
    return finding.rule, finding.text


# --- what it does ---


async def test_one_process_cleans_several_files() -> None:
    """It starts with the first of them and not before, and is gone afterwards."""
    async with MediaWorker() as worker:
        pids = [worker.pid]
        cleaned(await worker.clean(PNG))
        pid = worker.pid
        for name in ("jpg", "gif", "webp", "bmp"):
            cleaned(await worker.clean(Attachment(f"a.{name}", files.samples()[name])))
        assert worker.pid == pid
    assert pids == [None]
    assert pid is not None
    ended(pid)
    assert reason(worker.clean_now(PNG)) == (
        "file.no_worker",
        "the worker that cleans pictures does not start: it is closed",
    )


def test_after_so_many_files_the_next_worker_takes_over() -> None:
    """What a decoder leaks is not kept for ever."""
    worker = MediaWorker(MediaLimits(files=2))
    seen = set()
    for _ in range(4):
        cleaned(worker.clean_now(PNG))
        seen.add(worker.pid)
    worker.close()
    assert len(seen - {None}) == 2


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("most", [15_000, 5_000])
def test_a_picture_is_made_to_fit(worker: MediaWorker, form: str, most: int) -> None:
    """It loses quality where the format has any, then size; its shape stays."""
    result = cleaned(worker.clean_now(noise(form, (320, 160)), max_bytes=most))
    assert len(result.attachment.content) <= most
    assert result.changed[-1] in ("quality", "size")
    with Image.open(BytesIO(result.attachment.content)) as seen:
        assert seen.format == form
        assert 1.8 < seen.width / seen.height < 2.2


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_what_moves_goes_on_moving(worker: MediaWorker, form: str) -> None:
    """All of its frames, for as long as before, over and over; when it has to fit, too."""
    noisy = [Image.frombytes("RGB", (80, 40), hashlib.shake_128(b"%d" % n).digest(9600)) for n in range(6)]
    out = BytesIO()
    noisy[0].save(out, form, save_all=True, append_images=noisy[1:], duration=50, loop=0)
    content = out.getvalue()
    for most in (None, len(content) * 2 // 3):
        result = cleaned(worker.clean_now(Attachment("a.x", content), max_bytes=most))
        with Image.open(BytesIO(result.attachment.content)) as seen:
            assert getattr(seen, "n_frames", 1) == 6
            assert seen.info.get("loop") == 0
            seen.seek(3)
            seen.load()
            assert seen.info["duration"] == 50


def test_what_cannot_be_made_to_fit_is_a_finding(worker: MediaWorker) -> None:
    """A picture of a few pixels is no picture any more; what is no picture is not touched."""
    assert reason(worker.clean_now(noise("PNG", (64, 64)), max_bytes=60))[0] == "file.too_large"
    assert reason(worker.clean_now(Attachment("a.pdf", files.pdf()), max_bytes=60))[0] == "file.too_large"


def test_quality_is_kept_where_nothing_asks_for_less(worker: MediaWorker) -> None:
    """A JPEG is written with its own tables: about as large, and about the same."""
    before = Attachment("a.jpg", files.picture("JPEG", (300, 200), quality=93))
    after = cleaned(worker.clean_now(before)).attachment
    assert abs(len(after.content) - len(before.content)) < len(before.content) / 20
    with Image.open(BytesIO(before.content)) as old, Image.open(BytesIO(after.content)) as new:
        assert old.quantization == new.quantization  # type: ignore[attr-defined]


def test_what_the_camera_wrote_can_be_kept() -> None:
    """If the operator says so; the picture is turned all the same, once."""
    worker = MediaWorker(MediaLimits(keep_exif=True))
    result = cleaned(worker.clean_now(Attachment("a.jpg", files.picture("JPEG", (40, 20), exif=files.exif(6)))))
    worker.close()
    assert result.changed == ("orientation",)
    with Image.open(BytesIO(result.attachment.content)) as seen:
        assert seen.size == (20, 40)
        assert seen.getexif()[0x0112] == 1
        assert seen.getexif()[0x010F] == files.CANARY


@pytest.mark.parametrize(("name", "warned"), [("heic", True), ("tiff", True), ("pdf", False), ("txt", False)])
def test_other_files_come_back_as_they_are(worker: MediaWorker, name: str, warned: bool) -> None:
    """With a warning where it is a picture that keeps what it tells; and no process is started for it."""
    given = Attachment(f"a.{name}", files.samples()[name])
    result = cleaned(worker.clean_now(given))
    assert result.attachment is given
    assert [(one.rule, one.action) for one in result.warnings] == [("file.not_cleaned", "warn")] * warned
    assert worker.pid is None


# --- what becomes of it ---


def test_it_can_open_nothing_and_knows_nothing(worker: MediaWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no socket, no memory without end, and nothing of our environment."""
    monkeypatch.setenv("GUESTWIRE_MASTER_KEY", files.CANARY)
    cleaned(worker.clean_now(PNG))
    place = Path(f"/proc/{worker.pid}")
    limits = place.joinpath("limits").read_text()
    rows = {line[:25].strip(): line[25:].split()[0] for line in limits.splitlines()}
    assert rows["Max open files"] == "3"
    assert rows["Max file size"] == "0"
    assert rows["Max core file size"] == "0"
    assert rows["Max address space"] == str(MediaLimits().memory_mb * 1_000_000)
    assert int(rows["Max cpu time"]) <= MediaLimits().cpu_s + 2
    assert files.CANARY.encode() not in place.joinpath("environ").read_bytes()
    assert len(list(place.joinpath("fd").iterdir())) == 3


def test_one_that_was_killed_is_replaced(worker: MediaWorker) -> None:
    """Between two files nobody notices; the next one has a fresh process."""
    cleaned(worker.clean_now(PNG))
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    ended(first)
    cleaned(worker.clean_now(PNG))
    assert worker.pid not in (None, first)


def test_too_much_memory_is_a_finding_and_the_next_file_is_fine() -> None:
    """The bound is the process's own: it says so itself, or dies of it; both are told."""
    worker = MediaWorker(MediaLimits(memory_mb=80))
    huge = Attachment("a.png", files.picture("PNG", (6000, 5000)))
    rule, text = reason(worker.clean_now(huge))
    assert rule == "file.unreadable"
    assert "memory" in text
    cleaned(worker.clean_now(PNG))
    worker.close()


#: What a worker that somebody has taken over, or that is broken, may do; each ends in a finding.
BROKEN = {
    "silent": "import time; time.sleep(600)",
    "silent later": "import time; say(READY); time.sleep(600)",
    "gone": "",
    "gone later": "say(READY)",
    "killed": "import os; say(READY); read(); os.kill(os.getpid(), 9)",
    "crashed": "import os; say(READY); read(); os.kill(os.getpid(), 11)",
    "half an answer": "say(READY); read(); say(DONE[:20])",
    "words": "say(b'Traceback (most recent call last)')",
    "words later": "say(READY); read(); say(b'Traceback (most recent call last)' * 9)",
    "another shape": r"say(READY); read(); say(b'\0\0\0\1\xc0')",
    "no end": r"say(READY); read(); say(b'\xff\xff\xff\xff' + bytes(99))",
    "ready again": "say(READY); read(); say(READY)",
    "no picture": "say(READY); read(); say(NONE)",
    "another picture": "say(READY); read(); say(OTHER)",
    "a reason of its own": "say(READY); read(); say(ODD)",
    "never reads": "import time; say(READY); time.sleep(600)",
    "busy": "import resource; say(READY); resource.setrlimit(resource.RLIMIT_CPU, (1, 9))\nwhile True: pass",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_worker_is_a_finding(how: str) -> None:
    """Dead, silent, or talking nonsense: never an exception, never a wait without end, and no word of its is shown."""
    odd = framed(Refused("broken")).replace(b"broken", b"oddity")
    values = {
        "READY": READY,
        "DONE": framed(Done(PNG.content, ())),
        "NONE": framed(Done(b"MZ", ())),
        "OTHER": framed(Done(files.samples()["jpg"], ())),
        "ODD": odd,
    }
    program = (
        "import os\n"
        + "".join(f"{name} = {value!r}\n" for name, value in values.items())
        + "def say(data):\n    while data: data = data[os.write(1, data):]\n"
        + "def read():\n    left = int.from_bytes(os.read(0, 4), 'big')\n"
        + "    while left: left -= len(os.read(0, left))\n"
        + BROKEN[how]
    )
    late = how in ("silent", "silent later", "never reads")
    worker = MediaWorker(
        MediaLimits(wall_s=0.3 if late else 60, start_s=0.3 if how == "silent" else 60),
        command=(sys.executable, "-c", program),
    )
    given = noise("PNG", (400, 300)) if how == "never reads" else PNG
    rule, text = reason(worker.clean_now(given))
    rules = ("file.no_worker", "file.unreadable")
    assert rule == rules["say(READY)" in BROKEN[how]]
    assert "Traceback" not in text
    assert "oddity" not in text
    if how == "busy":
        assert "processor" in text
    assert worker.pid is None
    assert reason(worker.clean_now(given))[0] == rule
    worker.close()


def test_a_worker_that_cannot_be_started_is_a_finding() -> None:
    """As if the interpreter had been removed meanwhile."""
    worker = MediaWorker(command=("/nonexistent/python",))
    assert reason(worker.clean_now(PNG))[0] == "file.no_worker"
    worker.close()


async def test_a_cancelled_call_ends_the_process(note: Path) -> None:
    """Nothing goes on for a file that nobody waits for; the next one has a fresh process."""
    program = (
        f"import os, time\nos.write(1, {READY!r})\nos.read(0, 4)\n"
        f"open({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    worker = MediaWorker(command=(sys.executable, "-c", program))
    task = asyncio.create_task(worker.clean(PNG))
    pid = int(await asyncio.to_thread(note.read_text))
    assert worker.pid == pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(ended, pid)
    await asyncio.to_thread(worker.close)


async def test_many_tasks_and_threads_share_one() -> None:
    """They take turns; nobody gets another's picture."""
    given = [noise("PNG", (20 + n, 20)) for n in range(8)]
    async with MediaWorker() as worker:
        threads: dict[int, Cleaned] = {}

        def work(n: int) -> None:
            threads[n] = cleaned(worker.clean_now(given[n]))

        running = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in running:
            thread.start()
        tasks = await asyncio.gather(*(worker.clean(one) for one in given))
        for thread in running:
            await asyncio.to_thread(thread.join)
    for n, result in enumerate(tasks):
        for one in (cleaned(result), threads[n]):
            with Image.open(BytesIO(one.attachment.content)) as seen:
                assert seen.size == (20 + n, 20)


def test_a_frame_in_pieces_is_read_and_half_a_frame_is_not() -> None:
    """Pipes cut where they like."""
    source, sink = os.pipe()
    os.set_blocking(source, False)
    for byte in READY:
        os.write(sink, bytes([byte]))
    assert read_frame(source, most=99, until=1e12 / 1000) == READY[4:]
    os.write(sink, READY[:-1])
    os.close(sink)
    with pytest.raises(Lost, match="it has ended"):
        read_frame(source, most=99, until=1e9)
    os.close(source)


# --- scanners ---


def scanner(program: str, timeout_s: float = 60) -> Scanner:
    """A scanner that is a few lines of Python."""
    return Scanner((sys.executable, "-c", program), timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("program", "rule"),
    [
        ("import sys; sys.exit(b'EICAR' in sys.stdin.buffer.read())", None),
        ("import sys; sys.exit(b'Hello' in sys.stdin.buffer.read())", "file.infected"),
        ("import sys; sys.exit(1)", "file.infected"),  # without reading to the end
        ("", None),
        ("import sys; sys.exit(2)", "file.not_scanned"),
        ("raise OSError", "file.infected"),  # Python ends with 1 then: a script has to say 2 for itself
        ("import os; os.kill(os.getpid(), 9)", "file.not_scanned"),
        ("import time; time.sleep(600)", "file.not_scanned"),
        ("import sys, time; sys.stdin.buffer.read(); time.sleep(600)", "file.not_scanned"),
        ("import os, time; os.close(0); os.close(1); os.close(2); time.sleep(600)", "file.not_scanned"),
        ("print('x' * 10_000_000)", None),
    ],
)
async def test_a_scanner_decides_by_its_exit_code(program: str, rule: str | None) -> None:
    """0 is clean, 1 infected; whatever else it does, the file is not taken."""
    found = await scanner(program, timeout_s=1 if "600" in program else 60).scan(b"Hello" * 100_000)
    assert [finding.rule for finding in found] == ([] if rule is None else [rule])
    assert all(finding.action == "reject" and finding.path == "attachments.content" for finding in found)


@pytest.mark.parametrize("command", [("/nonexistent/scanner",), ("/",), ("a\0b",)])
def test_a_scanner_that_is_not_there_has_not_looked(command: tuple[str, ...]) -> None:
    """A file without an answer is not taken."""
    assert [finding.rule for finding in Scanner(command).scan_now(b"x")] == ["file.not_scanned"]


async def test_a_scanner_is_run_without_a_shell_and_without_our_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its arguments are what they are, and its environment holds what programs need to run."""
    monkeypatch.setenv("GUESTWIRE_MASTER_KEY", files.CANARY)
    program = "import os, sys; sys.exit('GUESTWIRE_MASTER_KEY' in os.environ or not sys.argv[1].startswith('$(touch'))"
    assert await Scanner((sys.executable, "-c", program, f"$(touch {tmp_path}/x)")).scan(b"x") == ()
    assert not (tmp_path / "x").exists()


async def test_a_late_scanner_is_ended_with_what_it_has_started(note: Path) -> None:
    """Nothing of it stays behind."""
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\ntime.sleep(600)"
    )
    task = asyncio.create_task(scanner(program, timeout_s=3).scan(b"x"))
    child = int(await asyncio.to_thread(note.read_text))
    (finding,) = await task
    assert finding.rule == "file.not_scanned"
    assert "3 s" in finding.text
    await asyncio.to_thread(ended, child)


async def test_a_cancelled_scan_ends_the_command(note: Path) -> None:
    """Nobody waits for it any more."""
    program = f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    task = asyncio.create_task(scanner(program).scan(b"x"))
    pid = int(await asyncio.to_thread(note.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(ended, pid)

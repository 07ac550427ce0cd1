"""For programs without an event loop: plain calls, forks, forgotten closes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from guestwire import ConfigError, Message, Rejected
from guestwire.blocking import GuestWire
from guestwire.emulator.thread import EmulatorThread
from guestwire.settings import Destination, StoreSettings

pytestmark = pytest.mark.genesys(echo_delay_ms=0, history_lag_s=0.02, script="echo")


def wire_to(genesys: EmulatorThread, folder: Path) -> GuestWire:
    """A program's wire."""
    to = Destination(name="emulator", url=genesys.url, deployment_id=genesys.deployment_id)
    return GuestWire([to], store=folder, store_settings=StoreSettings(path=folder, min_free_disk_mb=1))


def test_plain_calls(genesys: EmulatorThread, tmp_path: Path) -> None:
    """Submit, wait, status and replies return when they are done; errors are those of the asynchronous one."""
    with wire_to(genesys, tmp_path) as wire:
        ticket = wire.submit(Message(guest="ann", text="hello"))
        assert wire.wait(ticket, timeout_s=10).is_accepted
        tickets = wire.submit_many(Message(guest=f"g{n}", text="hi") for n in range(3))
        assert all(status.is_accepted for status in wire.wait_many(tickets, timeout_s=10))
        assert wire.status().store.parts == {"accepted": 4}
        with pytest.raises(Rejected):
            wire.submit(Message(guest="ann", text=""))
        genesys.say("an answer", conversation_id=genesys.messages()[0]["conversation_id"])
        last = wire.submit(Message(guest="ann", text="bye"))
        wire.wait(last, timeout_s=10)
        assert "an answer" in [reply.text for reply in wire.replies("ann")]
        assert len(wire.replies()) >= len(wire.replies("ann"))
        (first, *_) = wire.replies(consumer="crm")
        wire.acknowledge(first, consumer="crm")
        assert first not in wire.replies(consumer="crm")
        wire.for_guests(lambda guests: guests.close("ann"))
        assert wire.for_guests(lambda guests: guests.show("ann")).session == "none"


def test_closing_twice_and_going_on(genesys: EmulatorThread, tmp_path: Path) -> None:
    """Closing twice is closing once; using it afterwards opens it again."""
    wire = wire_to(genesys, tmp_path)
    wire.close()
    assert wire.wait(wire.submit(Message(guest="ann", text="one")), timeout_s=10).is_accepted
    wire.close()
    wire.close()
    assert wire.status().store.parts == {"accepted": 1}
    wire.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "guestwire-loop"]


def test_many_threads_share_one(genesys: EmulatorThread, tmp_path: Path) -> None:
    """Threads of one program may use one wire at once."""
    with wire_to(genesys, tmp_path) as wire:
        ends: list[bool] = []

        def work(number: int) -> None:
            ends.append(wire.wait(wire.submit(Message(guest=f"g{number}", text="hi")), timeout_s=10).is_accepted)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ends == [True] * 8


async def test_refused_inside_a_running_loop(tmp_path: Path) -> None:
    """In a coroutine it would block the loop: refused, with the way out in the hint; closing stays possible."""
    to = Destination(name="emulator", url="http://127.0.0.1:1", deployment_id="3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50")
    wire = GuestWire([to], store=tmp_path)
    with pytest.raises(ConfigError, match="GW-C070") as refused:
        wire.status()
    assert "async with" in refused.value.hint
    wire.close()


def run(genesys: EmulatorThread, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a user's to its end."""
    head = f"""
        import os, sys
        from guestwire import Destination, Message
        from guestwire.blocking import GuestWire
        from guestwire.settings import StoreSettings
        from pathlib import Path

        folder = Path({str(folder)!r})
        to = Destination(name="emulator", url={genesys.url!r}, deployment_id={genesys.deployment_id!r})
        wire = GuestWire([to], store=folder, store_settings=StoreSettings(path=folder, min_free_disk_mb=1))
    """
    # Python 3.12 and later warn of every fork beside threads: whoever forks has decided.
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(head) + textwrap.dedent(script)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_a_forgotten_close(genesys: EmulatorThread, tmp_path: Path) -> None:
    """A script that forgets `close` ends at once, without a word, and what it submitted is on disk."""
    done = run(genesys, tmp_path, 'wire.submit(Message(guest="ann", text="hello"))')
    assert (done.returncode, done.stderr) == (0, "")
    with wire_to(genesys, tmp_path) as wire:
        (count,) = wire.status().store.parts.values()
        assert count == 1


def test_a_forked_child_works_on_its_own(genesys: EmulatorThread, tmp_path: Path) -> None:
    """A child made by fork opens its own store; parent and child both submit and wait, before and after."""
    done = run(
        genesys,
        tmp_path,
        """
        def go(text):
            return wire.wait(wire.submit(Message(guest=text.split()[0], text=text)), timeout_s=10).is_accepted

        assert go("parent before")
        child = os.fork()
        if child == 0:
            ok = go("child one") and go("child two")
            wire.close()
            sys.exit(0 if ok else 7)
        assert go("parent meanwhile")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert go("parent after")
        wire.close()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(message["text"] for message in genesys.messages() if message["direction"] == "Inbound") == [
        "child one",
        "child two",
        "parent after",
        "parent before",
        "parent meanwhile",
    ]


def test_a_child_outlives_its_parent(genesys: EmulatorThread, tmp_path: Path) -> None:
    """What a forked child submits after its parent has closed the store is there for the next program."""
    done = run(
        genesys,
        tmp_path,
        """
        wire.wait(wire.submit(Message(guest="p", text="parent")), timeout_s=10)
        to_child, from_parent = os.pipe()
        child = os.fork()
        if child == 0:
            wire.submit(Message(guest="c", text="child 1"))
            os.close(from_parent)
            os.read(to_child, 1)  # until the parent is gone
            for n in range(2, 40):
                wire.submit(Message(guest="c", text=f"child {n}"))
            print("submitted", flush=True)
            os._exit(0)  # as hard as a kill
        os.close(to_child)
        wire.close()
        """,
    )
    assert done.stderr == ""
    assert done.stdout == "submitted\n"
    with wire_to(genesys, tmp_path) as wire:
        assert sum(wire.status().store.parts.values()) == 40


def test_forks_while_busy(genesys: EmulatorThread, tmp_path: Path) -> None:
    """Forking again and again while messages are being sent hangs neither the children nor the parent."""
    done = run(
        genesys,
        tmp_path,
        """
        children = []
        for n in range(8):
            wire.submit_many(Message(guest=f"g{k}", text=f"parent {n} {k}") for k in range(10))
            child = os.fork()
            if child == 0:
                wire.submit(Message(guest=f"child {n}", text="hello"))
                os._exit(0)
            children.append(child)
        assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children} == {0}
        wire.submit(Message(guest="parent", text="last"))
        wire.close()
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with wire_to(genesys, tmp_path) as wire:
        assert sum(wire.status().store.parts.values()) == 89

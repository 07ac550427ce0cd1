"""The contract of all stores, held by the one in SQLite; and what this one adds, because it lies in files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import apsw.ext
import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from guestwire.errors import StoreError
from guestwire.model import (
    RECEIPT_STATES,
    GatewayMessageId,
    GuestKey,
    GuestRef,
    PartId,
    Receipt,
    Reply,
    SessionChanged,
    SessionState,
    Ticket,
)
from guestwire.store.base import Confirm, Head, Hear, Intake, Requeue, Step, StepResult, Store, Suspect
from guestwire.store.connection import Row
from guestwire.store.folder import Folder, statements
from guestwire.store.sqlite import SqliteStore
from guestwire.testing.machine import StoreMachine
from guestwire.testing.stores import ACCEPTED, HandOf, StoreContract, accepted, intake, replayed

Hand = HandOf[SqliteStore]


class TestSqliteStore(StoreContract):
    """The contract, and what belongs to files."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Folder:
        """Where the store lies."""
        return Folder(tmp_path / "store")

    @pytest.fixture
    def open_store(self, folder: Folder) -> Iterator[Callable[[], SqliteStore]]:
        """Open one more connection."""
        stores: list[SqliteStore] = []

        def open_it() -> SqliteStore:
            stores.append(SqliteStore(folder, min_free_disk_mb=0))
            return stores[-1]

        yield open_it
        for store in stores:
            store.close()

    def test_nothing_personal_lies_in_the_files(self, hand: Hand, folder: Folder) -> None:
        """Neither in the database nor beside it, neither before nor after the log is folded in."""
        canaries = ["guest", "text", "attribute", "token", "reply", "key", "channel"]
        ticket = hand.submit(
            "canary-guest", "canary-text", attributes={"canary-attribute": "canary-attribute"}, key="canary-key"
        )
        hand.add(intake("canary-guest", "canary-text-held", not_before=9e9), held_by="file")
        guest = ticket.guest_ref
        token = hand.lane(guest).token
        hand.begin(guest)
        reply = Reply(
            gateway_id=GatewayMessageId("r1"),
            kind="text",
            text="canary-reply",
            nickname="canary-reply",
            metadata={"a": "canary-reply"},
        )
        hand.step(
            Hear(guest, reply),
            SessionChanged(guest, SessionState.LIVE, "session.configured", token="canary-token"),
            Suspect(ticket.part_ids[0], 1, "lost"),
        )

        def look() -> None:
            files = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
            assert {"store.db", "keys.db"} <= set(files)
            for name, content in files.items():
                for canary in (*(f"canary-{word}" for word in canaries), token):
                    assert canary.encode() not in content, (name, canary)

        assert (folder.path / "store.db-wal").stat().st_size > 0
        look()
        hand.store.close()
        look()
        other = Hand(SqliteStore(folder, min_free_disk_mb=0))
        other.fence = hand.fence
        assert other.lane(guest).token == "canary-token"
        assert other.store.replies(0, 9)[0].text == "canary-reply"
        assert other.store.find_guest("web", GuestKey("canary-guest")) == guest
        assert not other.submit(
            "canary-guest", "canary-text", attributes={"canary-attribute": "canary-attribute"}, key="canary-key"
        ).fresh
        other.store.close()

    def test_the_files_are_their_owners_alone(self, hand: Hand, folder: Folder) -> None:
        """Also those that SQLite makes beside them."""
        hand.submit()
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
        assert {"store.db", "store.db-wal", "store.db-shm", "keys.db"} <= set(files)
        assert set(files.values()) == {0o600}

    def test_what_is_committed_has_reached_the_disk(self, hand: Hand) -> None:
        """WAL with a sync at every commit, and deleted content is overwritten."""
        pragmas = {
            name: hand.store._value(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "secure_delete")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
        assert hand.store._value("PRAGMA auto_vacuum") == 2
        assert hand.store._value("PRAGMA foreign_keys") == 1

    def test_a_killed_process_loses_nothing_it_was_told_is_stored(self, folder: Folder) -> None:
        """SIGKILL right after the commit, without closing anything: the next process finds it, and a sound file."""
        program = (
            "import os, signal, sys; from pathlib import Path\n"
            "from guestwire.store.folder import Folder; from guestwire.store.sqlite import SqliteStore\n"
            "from guestwire.store.base import Intake; from guestwire.model import Draft, PartBody\n"
            "store = SqliteStore(Folder(Path(sys.argv[1])), min_free_disk_mb=0)\n"
            "with store.transaction():\n"
            "    store.register('web', 'webmessaging', 'f1', is_emulator=True)\n"
            "    store.add([Intake(Draft(destination='web', guest='anna', text='hello'), (PartBody('hello'),))], 1.0)\n"
            "unfinished = store.transaction(); unfinished.__enter__()\n"
            "store.add([Intake(Draft(destination='web', guest='ben', text='never'), (PartBody('never'),))], 1.0)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", program, str(folder.path)], check=False, timeout=60)
        assert done.returncode == -9
        store = SqliteStore(folder, min_free_disk_mb=0)
        assert [view.text for view in Hand(store).parts()] == ["hello"]
        assert store._value("PRAGMA integrity_check") == "ok"
        store.close()

    def test_a_newer_schema_is_refused(self, hand: Hand, folder: Folder) -> None:
        """It does not guess what a later guestwire meant."""
        hand.store._db.execute("PRAGMA user_version=99")
        with pytest.raises(StoreError, match="GW-S004") as caught:
            SqliteStore(folder)
        assert "99" in caught.value.message

    def test_a_schema_of_before_the_first_release_is_refused(self, hand: Hand, folder: Folder) -> None:
        """It would open, and then nothing could ever be sent."""
        hand.store._db.execute("PRAGMA user_version=1")
        with pytest.raises(StoreError, match="GW-S015"):
            SqliteStore(folder)

    @pytest.mark.parametrize("name", ["store.db", "keys.db"])
    @pytest.mark.parametrize("content", [b"not a database at all, but a long enough text\n" * 200, b"\0" * 8192])
    def test_a_file_that_is_no_database_is_refused(self, folder: Folder, name: str, content: bytes) -> None:
        """Said as what it is, and the file is left as it was."""
        (folder.path / name).write_bytes(content)
        (folder.path / name).chmod(0o600)
        with pytest.raises(StoreError, match="GW-S005"):
            SqliteStore(folder)
        assert (folder.path / name).read_bytes() == content

    def test_keys_of_another_store_are_refused(self, hand: Hand, folder: Folder) -> None:
        """A lost keys.db is not silently replaced: what was stored could never be read again."""
        hand.submit()
        folder.keys.rename(folder.path / "elsewhere.db")
        with pytest.raises(StoreError, match="GW-S013"):
            SqliteStore(folder)
        (folder.path / "elsewhere.db").replace(folder.keys)
        SqliteStore(folder).close()

    def test_keys_that_others_can_read_are_refused(self, hand: Hand, folder: Folder) -> None:
        """Before the store is opened."""
        folder.keys.chmod(0o644)
        with pytest.raises(StoreError, match="GW-S010"):
            SqliteStore(folder)

    def test_a_full_disk_refuses_intake_and_lets_sending_go_on(self, hand: Hand, folder: Folder) -> None:
        """What was accepted is sent while new messages are turned away, with both numbers."""
        ticket = hand.submit()
        tight = Hand(SqliteStore(folder, min_free_disk_mb=10**9))
        tight.fence = hand.fence
        with pytest.raises(StoreError, match="GW-S021") as caught:
            tight.submit()
        assert "1000000000" in caught.value.message
        sending = tight.begin(ticket.guest_ref)
        tight.step(Confirm(sending.part_id, accepted("g1")))
        assert tight.states(ticket) == [ACCEPTED]
        tight.store.close()

    def test_running_out_of_room_rolls_back_and_says_so(self, hand: Hand) -> None:
        """A commit that does not fit takes nothing with it, and the error under it is the disk's, not a rollback's."""
        pages = hand.store._value("PRAGMA page_count")
        hand.store._db.execute(f"PRAGMA max_page_count={pages + 2}")
        with pytest.raises(apsw.FullError):
            hand.add(*(intake(text="x" * 4000) for _ in range(4000)))
        hand.store._db.execute("PRAGMA max_page_count=1000000")
        assert hand.submit().fresh
        assert replayed(hand.store) == {view.id: view.state for view in hand.parts()}

    def test_an_error_after_sqlite_rolled_back_by_itself_is_not_hidden(self, hand: Hand) -> None:
        """A failing disk may end the transaction from below: whoever asked is told why it failed."""

        def fail() -> None:
            with hand.store.transaction():
                hand.store._db.execute("ROLLBACK")
                raise KeyError("the real reason")

        with pytest.raises(KeyError, match="the real reason"):
            fail()
        assert hand.submit().fresh

    def test_the_index_says_no_to_a_second_part_on_its_way(self, hand: Hand) -> None:
        """Whatever the code above believes, the database refuses it."""
        tickets = hand.add(intake(text="a"), intake(text="b"))
        hand.begin(tickets[0].guest_ref)
        with pytest.raises(apsw.ConstraintError):
            hand.store._db.execute("UPDATE parts SET state = 'sending' WHERE id = ?", tickets[1].part_ids)

    def test_many_processes_may_open_a_new_store_at_once(self, folder: Folder) -> None:
        """Schema, log mode and keys are made once; nobody is turned away."""
        program = (
            "import sys; from pathlib import Path\n"
            "from guestwire.store.folder import Folder; from guestwire.store.sqlite import SqliteStore\n"
            "sys.stdin.readline(); SqliteStore(Folder(Path(sys.argv[1]))); print('opened')\n"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(folder.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(5)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate(timeout=60)[0] for process in processes] == ["opened\n"] * 5

    #: What the relay asks over and over, each with how many values it takes.
    HOT = (
        ("due", 3),
        ("next_due", 2),
        ("held", 2),
        ("entering", 1),
        ("next_entering", 0),
        ("taken", 2),
        ("part", 1),
        ("guest", 1),
        ("siblings", 2),
        ("part_ids", 1),
        ("find_guest", 2),
        ("find_by_key", 2),
        ("journal", 2),
        ("journal_of_part", 1),
        ("begin", 4),
        ("accept", 7),
        ("requeue", 6),
        ("suspect", 4),
        ("finish", 6),
        ("set_aside", 1),
        ("lane", 5),
        ("anchor", 3),
        ("waiting_receipts", 2),
        ("place_receipts", 3),
        ("reply_receipt", 1),
        ("wants_receipts", 1),
        ("received", 4),
    )

    @pytest.mark.parametrize(("name", "values"), HOT)
    def test_what_the_relay_asks_is_never_a_scan(self, hand: Hand, name: str, values: int) -> None:
        """With a million rows a scan would cost a second; the plan of each such statement is a search in an index."""
        rows = hand.store._db.execute("EXPLAIN QUERY PLAN " + statements()[name], (1,) * values)
        plan = [str(row[3]) for row in rows]
        assert plan
        for line in plan:
            assert line.startswith("SEARCH"), plan
            assert "TEMP B-TREE" not in line, plan

    def test_nothing_on_a_message_s_way_is_a_scan(self, hand: Hand) -> None:
        """Whichever statement is executed from intake to acceptance: what it looks for is in an index."""
        executed: dict[str, None] = {}

        def note(event: dict[str, Any]) -> None:
            executed[event["sql"]] = None

        database = hand.store._db
        database.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
        for number in range(2):
            tickets = hand.add(intake("anna", key=f"key{number}"), intake("ben", parts=2, expires_at=9e9))
            hand.store.lanes(hand.due())
            refs = tuple(ticket.guest_ref for ticket in tickets)
            begun = hand.step(begins=refs).begun
            hand.step(Requeue(begun[0].part_id, 1, hand.now, "throttled", spent=False), begins=refs[:1])
            hand.step(*(Confirm(sending.part_id, accepted(f"gateway-{sending.part_id}")) for sending in begun))
            hand.texts_in_lane_order(refs[1])
        database.trace_v2(0, None)
        assert len(executed) > 15
        for sql in executed:
            if sql.startswith(("BEGIN", "COMMIT")):
                continue
            info = apsw.ext.query_info(database, sql, explain_query_plan=True)
            plan = [] if info.query_plan is None else [step.detail for step in _steps(info.query_plan)]
            # A virtual table is the list that was handed in.
            scans = [line for line in plan if line.startswith("SCAN") and "VIRTUAL TABLE" not in line]
            assert scans == [], (sql, plan)
            assert not [line for line in plan if "TEMP B-TREE" in line], (sql, plan)

    def test_a_statement_is_not_parsed_for_each_lane(self, hand: Hand) -> None:
        """SQLite asks its authorizer about each column while it parses: not oftener for fifty lanes than for one."""
        asked = 0

        def allow(action: int, *_: Any) -> int:
            nonlocal asked
            asked += action == apsw.SQLITE_READ
            return apsw.SQLITE_OK

        lanes = tuple(ticket.guest_ref for ticket in hand.add(*(intake(f"guest-{number}") for number in range(51))))
        hand.store._db.authorizer = allow
        hand.begin(lanes[0])
        once, asked = asked, 0
        hand.step(begins=lanes[1:])
        assert asked <= once


def _steps(plan: apsw.ext.QueryPlan) -> Iterator[apsw.ext.QueryPlan]:
    """A plan and all that is in it."""
    yield plan
    for step in plan.sub or ():
        yield from _steps(step)


#: Of this store's own files: what is restored, what is over.
UPKEEP = {"doubt", "find_old", "forget", "late_readers", "pass_over"}


def test_the_protocol_of_stores_has_every_verb() -> None:
    """Whoever builds another store finds in one place what the relay, the client and people ask of it."""

    def verbs(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert verbs(SqliteStore) - UPKEEP == verbs(Store)


class SqliteMachine(StoreMachine):
    """Any interleaving of the verbs of this store."""

    kind: type[SqliteStore] = SqliteStore

    def __init__(self) -> None:
        self.place = tempfile.TemporaryDirectory()
        super().__init__()

    def open_store(self) -> SqliteStore:
        """Open it again, in a folder of this machine's own."""
        store = self.kind(Folder(Path(self.place.name) / "store"), min_free_disk_mb=0)
        # No machine loses its power here, and thousands of syncs would only take time.
        store._db.execute("PRAGMA synchronous=OFF").fetchall()
        return store

    def teardown(self) -> None:
        """Close and remove the store."""
        super().teardown()
        self.place.cleanup()


EXAMPLES = 2_000 if os.environ.get("GUESTWIRE_EXAMPLES") == "long" else 40

TestLanes = SqliteMachine.TestCase
TestLanes.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)


# --- what the machine sees ---


class ForgetsARow(SqliteStore):
    """A change of state without its journal row."""

    def _note(self, now: float, event: str, *what: Any) -> int:
        return 0 if event == "part.requeued" else super()._note(now, event, *what)


class OrdersByRowId(SqliteStore):
    """The head of a lane is what was stored first, and not what entered first."""

    def _row(self, name: str, values: Row) -> Row | None:
        if name == "head":
            return self._db.execute(statements()[name].replace("BY lane_seq", "BY seq"), values).fetchone()
        return super()._row(name, values)


class PassesErrands(SqliteStore):
    """A message goes before what was asked for earlier."""

    def _row(self, name: str, values: Row) -> Row | None:
        return None if name == "errand_before" else super()._row(name, values)


class WaitsForNoFile(SqliteStore):
    """A message goes before its file."""

    def _head(self, guest_ref: GuestRef, *, with_body: bool = False) -> Head | None:
        head = super()._head(guest_ref, with_body=with_body)
        return None if head is None else msgspec.structs.replace(head, blob=None)


class KnowsNoFence(SqliteStore):
    """A relay that was replaced has its say."""

    def step(self, step: Step, *, fence: int, now: float) -> StepResult:
        """As if it were the newest."""
        return super().step(step, fence=int(self._meta("boot")), now=now)


class HoldsNothingBack(SqliteStore):
    """A batch enters while it is being stored."""

    def add(self, intakes: Sequence[Intake], now: float, *, held_by: str | None = None) -> list[Ticket]:
        """As if nothing held it."""
        return super().add(intakes, now)


class TakesReceiptsAsTheyCome(SqliteStore):
    """The last receipt wins, and not the one that says most."""

    def _apply_receipt(self, guest_ref: GuestRef, part_id: PartId, receipt: Receipt, now: float) -> None:
        state = RECEIPT_STATES.get(receipt.status.lower())
        if state is not None:
            self._run("received", (state.value, now, None, part_id))
            self._note(now, f"part.{state.value}", guest_ref, part_id, {})


CARELESS = (
    ForgetsARow,
    OrdersByRowId,
    PassesErrands,
    WaitsForNoFile,
    KnowsNoFence,
    HoldsNothingBack,
    TakesReceiptsAsTheyCome,
)


#: Those that take the machine longest to find are left to the long form.
LONG = {PassesErrands, WaitsForNoFile, KnowsNoFence} if EXAMPLES == 40 else set[type[SqliteStore]]()


@pytest.mark.parametrize("careless", [kind for kind in CARELESS if kind not in LONG])
def test_the_machine_sees_what_a_careless_store_does(careless: type[SqliteStore]) -> None:
    """One mistake in one verb, and some interleaving shows it."""
    machine = type("CarelessMachine", (SqliteMachine,), {"kind": careless})
    # Found, and not made small; the same way each time.
    tried = settings(
        max_examples=200,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=tried)

"""Keys at rest: what is sealed opens for its guest at its place, and nowhere else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestwire.errors import StoreError
from guestwire.model import GuestRef
from guestwire.vault import Vault

ANNA, BEN = GuestRef("ganna"), GuestRef("gben")


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """A vault with keys for two guests."""
    made = Vault(tmp_path / "keys.db")
    made.add([ANNA, BEN])
    yield made
    made.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """One vault for many examples."""
    made = Vault(tmp_path_factory.mktemp("vault") / "keys.db")
    made.add([ANNA, BEN])
    yield made
    made.close()


@given(data=st.binary(max_size=2000), place=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(deadline=None)
def test_what_is_sealed_opens_again(lasting: Vault, data: bytes, place: str) -> None:
    """Any bytes, at any place; sealed twice it looks different each time, and never like what is inside."""
    sealed = lasting.seal(ANNA, place, data)
    assert lasting.open(ANNA, place, sealed) == data
    assert lasting.seal(ANNA, place, data) != sealed
    if len(data) >= 4:
        assert data not in sealed


@given(data=st.binary(min_size=1, max_size=100), at=st.integers(0), bit=st.integers(0, 7))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_bit_is_noticed(lasting: Vault, data: bytes, at: int, bit: int) -> None:
    """Wherever a sealed value is touched, it does not open any more."""
    sealed = bytearray(lasting.seal(ANNA, "here", data))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(StoreError, match="GW-S012"):
        lasting.open(ANNA, "here", bytes(sealed))


def test_it_opens_for_no_other_guest_and_at_no_other_place(vault: Vault) -> None:
    """A row that was copied to another guest or another column says so instead of showing something."""
    sealed = vault.seal(ANNA, "parts.body.1", b"hello")
    for guest, place in ((BEN, "parts.body.1"), (ANNA, "parts.body.2"), (ANNA, "")):
        with pytest.raises(StoreError, match="GW-S012"):
            vault.open(guest, place, sealed)


@pytest.mark.parametrize("size", range(0, 29, 4))
def test_what_was_cut_off_is_refused(vault: Vault, size: int) -> None:
    """Half a value, or none, is the same error as a changed one."""
    with pytest.raises(StoreError, match="GW-S012"):
        vault.open(ANNA, "here", vault.seal(ANNA, "here", b"hello")[:size])


def test_a_guest_without_a_key_is_told(vault: Vault) -> None:
    """Erased, or another keys.db: the error names the guest by our name for him, and the file."""
    with pytest.raises(StoreError, match="GW-S011") as caught:
        vault.open(GuestRef("gnobody"), "here", b"x" * 40)
    assert "gnobody" in caught.value.message


def test_keys_and_index_are_found_again(tmp_path: Path, vault: Vault) -> None:
    """A second process that opens the file reads what the first one sealed, and finds guests by the same index."""
    sealed = vault.seal(ANNA, "here", b"hello")
    index = vault.index("guest", "web", "42")
    other = Vault(tmp_path / "keys.db")
    assert other.open(ANNA, "here", sealed) == b"hello"
    assert other.index("guest", "web", "42") == index
    other.add([GuestRef("gnew")])
    assert vault.open(GuestRef("gnew"), "here", other.seal(GuestRef("gnew"), "here", b"later")) == b"later"
    other.close()


def test_the_index_means_nothing_without_the_keys(tmp_path: Path, vault: Vault) -> None:
    """Another vault has another index for the same words."""
    other = Vault(tmp_path / "other.db")
    assert other.index("guest", "web", "42") != vault.index("guest", "web", "42")
    other.close()


@given(one=st.lists(st.text(max_size=5), max_size=4), other=st.lists(st.text(max_size=5), max_size=4))
@settings(deadline=None)
def test_different_words_have_a_different_index(lasting: Vault, one: list[str], other: list[str]) -> None:
    """Also where the words together read the same: ("ab", "c") is not ("a", "bc")."""
    assert (lasting.index(*one) == lasting.index(*other)) == (one == other)


def test_a_key_in_the_wrong_encoding_is_only_not_found(vault: Vault) -> None:
    """Half a surrogate pair, as a command line may hand it in, has an index like any word."""
    assert vault.index("guest", "4\udcff2") != vault.index("guest", "42")


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Made with mode 0600 whatever the umask says."""
    before = os.umask(0)
    try:
        made = Vault(tmp_path / "keys.db")
        made.add([ANNA])
        made.close()
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_keys_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    """It does not repair the mode in silence: somebody may have read them."""
    path = tmp_path / "keys.db"
    Vault(path).close()
    path.chmod(mode)
    with pytest.raises(StoreError, match="GW-S010") as caught:
        Vault(path)
    assert "chmod 600" in caught.value.hint
    path.chmod(0o600)
    Vault(path).close()


def test_no_key_stands_open_in_a_repr(vault: Vault) -> None:
    """The file's name is all it says of itself."""
    assert repr(vault) == "<Vault keys.db>"


def test_keys_are_not_stored_open(tmp_path: Path, vault: Vault) -> None:
    """The words handed to the index, and what was sealed, are nowhere in the file."""
    vault.index("guest", "canary")
    vault.seal(ANNA, "here", b"canary")
    assert b"canary" not in (tmp_path / "keys.db").read_bytes()


def test_a_destroyed_key_is_overwritten(tmp_path: Path, vault: Vault) -> None:
    """Erasing a guest is destroying his key: SQLite is told to overwrite what it deletes, and to sync."""
    path = tmp_path / "keys.db"
    ((wrapped,),) = vault._db.execute("SELECT wrapped FROM guest_keys WHERE guest_ref = ?", (ANNA,)).fetchall()
    assert isinstance(wrapped, bytes)
    assert wrapped in path.read_bytes()
    vault._db.execute("DELETE FROM guest_keys WHERE guest_ref = ?", (ANNA,))
    assert wrapped not in path.read_bytes()
    assert vault._db.execute("PRAGMA synchronous").fetchall() == [(3,)]


def test_another_master_key_opens_nothing(tmp_path: Path, vault: Vault) -> None:
    """A guest's key that was wrapped by another master key is refused for sealing as for opening."""
    import apsw

    sealed = vault.seal(ANNA, "here", b"hello")
    with apsw.Connection(str(tmp_path / "keys.db")) as db:
        db.execute("UPDATE master SET key = ?", (bytes(32),))
    other = Vault(tmp_path / "keys.db")
    with pytest.raises(StoreError, match="GW-S012"):
        other.open(ANNA, "here", sealed)
    with pytest.raises(StoreError, match="GW-S012"):
        other.seal(ANNA, "here", b"hello")
    other.close()


def test_many_processes_may_open_a_new_vault_at_once(tmp_path: Path) -> None:
    """All get the same master key, and none is turned away."""
    program = (
        "import sys; from pathlib import Path; from guestwire.vault import Vault; sys.stdin.readline();"
        "print(Vault(Path(sys.argv[1])).index('x').hex())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "keys.db")],
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
    answers = {process.communicate(timeout=30)[0] for process in processes}
    assert len(answers) == 1
    assert len(answers.pop().strip()) == 32

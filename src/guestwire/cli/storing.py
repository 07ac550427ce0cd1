"""`guestwire store`: backups, and whether a store is what it should be."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from guestwire.cli import show
from guestwire.cli.common import AsJson, Place, Store, StoreOf, Yes, place, require_store
from guestwire.errors import ConfigError

if TYPE_CHECKING:
    from guestwire.store.checkup import Checked
    from guestwire.store.folder import Folder

store_app = typer.Typer(name="store", help="Keep the store: back it up, look at it, restore it.", rich_markup_mode=None)

#: Exit code when a check failed.
FAILED = 9

Keys = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="The keys.db that belongs to a backup without one.")
]


@store_app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The folder to make.")],
    to: StoreOf = None,
    store: Store = None,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="The keys too: whoever has the backup can read it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """
    Copy the store while others use it.

    Messages, journal, replies and files, as of one moment. The keys are no part
    of it: keep keys.db apart, a backup cannot be restored without it. Exit code 9
    if the store, and so the copy, is damaged.

    \b
    Examples:
      guestwire store backup /backup/guestwire-monday
      guestwire store backup ~/move --with-keys
    """
    from guestwire.store.backup import back_up

    where = place(to=to, store=store, needs_destination=False)
    folder = _folder(where)
    if with_keys and not _sure(
        "the keys open every message, every guest and every session token in this backup;"
        " keep it as you would keep a password",
        yes=yes,
    ):
        show.say("nothing was copied")
        return 2
    show.say(show.printable(f"copying '{folder.path}'"))
    manifest = back_up(folder, target, now=time.time(), with_keys=with_keys)
    made = target.expanduser().absolute()
    if manifest.missing:
        show.warn(f"{show.counted(len(manifest.missing), 'file')} of messages were gone already; see 'store check'")
    if manifest.damage is not None:
        show.warn(f"the store is damaged, and so is this copy: {manifest.damage}; see 'guestwire store check'")
    code = 0 if manifest.damage is None else FAILED
    if as_json:
        fields = {name: getattr(manifest, name) for name in manifest.__struct_fields__ if name != "files"}
        show.out(show.as_json({"path": str(made), **fields, "files": len(manifest.files), "with_keys": with_keys}))
        return code
    counts = ", ".join(f"{count:,} {name}" for name, count in manifest.counts.items() if count)
    show.out(show.printable(f"{made}: {counts or 'an empty store'}"))
    if not with_keys:
        show.say(show.printable(f"without its keys: keep a copy of '{folder.keys}' in another place"))
    return code


@store_app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(metavar="[BACKUP]", help="A backup; left out: the store itself.")
    ] = None,
    to: StoreOf = None,
    store: Store = None,
    keys: Keys = None,
    deep: Annotated[bool, typer.Option("--deep", help="Open every seal and read every file.")] = False,
    as_json: AsJson = False,
) -> int:
    """
    Look whether the store, or a backup, is sound.

    Beside whoever uses it; nothing is written. Exit code 9 if something is wrong.

    \b
    Examples:
      guestwire store check
      guestwire store check /backup/guestwire-monday --deep
    """
    from guestwire.store.checkup import check_backup, check_store

    if path is not None:
        found = check_backup(path.expanduser().absolute(), keys=keys, deep=deep)
    elif keys is not None:
        raise ConfigError(
            "--keys is for a backup, and none was named", code="GW-U001", hint="a store has its keys in its own folder"
        )
    else:
        where = place(to=to, store=store, needs_destination=False)
        folder = _folder(where)
        show.say(show.printable(f"looking at '{folder.path}'"))
        free = where.loaded.settings.store.min_free_disk_mb
        found = check_store(folder, min_free_disk_mb=free, deep=deep)
    return _tell(found, as_json=as_json)


@store_app.command()
def restore(
    path: Annotated[Path, typer.Argument(metavar="BACKUP", help="The folder of the backup.")],
    to: StoreOf = None,
    store: Store = None,
    keys: Keys = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put the store aside that is there; it is kept.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """
    Make a store of a backup.

    What had not ended when the backup was made may have been sent since: it is
    looked up before anything of it is sent.

    \b
    Examples:
      guestwire store restore /backup/guestwire-monday
      guestwire store restore /backup/guestwire-monday --replace
    """
    from guestwire.store.restore import restore

    where = place(to=to, store=store, needs_destination=False)
    warning = "if the store that this backup was made of still sends, on whatever machine, end that first"
    if replace and not _sure(f"{warning}; the one in '{where.folder}' is put aside", yes=yes):
        show.say("nothing was restored")
        return 2
    if not replace:
        show.warn(warning)
    done = restore(path, where.folder, now=time.time(), keys=keys, replace=replace)
    aside, found = done.aside and str(done.aside), done.doubted
    if as_json:
        told = {name: getattr(found, name) for name in found.__struct_fields__}
        show.out(show.as_json({"path": str(where.folder), "made_at": done.manifest.made_at, **told, "aside": aside}))
        return 0
    show.out(show.printable(f"restored into '{where.folder}': the store of {done.manifest.made_at}"))
    show.out(f"{found.checking:,} to be looked up, {found.parked:,} parked, {found.waiting:,} wait for their time")
    if found.errands:
        show.out(f"{found.errands:,} errands were dropped: they may have been done since")
    if found.erased:
        show.warn(
            f"{found.erased:,} guests have no key: they were erased since, or keys.db is older than the backup;"
            " nothing of them was restored"
        )
    if aside is not None:
        show.out(show.printable(f"what was there before: {aside}"))
    return 0


@store_app.command()
def migrate(to: StoreOf = None, store: Store = None, as_json: AsJson = False) -> int:
    """
    Bring the store to the schema of this guestwire.

    Nobody may send out of it meanwhile. A backup is made first, in its folder.

    \b
    Examples:
      guestwire store migrate
    """
    from guestwire.store.migration import migrate

    done = migrate(_folder(place(to=to, store=store, needs_destination=False)), now=time.time())
    if as_json:
        show.out(show.as_json({"before": done.before, "after": done.after, "backup": done.backup and str(done.backup)}))
    elif done.backup is None:
        show.out(f"schema {done.after}: nothing to do")
    else:
        show.out(show.printable(f"schema {done.after}; as it was, at schema {done.before}: {done.backup}"))
    return 0


@store_app.command()
def prune(
    to: StoreOf = None,
    store: Store = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """
    Let go of what is not kept any longer.

    The relay does so by itself, in quiet moments; this does it now.

    \b
    Examples:
      guestwire store prune --dry-run
      guestwire store prune
    """
    from guestwire.store.connection import explained
    from guestwire.store.retention import Terms, prune
    from guestwire.store.sqlite import SqliteStore

    where = place(to=to, store=store, needs_destination=False)
    now = time.time()
    terms = Terms.of(where.loaded.settings.store.retention, now)
    with explained(folder := _folder(where)):
        opened = SqliteStore(folder)
        try:
            counts = prune(opened, terms, now, dry_run=dry_run)
        finally:
            opened.close()
    if as_json:
        show.out(show.as_json(counts))
        return 0
    found = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    show.out(f"{'would let go of' if dry_run else 'let go of'}: {found or 'nothing'}")
    return 0


def _tell(found: Sequence[Checked], *, as_json: bool) -> int:
    for each in found:
        if as_json:
            show.out(show.as_json(each))
            continue
        show.out(show.printable(f"{each.status:<4}  {each.name}: {each.detail}"))
        if each.fix and each.status == "fail":
            show.out(show.printable(f"      fix: {each.fix}"))
    return FAILED if any(each.status == "fail" for each in found) else 0


def _folder(where: Place) -> Folder:
    """Return the folder of a store that exists."""
    from guestwire.store.folder import Folder

    require_store(where)
    return Folder(where.folder)


def _sure(warning: str, *, yes: bool) -> bool:
    """Say what may go wrong and ask, unless that was answered beforehand."""
    show.warn(warning)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on", code="GW-U002", hint="add --yes if you mean it")
    sys.stderr.write("go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")

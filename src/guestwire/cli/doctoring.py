"""`doctor`: the checks of `guestwire.doctor`, as people and scripts read them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from guestwire.cli import show
from guestwire.cli.common import run, settings
from guestwire.client import default_folder
from guestwire.doctor import Check, examine, examine_store
from guestwire.settings import Destination, Loaded, choose

#: Exit code when a check failed.
FAILED = 9
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def doctor(*, to: str | None, as_json: bool) -> int:
    """Look at the destination that is named, or at every one; emulators only where there is nothing else."""
    loaded = settings()
    defined = list(loaded.settings.destinations.values())
    live = [each for each in defined if not each.is_emulator]
    chosen = [choose(loaded.settings, to)] if to is not None or not defined else live or defined
    return run(lambda: _doctor(loaded, chosen, as_json=as_json))


async def _doctor(loaded: Loaded, chosen: Sequence[Destination], *, as_json: bool) -> int:
    names = ", ".join(f"'{each.name}'" for each in chosen)
    show.say(f"looking at {names}; nothing is sent to anybody")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_checks(loaded, destination)) for destination in chosen]
    found = [task.result() for task in tasks]
    stores = await _stores(loaded, chosen)
    for destination, checks in zip(chosen, found, strict=True):
        checks.append(stores[_folder(loaded, destination)])
        _show(destination.name, checks, as_json=as_json)
    everything = [check for checks in found for check in checks]
    counts = {status: sum(check.status == status for check in everything) for status in _STYLES}
    words = [f"{count} {status}" for status, count in counts.items() if count]
    show.say(f"{show.counted(len(everything), 'check')}: {', '.join(words)}")
    return FAILED if counts["fail"] else 0


async def _checks(loaded: Loaded, destination: Destination) -> list[Check]:
    return [check async for check in examine(destination, origins=loaded.origins)]


async def _stores(loaded: Loaded, chosen: Sequence[Destination]) -> dict[Path, Check]:
    """Look at each store once, however many destinations share it."""
    folders = list(dict.fromkeys(_folder(loaded, destination) for destination in chosen))
    origin = loaded.origins.get("store.path", "default")
    checks = [await examine_store(folder, loaded.settings.store, origin=origin) for folder in folders]
    return dict(zip(folders, checks, strict=True))


def _folder(loaded: Loaded, destination: Destination) -> Path:
    return default_folder(loaded.settings.store, loaded.origins, destination)


def _show(name: str, checks: Sequence[Check], *, as_json: bool) -> None:
    if as_json:
        for check in checks:
            fields = {field: getattr(check, field) for field in Check.__struct_fields__}
            show.out(show.as_json({"destination": name, **fields}))
    elif sys.stdout.isatty():
        _show_table(name, checks)
    else:
        for check in checks:
            show.out(show.printable(f"{name}  {check.status:<4}  {check.name}: {check.detail}"))
            if check.fix and check.status in ("warn", "fail"):
                show.out(show.printable(f"{name}        fix: {check.fix}"))


def _show_table(name: str, checks: Sequence[Check]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    sheet = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", title=name, title_justify="left")
    sheet.add_column("check", overflow="fold")
    sheet.add_column("", no_wrap=True)
    sheet.add_column("found", overflow="fold")
    for check in checks:
        style = _STYLES[check.status]
        found = escape(show.printable(check.detail))
        if check.fix and check.status in ("warn", "fail"):
            found += f"\n[bold]fix:[/bold] {escape(show.printable(check.fix))}"
        sheet.add_row(escape(show.printable(check.name)), f"[{style}]{check.status}[/{style}]", found)
    Console(no_color=not show.colours(), highlight=False).print(sheet)

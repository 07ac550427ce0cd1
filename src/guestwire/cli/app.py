"""The commands. Each is a few lines over `GuestWire`; what is more stands in a module of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from guestwire.cli import show
from guestwire.cli.common import (
    AsJson,
    DeploymentId,
    Gateway,
    Pacing,
    Place,
    Region,
    Store,
    StoreOf,
    To,
    Yes,
    attributes,
    moment_of,
    one_of,
    place,
    run,
    settings,
    usage,
)
from guestwire.errors import ConfigError

app = typer.Typer(
    name="guestwire",
    help="Transmit guest messages into Genesys Cloud: in order, without losing or doubling them.",
    epilog="No account? Try 'guestwire demo'. With an org: 'guestwire init', then 'guestwire send'.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
messages_app = typer.Typer(name="messages", help="Look at messages.", rich_markup_mode=None)
config_app = typer.Typer(name="config", help="Look at the settings.", rich_markup_mode=None)
app.add_typer(messages_app)
app.add_typer(config_app)


#: Typer carries click inside itself and exports only this one of its errors; the base is what they all are.
USAGE_ERROR: Any = typer.BadParameter.__base__


def call(arguments: list[str]) -> int:
    """Run the command that the arguments name; returns its exit code."""
    if not arguments or arguments in (["messages"], ["config"]):
        arguments = [*arguments, "--help"]
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="guestwire")
    except USAGE_ERROR as error:
        show.say(f"error: {error.format_message()} [GW-U001]")
        context = getattr(error, "ctx", None)
        show.say(f"  see '{context.command_path if context else 'guestwire'} --help'")
        return 2
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return result if isinstance(result, int) else 0


def _version(wanted: bool) -> None:
    if wanted:
        from guestwire.settings import VERSION

        show.out(f"guestwire {VERSION}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="The log of the inside, on stderr.")] = False,
) -> None:
    import logging

    # Without a handler Python would print the library's records, tracebacks among them, in the middle of our lines.
    logging.getLogger().addHandler(logging.NullHandler())
    if verbose:
        lines = logging.StreamHandler()
        lines.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logging.getLogger().addHandler(lines)
        logging.getLogger().setLevel(logging.INFO)
        logging.getLogger("picows").setLevel(logging.WARNING)


# --- sending ---


@app.command()
def send(
    text: Annotated[str | None, typer.Argument(metavar="TEXT|-", help="The text; - reads it from stdin.")] = None,
    guest: Annotated[str, typer.Option("--guest", "-g", metavar="KEY", help="The end user, by your own key.")] = "",
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    text_file: Annotated[Path | None, typer.Option("--text-file", metavar="FILE", help="Read the text there.")] = None,
    attr: Annotated[list[str] | None, typer.Option("--attr", metavar="NAME=VALUE", help="Custom attribute.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Idempotency key: same key, same message.")
    ] = None,
    not_before: Annotated[
        str | None, typer.Option("--not-before", metavar="TIME", help="ISO 8601 with offset.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="TIME", help="ISO 8601 with offset.")
    ] = None,
    wait: Annotated[str, typer.Option("--wait", metavar="accepted|reply|none", help="What to wait for.")] = "accepted",
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.", min=0)] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    store: Store = None,
    pace: Pacing = "on",
    as_json: AsJson = False,
) -> int:
    """
    Send one message.

    \b
    Examples:
      guestwire send --guest 42 "Where is my order?"
      echo "a long text" | guestwire send --guest 42 -
      guestwire send --gateway http://127.0.0.1:8700 --guest 42 hello --wait reply
    """
    from guestwire.cli import sending
    from guestwire.model import Draft, GuestKey

    one_of("--wait", wait, ("accepted", "reply", "none"))
    if not guest:
        raise usage("--guest is missing: whose message is it?", "such as --guest 42, by your own key")
    if not timeout <= 31_622_400:
        raise usage("--timeout is out of range", "write a number of seconds, up to a year")
    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store, pace=pace)
    draft = Draft(
        destination=_name(where),
        guest=GuestKey(guest),
        text=_text(text, text_file),
        attributes=attributes(attr or []),
        key=key,
        not_before=moment_of("--not-before", not_before),
        expires_at=moment_of("--expires-at", expires_at),
    )
    if draft.expires_at is not None and draft.expires_at <= time.time():
        raise usage("--expires-at lies in the past", "such a message would never be sent")
    return run(
        lambda: sending.send(where, draft, wait=wait, timeout_s=timeout, dry_run=dry_run, as_json=as_json),
        interrupted="interrupted: what is in flight gets its answer; Ctrl-C again stops at once",
    )


@app.command()
def batch(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON Lines; one message a row.")],
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    mapping: Annotated[
        str | None, typer.Option("--map", metavar="OURS=THEIRS,…", help="Columns of other names.")
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", metavar="NAME", help="Of the file; never guessed.")] = "utf-8",
    delimiter: Annotated[str | None, typer.Option("--delimiter", metavar=",|;|tab", help="Of a CSV.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Send the file once more, known rows too.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run ended; always done.")] = False,
    wait: Annotated[str, typer.Option("--wait", metavar="accepted|none", help="none: end once stored.")] = "accepted",
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Input and outcome.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read the file, and say when it would end.")] = False,
    yes: Yes = False,
    store: Store = None,
    pace: Pacing = "on",
    as_json: AsJson = False,
) -> int:
    """
    Send a file of messages.

    CSV with the columns guest and text, and if you like id, not_before and attr.*; or JSON Lines. The same file
    twice sends nothing twice, and an interrupted run goes on where it was.

    \b
    Examples:
      guestwire batch support_day.csv --to web
      guestwire batch export.csv --map guest=customer_no,text=body
      guestwire batch export.csv --encoding cp1252 --report outcome.csv
      guestwire batch support_day.csv --dry-run
    """
    from guestwire.cli import sending
    from guestwire.cli.batchfile import BatchFile

    del resume  # a first run and a later one are the same thing
    one_of("--wait", wait, ("accepted", "none"))
    if delimiter is not None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
        if delimiter not in (",", ";", "\t"):
            raise usage(f"--delimiter is '{delimiter[:10]}'", "write one of , ; or tab")
    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store, pace=pace)
    rows = BatchFile(file, _name(where), mapping=_mapping(mapping), encoding=encoding, delimiter=delimiter)
    options = sending.BatchOptions(again=again, wait=wait, report=report, dry_run=dry_run, yes=yes, as_json=as_json)
    return sending.batch(where, rows, options)


@app.command()
def up(
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    store: Store = None,
    pace: Pacing = "on",
) -> int:
    """
    Relay what is queued, until stopped.

    To the destination that is named, or to all of the settings but emulators. SIGTERM or Ctrl-C ends it within 10
    seconds; what is queued stays queued.

    \b
    Examples:
      guestwire up
      guestwire up --to web
      guestwire up --gateway http://127.0.0.1:8700
    """
    from guestwire.cli import watching

    where = place(
        to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store, pace=pace, every=True
    )
    return run(lambda: watching.up(where))


# --- looking ---


@app.command()
def status(
    to: StoreOf = None,
    store: Store = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again every second.")] = False,
    as_json: AsJson = False,
) -> int:
    """
    Say what is queued, and who relays.

    \b
    Examples:
      guestwire status
      guestwire status --watch
      guestwire status --json | jq .store.parts
    """
    from guestwire.cli import watching

    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: watching.status(where, watch=watch, as_json=as_json))


@app.command()
def tail(
    to: StoreOf = None,
    guest: Annotated[str | None, typer.Option("--guest", metavar="KEY", help="Only of this guest.")] = None,
    what: Annotated[str, typer.Option("--what", metavar="KIND", help="all, messages, replies or sessions.")] = "all",
    text: Annotated[bool, typer.Option("--text", help="Show the texts of replies.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    Show what happens, as it happens.

    \b
    Examples:
      guestwire tail
      guestwire tail --what replies --text
    """
    from guestwire.cli import watching

    one_of("--what", what, list(watching.KINDS))
    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: watching.tail(where, guest=guest, what=what, text=text, as_json=as_json))


@messages_app.command("list")
def messages_list(
    to: StoreOf = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Such as queued, checking, parked, dead.")
    ] = None,
    guest: Annotated[str | None, typer.Option("--guest", metavar="KEY", help="Only of this guest.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
    text: Annotated[bool, typer.Option("--text", help="Show texts and guests.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    List messages, the newest first.

    \b
    Examples:
      guestwire messages list --state dead
      guestwire messages list --guest 42 --text
    """
    from guestwire.cli import watching

    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: watching.messages(where, state=state, guest=guest, limit=limit, text=text, as_json=as_json))


@messages_app.command("show")
def messages_show(
    message: Annotated[str, typer.Argument(metavar="ID", help="Of a message or a part; its beginning will do.")],
    to: StoreOf = None,
    text: Annotated[bool, typer.Option("--text", help="Show the text and the guest.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    Show one message and its timeline.

    With exact times, and the evidence for each step.

    \b
    Examples:
      guestwire messages show 01a204fe
    """
    from guestwire.cli import watching

    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: watching.message(where, message, text=text, as_json=as_json))


# --- setting up ---


@app.command()
def init(
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="Region of the org.")] = None,
    deployment_id: Annotated[
        str | None, typer.Option("--deployment-id", metavar="UUID", help="Messenger deployment.")
    ] = None,
    gateway: Gateway = None,
    origin: Annotated[str | None, typer.Option("--origin", metavar="URL", help="Sent as the Origin header.")] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the destination.")] = "web",
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="Where to write it.")] = Path("guestwire.toml"),
) -> int:
    """
    Write a destination into guestwire.toml.

    Asks for what is not given, and looks whether the deployment is there.

    \b
    Examples:
      guestwire init
      guestwire init --gateway http://127.0.0.1:8700 --name emulator
      guestwire init --region eu-west-1 \\
        --deployment-id 3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50
    """
    from guestwire.cli import setup

    return setup.init(region=region, deployment_id=deployment_id, gateway=gateway, origin=origin, name=name, file=file)


@config_app.command("show")
def config_show(
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    as_json: AsJson = False,
) -> int:
    """
    Show every setting in force.

    \b
    Examples:
      guestwire config show --origin
    """
    from guestwire.cli import setup

    return setup.show_config(settings(), origin=origin, as_json=as_json)


@app.command()
def emulate(
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65_535, help="0: any free one.")] = 8700,
    deployment_id: Annotated[
        str | None, typer.Option("--deployment-id", metavar="UUID", help="Of the one deployment there.")
    ] = None,
    limits: Annotated[
        str, typer.Option("--limits", metavar="documented|off", help="Keep the gateway's limits.")
    ] = "documented",
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Same seed, same run.")] = None,
    script: Annotated[
        str | None, typer.Option("--script", metavar="FILE|echo|support", help="A bot that answers.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of docs/emulator.md.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """
    Run a local Genesys on 127.0.0.1.

    For everything that should not touch an org.

    \b
    Examples:
      guestwire emulate
      guestwire emulate --port 0 --seed 7 --script support
      guestwire emulate --set messages_per_second=2 --set auto_start=true
    """
    from guestwire.cli import setup

    given = {"deployment_id": deployment_id, "limits": limits, "seed": seed, "script": script, "port": port}
    return setup.emulate(given, set_ or [], as_json=as_json)


@app.command()
def demo(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Another file of messages.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Beside it: a client with the tutorial's retry.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the emulator up.")] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the emulator and its faults.")] = 7,
    as_json: AsJson = False,
) -> int:
    """
    Send a support desk's day to a local Genesys.

    It loses answers, throttles and drops connections; what agents see there is held against the file.

    \b
    Examples:
      guestwire demo
      guestwire demo --compare
    """
    from guestwire.cli.demo import demo as run_demo

    return run(lambda: run_demo(file, compare=compare, keep=keep, seed=seed, as_json=as_json))


# --- helpers ---

#: Most that is read as one text, in bytes.
_MAX_INPUT = 1_000_000


def _name(where: Place) -> str:
    assert where.destination is not None  # noqa: S101 - `place` found one, or raised
    return where.destination.name


def _text(text: str | None, text_file: Path | None) -> str:
    """The text from where it was given; flags end up in shell histories, files and pipes do not."""
    if (text is None) == (text_file is None):
        raise usage(
            "there is no text" if text is None else "there are two texts",
            "one of: an argument, - for stdin, --text-file FILE",
        )
    if text_file is not None:
        try:
            with text_file.open("rb") as file:
                data = file.read(_MAX_INPUT + 1)
        except OSError as error:
            raise ConfigError(
                f"'{text_file}' cannot be read: {error.strerror}", code="GW-C060", hint="check the path and its rights"
            ) from error
        source = f"'{text_file}'"
    elif text == "-":
        data, source = sys.stdin.buffer.read(_MAX_INPUT + 1), "stdin"
    else:
        return text or ""
    if len(data) > _MAX_INPUT:
        raise ConfigError(
            f"{source} holds more than {_MAX_INPUT:,} bytes",
            code="GW-C061",
            hint="the gateway takes 4,096 bytes a message; a file of many messages goes with 'guestwire batch'",
        )
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{source}, byte {error.start + 1}: not UTF-8", code="GW-C062", hint="convert it, such as with iconv"
        ) from None


def _mapping(text: str | None) -> dict[str, str]:
    from guestwire.cli.batchfile import COLUMNS

    mapping: dict[str, str] = {}
    for pair in (text or "").split(",") if text else []:
        ours, equals, theirs = (word.strip() for word in pair.partition("="))
        if not equals or not ours or not theirs:
            raise usage(f"--map '{pair[:60]}' is not OURS=THEIRS", "such as --map guest=customer_no,text=body")
        if not ours.startswith("attr."):
            one_of("--map", ours, COLUMNS)
        if ours in mapping or theirs in mapping.values():
            raise usage(f"--map names '{(ours if ours in mapping else theirs)[:60]}' twice", "map each column once")
        mapping[ours] = theirs
    return mapping

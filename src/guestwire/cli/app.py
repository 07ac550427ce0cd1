"""The commands. Each is a few lines over `GuestWire`; what is more stands in a module of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    is_url,
    moment_of,
    one_of,
    place,
    run,
    settings,
    since_of,
    usage,
)
from guestwire.cli.emulating import emulate_app
from guestwire.cli.policing import policy_app
from guestwire.cli.storing import store_app
from guestwire.errors import ConfigError

if TYPE_CHECKING:
    from guestwire.policy.interventions import Verb

app = typer.Typer(
    name="guestwire",
    help="Transmit guest messages into Genesys Cloud: in order, without losing or doubling them.",
    epilog="No account? Try 'guestwire demo'. With an org: 'guestwire init', then 'guestwire send'.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
messages_app = typer.Typer(name="messages", help="Look at messages, and decide about them.", rich_markup_mode=None)
guests_app = typer.Typer(name="guests", help="Look at guests, and do something for them.", rich_markup_mode=None)
config_app = typer.Typer(name="config", help="Look at the settings.", rich_markup_mode=None)
app.add_typer(messages_app)
app.add_typer(guests_app)
app.add_typer(config_app)
app.add_typer(policy_app)
app.add_typer(store_app)
app.add_typer(emulate_app)


#: Typer carries click inside itself and exports only this one of its errors; the base is what they all are.
USAGE_ERROR: Any = typer.BadParameter.__base__


def call(arguments: list[str]) -> int:
    """Run the command that the arguments name; returns its exit code."""
    if not arguments or arguments in (["messages"], ["guests"], ["config"], ["store"]):
        arguments = [*arguments, "--help"]
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="guestwire")
    except USAGE_ERROR as error:
        show.say(f"error: {error.format_message()} [GW-U001]", show.ERROR)
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
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="The log of the inside, on stderr: --log-level info.")
    ] = False,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="text|json", help="Of the log; json: all of stderr.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning, error or off.")
    ] = None,
) -> None:
    import logging

    from guestwire.cli import logs

    if log_format is not None:
        one_of("--log-format", log_format, ("text", "json"))
    if log_level is not None:
        one_of("--log-level", log_level, logs.LEVELS)
    # Without a handler Python would print the library's records, tracebacks among them, in the middle of our lines.
    logging.getLogger().addHandler(logging.NullHandler())
    logs.wish(log_format, log_level or ("info" if verbose else None))


# --- sending ---

Priority = Annotated[
    int, typer.Option("--priority", metavar="0-9", min=0, max=9, help="Between guests: 0 first, 9 last.")
]


@app.command()
def send(
    text: Annotated[str | None, typer.Argument(metavar="TEXT|-", help="The text; - reads it from stdin.")] = None,
    guest: Annotated[str, typer.Option("--guest", "-g", metavar="KEY", help="The end user, by your own key.")] = "",
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    text_file: Annotated[Path | None, typer.Option("--text-file", metavar="FILE", help="Read the text there.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH|URL", help="A file that goes with it; REST ways take its URL.")
    ] = None,
    quick_reply: Annotated[
        str | None, typer.Option("--quick-reply", metavar="LABEL[=PAYLOAD]", help="Answer with this quick reply.")
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option("--answer", metavar="N|LABEL|FIELD=VALUE", help="Answer the newest reply that offers something."),
    ] = None,
    attr: Annotated[list[str] | None, typer.Option("--attr", metavar="NAME=VALUE", help="Custom attribute.")] = None,
    conversation: Annotated[
        str | None, typer.Option("--conversation", metavar="ID", help="Where it belongs; tutorial contract alone.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="The text is HTML; tutorial contract alone.")] = False,
    read_receipt: Annotated[
        bool | None, typer.Option("--read-receipt/--no-read-receipt", help="Ask for, or send, receipts.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Idempotency key: same key, same message.")
    ] = None,
    not_before: Annotated[
        str | None, typer.Option("--not-before", metavar="TIME", help="ISO 8601 with offset.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="TIME", help="ISO 8601 with offset.")
    ] = None,
    priority: Priority = 5,
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
      guestwire send --guest 42 --file invoice.pdf "Is this right?"
      guestwire send --guest 42 --answer 2
    """
    from guestwire.cli import attaching, sending
    from guestwire.model import Draft, GuestKey, RemoteFile

    one_of("--wait", wait, ("accepted", "reply", "none"))
    if not guest:
        raise usage("--guest is missing: whose message is it?", "such as --guest 42, by your own key")
    if not timeout <= 31_622_400:
        raise usage("--timeout is out of range", "write a number of seconds, up to a year")
    if file in ("", "-"):
        raise usage("--file needs the path of a file", "its name goes with it, and stdin has none")
    if quick_reply is not None and (answer or not quick_reply):
        problem = "--quick-reply and --answer exclude each other" if answer else "--quick-reply is empty"
        raise usage(problem, "keep the one that is meant, with the label that was offered")
    needs_text = file is None and quick_reply is None and not answer
    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store, pace=pace)
    draft = Draft(
        destination=_name(where),
        guest=GuestKey(guest),
        text=_text(text, text_file) if needs_text or text is not None or text_file is not None else "",
        answer=None if quick_reply is None else attaching.quick_reply_of(quick_reply),
        attributes=attributes(attr or []),
        remote_files=(RemoteFile(url=file),) if is_url(file) else (),
        content_type="text/html" if html else "text/plain",
        conversation=conversation,
        read_receipt=read_receipt,
        key=key,
        not_before=moment_of("--not-before", not_before),
        expires_at=moment_of("--expires-at", expires_at),
        priority=priority,
    )
    if draft.expires_at is not None and draft.expires_at <= time.time():
        raise usage("--expires-at lies in the past", "such a message would never be sent")
    options = sending.SendOptions(
        file=None if file is None or is_url(file) else Path(file),
        answers=tuple(answer or ()),
        wait=wait,
        timeout_s=timeout,
        dry_run=dry_run,
        as_json=as_json,
    )
    return run(
        lambda: sending.send(where, draft, options),
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
    files_from: Annotated[
        Path | None, typer.Option("--allow-files-from", metavar="DIR", help="Rows may name files there too.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Send the file once more, known rows too.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run ended; always done.")] = False,
    priority: Priority = 5,
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

    CSV with the columns guest and text, and if you like file, quick_reply, id, not_before and attr.*; or JSON Lines.
    The same file twice sends nothing twice, and an interrupted run goes on where it was.

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
    rows = BatchFile(
        file,
        _name(where),
        mapping=_mapping(mapping),
        encoding=encoding,
        delimiter=delimiter,
        files_from=files_from,
        priority=priority,
    )
    options = sending.BatchOptions(again=again, wait=wait, report=report, dry_run=dry_run, yes=yes, as_json=as_json)
    return sending.batch(where, rows, options)


@app.command()
def chat(
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    guest: Annotated[
        str | None, typer.Option("--guest", "-g", metavar="KEY", help="Go on as this guest; else as a new one.")
    ] = None,
    attr: Annotated[
        list[str] | None, typer.Option("--attr", metavar="NAME=VALUE", help="Custom attribute of the first message.")
    ] = None,
    transcript: Annotated[
        Path | None, typer.Option("--transcript", metavar="FILE", help="Write the conversation there at the end.")
    ] = None,
    quiet_s: Annotated[
        float, typer.Option("--quiet-s", metavar="SECONDS", min=0, help="In a pipe: end after this silence.")
    ] = 2.0,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="In a pipe: wait no longer to be accepted.")
    ] = 30.0,
    store: Store = None,
    pace: Pacing = "on",
    as_json: AsJson = False,
) -> int:
    """
    Chat as a guest, in the terminal.

    Replies come while you type; what is on offer is chosen by its number; /help lists the commands. In a pipe each line
    is a message, and it ends when replies have stopped.

    \b
    Examples:
      guestwire chat --to web
      guestwire chat --gateway http://127.0.0.1:8700 --guest 42
      printf 'hello\norder\n' | guestwire chat --to web --json
    """
    from guestwire.cli.chat import ChatOptions
    from guestwire.cli.chat import chat as run_chat

    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store, pace=pace)
    options = ChatOptions(
        guest=guest,
        attributes=attributes(attr or []),
        transcript=transcript,
        quiet_s=quiet_s,
        timeout_s=timeout,
        as_json=as_json,
    )
    return run_chat(where, options)


@app.command()
def up(
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    store: Store = None,
    pace: Pacing = "on",
    webhook_port: Annotated[
        int | None,
        typer.Option("--webhook-port", metavar="PORT", min=0, max=65535, help="Receive a platform's webhook there."),
    ] = None,
    webhook_host: Annotated[
        str, typer.Option("--webhook-host", metavar="ADDRESS", help="Address to receive it on.")
    ] = "127.0.0.1",
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="ADDRESS:PORT", help="Answer /healthz and /readyz there, such as :9464."),
    ] = None,
    standby: Annotated[bool, typer.Option("--standby", help="Wait until no other process relays.")] = False,
) -> int:
    """
    Relay what is queued, until stopped.

    To the destination that is named, or to all of the settings but emulators. SIGTERM or Ctrl-C ends it within 10
    seconds; what is queued stays queued. SIGHUP reads limits and retries anew.

    \b
    Examples:
      guestwire up
      guestwire up --to web
      guestwire up --gateway http://127.0.0.1:8700
      guestwire up --to kiosk --webhook-port 8480
      guestwire --log-format json up --http 127.0.0.1:9464
      guestwire up --standby
    """
    from guestwire.cli import operating, watching

    ports = operating.Ports(webhook_host, webhook_port, None if http is None else operating.address_of(http))

    def read(deployment_id: str | None = deployment_id) -> Place:
        return place(
            to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store, pace=pace, every=True
        )

    where = read()
    # An emulator's id was asked for; it is not asked again while messages go there.
    known = where.destination.deployment_id if gateway is not None and where.destination is not None else deployment_id
    return run(lambda: watching.up(where, lambda: read(known), ports, standby=standby))


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
    what: Annotated[
        str,
        typer.Option("--what", metavar="KIND,…", help="messages, replies, receipts, sessions, errands or all."),
    ] = "all",
    text: Annotated[bool, typer.Option("--text", help="Show replies with --what all too.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    Show what happens, as it happens.

    Replies are shown with what they say where --what names them, or with --text.

    \b
    Examples:
      guestwire tail
      guestwire tail --what replies,errands --guest 42
    """
    from guestwire.cli import watching

    kinds = [kind.strip() for kind in what.split(",")]
    for kind in kinds:
        one_of("--what", kind, list(watching.KINDS))
    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: watching.tail(where, guest=guest, what=kinds, text=text or "replies" in kinds, as_json=as_json))


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


Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Of messages or parts; the beginning of one will do.")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="WHEN", help="Came to that then or later: 24h, or a time with offset.")
]
OnlyGuest = Annotated[str | None, typer.Option("--guest", metavar="KEY", help="Only of this guest.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the journal; nothing personal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]


def _decide(
    verb: Verb,
    ids: list[str] | None,
    *,
    state: str | None,
    since: str | None,
    guest: str | None,
    to: str | None,
    store: Path | None,
    why: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    from guestwire.cli import deciding

    choice = deciding.Choice(tuple(ids or ()), state, since_of(since, time.time()), guest, to)
    terms = deciding.Terms(why, dry_run, yes, as_json)
    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: deciding.decide(where, verb, choice, terms))


@messages_app.command("cancel")
def messages_cancel(
    ids: Ids = None,
    to: StoreOf = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="All that are queued, or all that are parked.")
    ] = None,
    since: Since = None,
    guest: OnlyGuest = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    End messages that have not left.

    What is on its way, or in check, stays, and is named.

    \b
    Examples:
      guestwire messages cancel 01a204fe --why "ordered twice"
      guestwire messages cancel --state queued --guest 42
    """
    return _decide(
        "cancel",
        ids,
        state=state,
        since=since,
        guest=guest,
        to=to,
        store=store,
        why=why,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )


@messages_app.command("release")
def messages_release(
    ids: Ids = None,
    to: StoreOf = None,
    state: Annotated[str | None, typer.Option("--state", metavar="STATE", help="parked: all that are.")] = None,
    since: Since = None,
    guest: OnlyGuest = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    Send messages that wait for a person.

    With their tries anew. One whose outcome is unknown may be seen twice.

    \b
    Examples:
      guestwire messages release 01a204fe --why "checked with the agent"
      guestwire messages release --state parked --since 24h --dry-run
    """
    return _decide(
        "release",
        ids,
        state=state,
        since=since,
        guest=guest,
        to=to,
        store=store,
        why=why,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )


@messages_app.command("retry")
def messages_retry(
    ids: Ids = None,
    to: StoreOf = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="All that are dead, or all that are expired.")
    ] = None,
    since: Since = None,
    guest: OnlyGuest = None,
    why: Why = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    Send given-up messages again, as new ones.

    The replay of an outage. Each goes to the end of its guest's lane, once, however often this is asked. --dry-run
    says how many may be seen twice.

    \b
    Examples:
      guestwire messages retry --state dead --since 24h --dry-run
      guestwire messages retry --state dead --since 2026-11-22T08:00:00+01:00
    """
    return _decide(
        "retry",
        ids,
        state=state,
        since=since,
        guest=guest,
        to=to,
        store=store,
        why=why,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )


@messages_app.command("export")
def messages_export(
    ids: Ids = None,
    to: StoreOf = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Only those in it, such as dead.")
    ] = None,
    since: Since = None,
    guest: OnlyGuest = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there, for you alone.")] = None,
    files: Annotated[Path | None, typer.Option("--files", metavar="DIR", help="Write their files there.")] = None,
    store: Store = None,
) -> int:
    """
    Write messages as rows that 'guestwire batch' takes.

    JSON Lines with guests and texts. The id of a row is that of its message, so that a file sent twice is sent once.

    \b
    Examples:
      guestwire messages export --state dead --since 24h --out dead.jsonl
      guestwire messages export --guest 42 | jq .text
    """
    from guestwire.cli import deciding, watching

    if state is not None:
        watching.state_of(state)
    choice = deciding.Choice(tuple(ids or ()), state, since_of(since, time.time()), guest, to)
    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: deciding.export(where, choice, out, files))


# --- guests ---

Guest = Annotated[str, typer.Argument(metavar="GUEST", help="By your own key.")]


@guests_app.command("list")
def guests_list(
    to: StoreOf = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="At most so many.")] = 50,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    List guests, the last active ones first.

    \b
    Examples:
      guestwire guests list
      guestwire guests list --to web --json | jq -r .guest
    """
    from guestwire.cli import guests

    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: guests.list_(where, to=to, limit=limit, as_json=as_json))


@guests_app.command("show")
def guests_show(
    guest: Guest,
    to: StoreOf = None,
    transcript: Annotated[bool, typer.Option("--transcript", help="With what was said both ways.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """
    Show a guest: session, messages, errands.

    \b
    Examples:
      guestwire guests show 42
      guestwire guests show 42 --transcript
    """
    from guestwire.cli import guests

    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: guests.show_guest(where, guest, to=to, transcript=transcript, as_json=as_json))


@guests_app.command("close")
def guests_close(
    guest: Guest,
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    store: Store = None,
) -> int:
    """
    End a guest's session.

    After what is queued for him; his next message begins anew.

    \b
    Examples:
      guestwire guests close 42 --to web
    """
    from guestwire.cli import guests

    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store)
    return run(lambda: guests.errand(where, guest, "close"), interrupted="interrupted: it stays queued")


@guests_app.command("clear")
def guests_clear(
    guest: Guest,
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    store: Store = None,
    yes: Yes = False,
) -> int:
    """
    Have the platform forget a conversation.

    For good, after what is queued for the guest. What is stored here stays.

    \b
    Examples:
      guestwire guests clear 42 --to web
    """
    from guestwire.cli import guests

    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store)
    if not guests.confirm_clear(where, guest, yes=yes):
        show.say("nothing was done")
        return 0
    return run(lambda: guests.errand(where, guest, "clear"), interrupted="interrupted: it stays queued")


@guests_app.command("follow")
def guests_follow(
    guest: Guest,
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    store: Store = None,
) -> int:
    """
    Keep a guest's session open, for replies.

    From now on, whatever happens, by whoever relays: see 'guestwire up'.

    \b
    Examples:
      guestwire guests follow 42 --to web
    """
    from guestwire.cli import guests

    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store)
    return run(lambda: guests.follow(where, guest, on=True))


@guests_app.command("unfollow")
def guests_unfollow(
    guest: Guest,
    to: To = None,
    gateway: Gateway = None,
    region: Region = None,
    deployment_id: DeploymentId = None,
    store: Store = None,
) -> int:
    """
    Let a guest's session close when it is idle.

    \b
    Examples:
      guestwire guests unfollow 42 --to web
    """
    from guestwire.cli import guests

    where = place(to=to, gateway=gateway, region=region, deployment_id=deployment_id, store=store)
    return run(lambda: guests.follow(where, guest, on=False))


@guests_app.command("resume")
def guests_resume(
    guest: Guest,
    to: StoreOf = None,
    why: Why = "",
    store: Store = None,
) -> int:
    """
    Let a guest's paused messages go on.

    They pause when the platform closed the guest's connection in favour of another one, and try again after five
    minutes by themselves.

    \b
    Examples:
      guestwire guests resume 42 --why "the other tab is closed"
    """
    from guestwire.cli import deciding

    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: deciding.resume(where, guest, to, why))


@guests_app.command("export")
def guests_export(
    guest: Guest,
    to: StoreOf = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there, for you alone.")] = None,
    files: Annotated[Path | None, typer.Option("--files", metavar="DIR", help="Write the guest's files there.")] = None,
    store: Store = None,
) -> int:
    """
    Write everything stored about a guest, as JSON.

    To answer a request for access: key, session, messages, replies, errands, journal, at every destination of the
    store.

    \b
    Examples:
      guestwire guests export 42 --out guest42.json --files guest42
      guestwire guests export 42 | jq '.records[].parts[].body.text'
    """
    from guestwire.cli import guests

    where = place(to=to, store=store, needs_destination=False)
    return run(lambda: guests.export(where, guest, to=to, out=out, files=files))


# --- setting up ---


@app.command()
def init(
    transport: Annotated[
        str | None,
        typer.Option("--transport", metavar="NAME", help="webmessaging, openmessaging or rest-contract."),
    ] = None,
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="Region of the org.")] = None,
    deployment_id: Annotated[
        str | None, typer.Option("--deployment-id", metavar="UUID", help="Messenger deployment.")
    ] = None,
    integration_id: Annotated[
        str | None, typer.Option("--integration-id", metavar="UUID", help="Open Messaging integration.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Of the gc tool: has the OAuth client.")
    ] = None,
    gateway: Gateway = None,
    origin: Annotated[str | None, typer.Option("--origin", metavar="URL", help="Sent as the Origin header.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the destination; else web, open or gate.")
    ] = None,
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="Where to write it.")] = Path("guestwire.toml"),
) -> int:
    """
    Write a destination into guestwire.toml.

    Asks for what is not given, and looks whether it is there. Secrets are neither asked for nor written: they stay in
    the environment or in a profile of the gc tool.

    \b
    Examples:
      guestwire init
      guestwire init --gateway http://127.0.0.1:8700 --name emulator
      guestwire init --region eu-west-1 \\
        --deployment-id 3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50
      guestwire init --region eu-west-1 --profile prod \\
        --integration-id b7f1c6d2-0c35-4c0e-8f0a-53a9d8e0a3f4
    """
    from guestwire.cli import setup

    wishes = setup.Wishes(
        transport=transport,
        region=region,
        deployment_id=deployment_id,
        integration_id=integration_id,
        profile=profile,
        gateway=gateway,
        origin=origin,
        name=name,
    )
    return setup.init(wishes, file)


@app.command()
def doctor(to: To = None, as_json: AsJson = False) -> int:
    """
    Look whether destinations would work.

    Names, TLS, clock, credentials, permissions, ids, limits, store. Nothing is sent to anybody. Exit code 9 if a check
    failed.

    \b
    Examples:
      guestwire doctor
      guestwire doctor --to kiosk
      guestwire doctor --json | jq 'select(.status == "fail")'
    """
    from guestwire.cli import doctoring

    return doctoring.doctor(to=to, as_json=as_json)


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
def demo(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Another file of messages.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Beside it: a client with the tutorial's retry.")] = False,
    chaos: Annotated[bool, typer.Option("--chaos", help="Kill its own relay again and again.")] = False,
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
      guestwire demo --chaos
    """
    from guestwire.cli.demo import demo as run_demo

    return run(lambda: run_demo(file, compare=compare, chaos=chaos, keep=keep, seed=seed, as_json=as_json))


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
            "one of: an argument, - for stdin, --text-file FILE; or send a --file, a --quick-reply, an --answer",
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

"""`emulate`, and what talks to a running one: `say`, `trigger`, `fault`, `clock`, `reset`."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from guestwire.cli import show
from guestwire.cli.common import AsJson, run, usage
from guestwire.cli.farside import Far, ask, find, findable, whom
from guestwire.errors import ConfigError

if TYPE_CHECKING:
    from guestwire.emulator.app import Emulator

emulate_app = typer.Typer(name="emulate", rich_markup_mode=None, subcommand_metavar="[COMMAND]")

Where = Annotated[
    str | None,
    typer.Option("--gateway", metavar="URL", help="The emulator; default: the one started last on this machine."),
]
Conversation = Annotated[
    str | None,
    typer.Option("--conversation", metavar="ID", help="To whom; its beginning will do. Default: the latest."),
]
GuestToken = Annotated[
    str | None, typer.Option("--guest-token", metavar="TOKEN", help="To whom, by the token of a session.")
]
Guest = Annotated[
    str | None, typer.Option("--guest", metavar="ID", help="To whom, by your own key of a guest over REST.")
]
Parameters = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter of it; --list shows them.")
]


# --- starting one ---


@emulate_app.callback(invoke_without_command=True)
def emulate(
    ctx: typer.Context,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65_535, help="0: any free one.")] = 8700,
    deployment_id: Annotated[
        str | None, typer.Option("--deployment-id", metavar="UUID", help="Of the one deployment there.")
    ] = None,
    limits: Annotated[
        str, typer.Option("--limits", metavar="documented|off", help="Keep the gateway's limits.")
    ] = "documented",
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Same seed, same run.")] = None,
    script: Annotated[
        str | None, typer.Option("--script", metavar="FILE|NAME", help="A bot: a file, or echo, showcase, support.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of docs/emulator.md.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """
    Run a local Genesys on 127.0.0.1, or talk to one.

    For everything that should not touch an org. Without a command it runs until Ctrl-C, with a page to watch
    conversations, answer them and let things go wrong; the commands do the same from another terminal.

    \b
    Examples:
      guestwire emulate
      guestwire emulate --port 0 --seed 7 --script support
      guestwire emulate --set messages_per_second=2 --set auto_start=true
      guestwire emulate say "How can I help?"
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options_before(ctx)
        return 0
    given = {"deployment_id": deployment_id, "limits": limits, "seed": seed, "script": script, "port": port}
    return _start(given, set_ or [], as_json=as_json)


def _refuse_options_before(ctx: typer.Context) -> None:
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise usage(
                f"{parameter.opts[0]} before '{ctx.invoked_subcommand}' is about starting an emulator",
                f"write options behind '{ctx.invoked_subcommand}'; the emulator that runs keeps its settings",
            )


def _start(given: dict[str, Any], overrides: list[str], *, as_json: bool) -> int:
    """Run an emulator until Ctrl-C."""
    from guestwire.emulator.app import serve
    from guestwire.emulator.settings import EmulatorSettings
    from guestwire.settings.values import UUID

    deployment_id = given.get("deployment_id")
    if deployment_id is not None and not UUID.fullmatch(deployment_id.lower()):
        raise ConfigError(
            f"--deployment-id '{deployment_id[:60]}' is not a UUID",
            code="GW-C008",
            hint="leave it out, or give one such as 3f0c9a4e-5b1d-4c8a-9e27-6d2f8b7a1c50",
        )
    settings = EmulatorSettings.with_overrides(
        [*(f"{name}={value}" for name, value in given.items() if value is not None), *overrides]
    )
    with contextlib.ExitStack() as until_the_end:

        def ready(emulator: Emulator) -> None:
            far = Far(emulator.url, emulator.deployment_id, emulator.ca_file)
            try:
                until_the_end.enter_context(findable(far))
            except OSError as error:
                show.warn(f"'guestwire emulate say' will need --gateway: {error.strerror}")
            # Last: whoever reads the address may use the others at once.
            _tell_where(far, emulator, as_json=as_json)

        with contextlib.suppress(KeyboardInterrupt):
            run(lambda: serve(settings, ready))
    return 0


def _tell_where(far: Far, emulator: Emulator, *, as_json: bool) -> None:
    if as_json:
        # Its own client and its own secrets: they open this emulator, and nothing else.
        names = ("organization_id", "integration_id", "client_id", "client_secret", "webhook_secret")
        show.out(show.as_json({**msgspec.to_builtins(far), **{name: getattr(emulator, name) for name in names}}))
        return
    trusted_by = "" if far.ca_file is None else f"  CA file {far.ca_file}"
    show.out(f"{far.url}  deployment {far.deployment_id}{trusted_by}")
    show.say(f"  guestwire send --gateway {far.url} --guest 42 hello")
    show.say(f"  {far.url}/_emulator/  shows conversations and answers them")
    show.say(f"  Open Messaging: integration {emulator.integration_id}, OAuth client {emulator.client_id};")
    show.say(f"  {far.url}/_emulator/state  has its secrets too")


# --- talking to one ---


def _pairs(flag: str, pairs: list[str] | None, example: str) -> dict[str, Any]:
    """``name=value`` pairs; a value that reads as a number, true, false or null is one."""
    found: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise usage(f"a {flag} is not NAME=VALUE", f"such as {flag} {example}")
        found[name] = msgspec.json.decode(value) if re.fullmatch(r"true|false|null|-?\d+(\.\d+)?", value) else value
    return found


@emulate_app.command()
def say(
    text: Annotated[str | None, typer.Argument(metavar="[TEXT|-]", help="The text; - reads it from stdin.")] = None,
    conversation: Conversation = None,
    guest_token: GuestToken = None,
    guest: Guest = None,
    nickname: Annotated[str | None, typer.Option("--nickname", metavar="NAME", help="Who says it.")] = None,
    quick_reply: Annotated[
        list[str] | None, typer.Option("--quick-reply", metavar="LABEL", help="An answer to choose; may be repeated.")
    ] = None,
    card: Annotated[str | None, typer.Option("--card", metavar="TITLE", help="With a card.")] = None,
    card_text: Annotated[str | None, typer.Option("--card-text", metavar="TEXT", help="What the card says.")] = None,
    card_button: Annotated[
        list[str] | None,
        typer.Option("--card-button", metavar="LABEL[=TO]", help="TO: a payload, or an address to open; repeatable."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="With this file.")] = None,
    gateway: Where = None,
    as_json: AsJson = False,
) -> int:
    """
    Say something to a guest, as the agent.

    \b
    Examples:
      guestwire emulate say "How can I help?" --nickname Ann
      guestwire emulate say "Shall we?" --quick-reply Yes --quick-reply No
      guestwire emulate say --card "Your lamp" --card-button "Send it again"
      guestwire emulate say "Here it is" --file invoice.pdf
      guestwire emulate say "Hello, Ada" --guest 42
    """
    order: dict[str, Any] = {"text": sys.stdin.read().rstrip("\r\n") if text == "-" else text, "nickname": nickname}
    order["content"] = [*_card(card, card_text, card_button or []), *map(_quick_reply, quick_reply or ())] or None
    order = {key: value for key, value in order.items() if value}
    if not order.keys() - {"nickname"} and file is None:
        raise usage("there is nothing to say", "give a text, --quick-reply, --card or --file")
    far = find(gateway)
    if file is not None:
        order["attachment"] = _attachment(file, 1000 * ask(far, "GET", "state")["settings"]["max_file_kb"])
    order |= whom(far, conversation=conversation, guest_token=guest_token, guest=guest)
    said = ask(far, "POST", "agent", order)
    show.out(show.as_json(said) if as_json else f"{said['id']}  conversation {said['conversation_id']}")
    return 0


def _quick_reply(label: str) -> dict[str, Any]:
    return {"contentType": "QuickReply", "quickReply": {"text": label, "payload": label, "action": "Message"}}


def _card(title: str | None, text: str | None, buttons: list[str]) -> list[dict[str, Any]]:
    if title is None:
        if text is not None or buttons:
            raise usage("--card-text and --card-button are parts of a card", "add --card TITLE")
        return []
    actions = []
    for button in buttons:
        label, _, to = button.partition("=")
        is_link = to.startswith(("http://", "https://"))
        does = {"type": "Link", "url": to} if is_link else {"type": "Postback", "payload": to or label}
        actions.append({"text": label, **does})
    described = {} if text is None else {"description": text}
    return [{"contentType": "Card", "card": {"title": title, **described, "actions": actions}}]


def _attachment(path: Path, max_bytes: int) -> dict[str, str]:
    import base64
    import mimetypes

    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(
            f"'{path}' cannot be read: {error.strerror}", code="GW-C060", hint="check the path and its rights"
        ) from error
    if len(content) > max_bytes:
        raise ConfigError(
            f"'{path}' holds more than {max_bytes:,} bytes",
            code="GW-C061",
            hint="take a smaller file, or start the emulator with a larger max_file_kb",
        )
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"name": path.name, "type": kind, "base64": base64.b64encode(content).decode()}


@emulate_app.command()
def trigger(
    what: Annotated[str | None, typer.Argument(metavar="[WHAT]", help="What happens; --list shows the names.")] = None,
    conversation: Conversation = None,
    guest_token: GuestToken = None,
    guest: Guest = None,
    parameters: Parameters = None,
    as_list: Annotated[bool, typer.Option("--list", help="Show what there is.")] = False,
    gateway: Where = None,
    as_json: AsJson = False,
) -> int:
    """
    Let something happen to a guest at once.

    \b
    Examples:
      guestwire emulate trigger read_only
      guestwire emulate trigger close --set code=1012
      guestwire emulate trigger --list
    """
    far = find(gateway)
    if as_list:
        found = ask(far, "GET", "trigger")
        if as_json:
            show.out(show.as_json(found))
        else:
            _show_kinds(found["kinds"])
        return 0
    if what is None:
        raise usage("nothing is named that could happen", "such as read_only; '--list' shows what there is")
    order = {**_pairs("--set", parameters, "delay_ms=500"), "what": what}
    order |= whom(far, conversation=conversation, guest_token=guest_token, guest=guest)
    done = ask(far, "POST", "trigger", order)
    show.out(show.as_json(done) if as_json else f"{done['what']}  guest {done['token_sha256'][:6]}")
    return 0


def _show_kinds(kinds: dict[str, Any]) -> None:
    def default(value: Any) -> str:
        return "as set" if value is None else show.as_json(value)

    show.table(
        ("name", "what happens", "parameters"),
        [
            (name, kind["does"], ", ".join(f"{each}={default(value)}" for each, value in kind["parameters"].items()))
            for name, kind in kinds.items()
        ],
    )


@emulate_app.command()
def fault(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND|ID]", help="What goes wrong; with --clear the id of one.")
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option("--match", metavar="NAME=VALUE", help="When: text, nth, action, path, token_sha256, tracing_id."),
    ] = None,
    times: Annotated[
        int | None, typer.Option("--times", metavar="N", min=0, help="How often (1); 0: without end.")
    ] = None,
    probability: Annotated[
        float | None, typer.Option("--probability", metavar="P", min=0, max=1, help="By chance, from 0 to 1.")
    ] = None,
    parameters: Parameters = None,
    as_list: Annotated[bool, typer.Option("--list", help="Show the kinds, and what is set up.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the one with this ID, or all.")] = False,
    gateway: Where = None,
    as_json: AsJson = False,
) -> int:
    """
    Let something go wrong, at the next occasion.

    \b
    Examples:
      guestwire emulate fault lose_echo
      guestwire emulate fault drop_after_accept --match text="order 17"
      guestwire emulate fault throttle --times 3 --set retry_after_s=2
      guestwire emulate fault --list
      guestwire emulate fault --clear f1
    """
    if as_list and clear:
        raise usage("--list and --clear exclude each other", "keep one")
    far = find(gateway)
    if as_list:
        _list_faults(ask(far, "GET", "faults"), as_json=as_json)
        return 0
    if clear:
        from urllib.parse import quote

        cleared = ask(far, "DELETE", "faults" if kind is None else f"faults/{quote(kind, safe='')}")
        show.out(show.as_json(cleared) if as_json else f"{show.counted(cleared['cleared'], 'fault')} removed")
        return 0
    if kind is None:
        raise usage("no kind of fault is named", "such as lose_echo; '--list' shows what there is")
    order: dict[str, Any] = {**_pairs("--set", parameters, "delay_ms=500"), "kind": kind}
    if match:
        texts = {
            key: value if key == "nth" else str(value) for key, value in _pairs("--match", match, "text=order").items()
        }
        order["match"] = texts
    if times is not None:
        order["times"] = times or None
    if probability is not None:
        order["probability"] = probability
    made = ask(far, "POST", "faults", order)
    show.out(show.as_json(made) if as_json else f"{made['ids'][0]} {kind}")
    return 0


def _list_faults(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show.out(show.as_json(found))
        return
    _show_kinds(found["kinds"])
    show.out()
    if not found["faults"]:
        show.say("no fault is set up")
        return
    show.table(
        ("id", "kind", "match", "times", "seen", "fired"),
        [
            (
                each["id"],
                each["kind"],
                ", ".join(f"{name}={value}" for name, value in each["match"].items()),
                "without end" if each["times"] is None else str(each["times"]),
                str(each["seen"]),
                str(each["fired"]),
            )
            for each in found["faults"]
        ],
    )


_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


@emulate_app.command()
def clock(
    by: Annotated[str, typer.Argument(metavar="+TIME", help="How far: +90s, +5min, +2h, +3d.")],
    gateway: Where = None,
    as_json: AsJson = False,
) -> int:
    """
    Let time pass at once.

    Expiry, limits, keys, lag and delays follow.

    \b
    Examples:
      guestwire emulate clock +90s
      guestwire emulate clock +73h
    """
    read = re.fullmatch(r"\+?(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)", by.strip())
    if read is None:
        raise usage(f"'{by[:60]}' says not how far", "a number and a unit, such as +90s, +5min, +2h or +3d")
    found = ask(find(gateway), "POST", "clock", {"advance_s": float(read[1]) * _UNITS[read[2]]})
    show.out(show.as_json(found) if as_json else show.local(found["now"]))
    return 0


@emulate_app.command()
def reset(gateway: Where = None, as_json: AsJson = False) -> int:
    """
    Forget everything but the settings.

    Closes every connection; the same run can begin again.

    \b
    Examples:
      guestwire emulate reset
    """
    far = find(gateway)
    found = ask(far, "POST", "reset")
    show.out(show.as_json(found) if as_json else f"{far.url}  deployment {found['deployment_id']}")
    return 0

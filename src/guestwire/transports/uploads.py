"""
Files on their way to the platform: asked for, put, and there only when the platform says so.

    asking  --address-->  putting  --HTTP 2xx-->  stored  --UploadSuccessEvent-->  there
       '------ error ------' '------ error -------' '--- UploadFailureEvent ---> failed

A file that is *asking* when its connection is lost is asked for again on the next one. One that is *putting* goes on:
the storage is another host. One that is *stored* may have been reported to the connection that is gone; on the next one
`getAttachment` tells whether it is there. Whatever fails is tried again by the relay, with a new id, and no message is
on its way meanwhile: an upload can fail, and never makes an outcome unknown.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import msgspec

from guestwire.clock import Clock
from guestwire.model import Failed, Outcome, Refused
from guestwire.net import Forbidden, Http, Unreachable
from guestwire.policy.rules import check_file
from guestwire.protocol.events import DownloadGranted, FileDone, UploadGranted
from guestwire.protocol.reading import DeploymentConfig
from guestwire.transports.agenda import Agenda
from guestwire.transports.base import Emit, Noted, Upload, Uploaded
from guestwire.transports.line import Line

#: Quarters are told of files from this size, in bytes; smaller ones are there before anybody reads it.
TOLD_FROM_BYTES = 1_000_000


class ActiveUpload(msgspec.Struct):
    """A file on its way."""

    upload: Upload
    file_id: str
    stage: Literal["asking", "putting", "stored"] = "asking"
    told: int = 0
    """Quarters of progress that the journal has."""


class Uploads:
    """
    Brings files to the platform.

    Args:
        http: Guarded: the addresses come from the far side.
        clock: The time.
        agenda: The transport's timer.
        emit: Takes what is learned.
        spawn: Runs the PUT beside everything else.
        patience_s: For a whole upload.
    """

    def __init__(
        self,
        http: Http,
        *,
        clock: Clock,
        agenda: Agenda,
        emit: Emit,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        patience_s: float,
    ) -> None:
        self._http = http
        self._clock = clock
        self._agenda = agenda
        self._emit = emit
        self._spawn = spawn
        self._patience_s = patience_s

    async def close(self) -> None:
        """Close the connections to the storage."""
        await self._http.close()

    def begin(self, line: Line, upload: Upload, config: DeploymentConfig) -> None:
        """Start an upload on a configured session, unless the session does not take the file."""
        refusal = refusal_of(upload, line, config)
        active = ActiveUpload(upload, str(uuid.uuid4()))
        line.upload = active
        if refusal is not None:
            self._end(line, refusal)
            return
        self._emit(Noted("upload.started", line.guest, {"size": upload.file.size}, upload.part_id))
        file_id = active.file_id  # alone: a timer must not keep the file in memory
        self._agenda.at(self._clock.now() + self._patience_s, lambda: self._too_late(line, file_id))
        self._ask(line, active)

    def reconnected(self, line: Line, *, same_session: bool) -> None:
        """The line has a configured session again: go on with what was under way."""
        active = line.upload
        if active is None:
            return
        if not same_session:
            self._end(line, Failed("the session was replaced while the file was on its way"))
        elif active.stage == "asking":
            self._ask(line, active)
        elif active.stage == "stored":
            line.session.request_download(active.file_id, self._clock.now())

    def granted(self, line: Line, event: UploadGranted) -> None:
        """The platform said where the file may be put."""
        active = line.upload
        if active is None or active.file_id != event.file_id or active.stage != "asking":
            return
        active.stage = "putting"
        self._spawn(self._put(line, active, event))

    def found(self, line: Line, event: DownloadGranted) -> bool:
        """What can be fetched has arrived. Returns whether this was about an upload."""
        return self._done(line, event.file_id, None)

    def done(self, line: Line, event: FileDone) -> bool:
        """The platform has the file, or does not want it. Returns whether this was about an upload."""
        active = line.upload
        if active is not None and active.stage == "stored" and getattr(event.outcome, "code", None) in (4009, 4010):
            # The answer to our question after a reconnect: not yet. The event may still come; if not, patience ends.
            return active.file_id == event.file_id
        return self._done(line, event.file_id, event.outcome)

    def _done(self, line: Line, file_id: str, outcome: Outcome | None) -> bool:
        if line.upload is None or line.upload.file_id != file_id:
            return False
        self._end(line, outcome)
        return True

    def _ask(self, line: Line, active: ActiveUpload) -> None:
        file = active.upload.file
        line.session.request_upload(active.file_id, file.name, file.type, file.size, self._clock.now())

    async def _put(self, line: Line, active: ActiveUpload, event: UploadGranted) -> None:
        upload = active.upload
        # A Content-Type other than the declared one, or a header left out, and the storage refuses the signature.
        headers = {**event.headers, "Content-Type": upload.file.type}
        outcome: Outcome | None = None
        try:
            answer = await self._http.put(
                event.url, headers, upload.content, on_progress=lambda sent: self._progress(line, active, sent)
            )
        except Forbidden as error:
            outcome = Refused(0, f"the file would have to go where nothing may be sent: {error}")
        except Unreachable as error:
            outcome = Failed(f"the storage cannot be reached: {error}")
        else:
            if not 200 <= answer.status < 300:
                outcome = Failed(f"the storage answered HTTP {answer.status}", answer.status)
        if line.upload is not active:
            return  # ended meanwhile
        if outcome is not None:
            self._end(line, outcome)
            return
        active.stage = "stored"
        self._emit(Noted("upload.stored", line.guest, {}, upload.part_id))

    def _progress(self, line: Line, active: ActiveUpload, sent: int) -> None:
        size = active.upload.file.size
        quarter = 4 * sent // size
        if size >= TOLD_FROM_BYTES and active.told < quarter < 4:
            active.told = quarter
            detail = {"sent": sent, "size": size}
            self._emit(Noted("upload.progress", line.guest, detail, active.upload.part_id))

    def give_up(self, line: Line, reason: str) -> None:
        """The session is not ours any more: whatever is under way comes to nothing."""
        self._end(line, Failed(reason))

    def _too_late(self, line: Line, file_id: str) -> None:
        if line.upload is not None and line.upload.file_id == file_id:
            self._end(line, Failed(f"no word for {self._patience_s:.0f} s that the file has arrived"))

    def _end(self, line: Line, outcome: Outcome | None) -> None:
        active, line.upload = line.upload, None
        if active is not None:
            self._emit(Uploaded(line.guest, active.upload.part_id, active.file_id, outcome))


def refusal_of(upload: Upload, line: Line, config: DeploymentConfig) -> Refused | None:
    """Say why this session does not take a file, as far as it, or else the deployment, has told."""
    if config.attachments is False:
        return Refused(4000, "4000: attachments are switched off for this deployment")
    media = line.media
    # The vendor's rule: what the session says counts where the deployment speaks of attachments at all.
    types = media.types if config.attachments or media.types is not None else config.file_types or None
    max_kb = media.max_file_kb if config.attachments or media.max_file_kb is not None else config.max_file_kb
    kind = upload.file.type.lower()
    if types is not None and not any(_admits(one, kind) for one in types):
        return Refused(4001, f"4001: files of type {kind} are not taken here")
    found = check_file(
        upload.file.name,
        upload.file.size,
        max_kb=float("inf") if max_kb is None else max_kb,
        blocked=media.blocked_extensions,
    )
    return next((Refused(code := _CODES[finding.rule], f"{code}: {finding.text}") for finding in found), None)


#: The codes that the gateway has for what our rules find.
_CODES = {"file.too_large": 4002, "file.blocked": 4001, "file.no_extension": 4004, "file.empty": 4102}


def _admits(allowed: str, kind: str) -> bool:
    return allowed in ("*/*", kind) or (allowed.endswith("/*") and kind.startswith(allowed[:-1]))

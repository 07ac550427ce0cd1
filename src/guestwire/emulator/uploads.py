"""The life of an uploaded file: URL asked for, PUT, checked, sent with a message, downloaded."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import pathlib
from collections.abc import Callable

import msgspec

from guestwire.emulator.ids import Draws
from guestwire.emulator.records import AgentError, File, Problem, SessionKey, Tally
from guestwire.emulator.settings import EmulatorSettings
from guestwire.protocol.frames import Attachment, OnAttachment

#: What a file of a given size is made of.
_FILLER = b"guestwire emulator. "
#: Download URLs of one file that are valid at the same time; the oldest ends first.
_MAX_DOWNLOADS = 100


class Handout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file that an agent sends: its `text`, its bytes as `base64`, or only a `size` in bytes."""

    name: str
    type: str = "application/octet-stream"
    text: str | None = None
    base64: str | None = None
    size: int | None = None

    def content(self, most: int) -> bytes:
        """
        Make its bytes.

        Raises:
            ValueError: It cannot be; the text says why. More than `most` bytes cannot be.
        """
        if sum(each is not None for each in (self.text, self.base64, self.size)) != 1:
            raise ValueError("a file has exactly one of text, base64, size")
        if not self.name or not self.name.isprintable() or "/" in self.name:
            raise ValueError("a file has a name, without '/'")
        if self.size is not None and not 0 <= self.size <= most:
            raise ValueError(f"size must be from 0 to {most} bytes: max_file_kb")
        if self.size is not None:
            return (_FILLER * (self.size // len(_FILLER) + 1))[: self.size]
        try:
            content = (
                (self.text or "").encode() if self.base64 is None else base64.b64decode(self.base64, validate=True)
            )
        except ValueError as error:
            raise ValueError("the file's base64 or text cannot be read") from error
        if len(content) > most:
            raise ValueError(f"a file has at most {most} bytes: max_file_kb")
        return content


class Uploads:
    """All files of the deployment. Times are passed in, in seconds."""

    def __init__(self, settings: EmulatorSettings, draws: Draws, tally: Tally, base_url: Callable[[], str]) -> None:
        self._settings = settings
        self._draws = draws
        self._tally = tally
        self._base_url = base_url
        self._files: dict[str, File] = {}
        self._stored_bytes = 0

    # --- over the WebSocket ---

    def presign(self, session: SessionKey, request: OnAttachment, now: float) -> File | Problem:
        """Check what is to be uploaded and open a URL for it."""
        problem = self._refusal(request)
        if problem:
            return problem
        file_id = request.attachment_id or self._draws.uuid()
        if file_id in self._files:
            return Problem(400, "Request failed.")
        self._forget_stale(now)
        file = self._files[file_id] = File(
            id=file_id,
            session=session,
            name=request.file_name or "",
            type=request.file_type or "",
            size=request.file_size or 0,
            md5=request.file_md5,
            secret=self._draws.hex32(),
            # Names and shape as in the vendor's fixture.
            headers={"x-amz-tagging": f"organizationId={self._draws.uuid()}&originPlatform=PureCloud&role=guest"},
            url_expires_at=now + self._settings.upload_url_life_s,
        )
        return file

    def _refusal(self, request: OnAttachment) -> Problem | None:
        settings = self._settings
        name, file_type, size = request.file_name, request.file_type, request.file_size
        if not settings.attachments_enabled:
            return Problem(4000, "Attachments are not supported")
        if name is None or file_type is None or size is None:
            return Problem(4020, "Missing parameter")
        if len(name) > settings.max_file_name:
            return Problem(4005, "File name is too long")
        extension = pathlib.PurePosixPath(name).suffix.lower()
        if len(extension) < 2 or "/" in name or "\\" in name or not name.isprintable():
            return Problem(4004, "File name is invalid")
        if extension in settings.blocked_extensions or not self._type_allowed(file_type):
            return Problem(4001, f"File type {file_type} not supported")
        if size <= 0:
            return Problem(4102, "File is empty")
        if size // 1000 > settings.max_file_kb:  # whole kilobytes of 1,000, as the vendor's client counts
            return Problem(4002, "File is too large")
        return None

    def _type_allowed(self, file_type: str) -> bool:
        family = file_type.partition("/")[0]
        return any(allowed in ("*/*", file_type, f"{family}/*") for allowed in self._settings.allowed_file_types)

    def upload_url(self, file: File) -> str:
        """Where to PUT it."""
        return f"{self._base_url()}/_storage/upload/{file.id}/{file.secret}"

    def owned(self, session: SessionKey, file_id: str | None, now: float) -> File | Problem:
        """Find a session's own file that is ready to be sent or fetched."""
        file = self._files.get(file_id or "")
        if file is None or file.session != session:
            return Problem(4009, "Attachment not found")
        if file.state not in ("ready", "sent"):
            return Problem(4010, "Attachment has not been successfully uploaded")
        if file.state == "ready" and now >= file.ready_at + self._settings.unsent_upload_life_s:
            return Problem(4008, "Attachment has expired")
        return file

    def withdraw(self, session: SessionKey, file_id: str | None) -> Problem | None:
        """Delete a file that no message carries."""
        file = self._files.get(file_id or "")
        if file is None or file.session != session or file.state == "sent":
            return Problem(4009, "Attachment not found")
        self._remove(file)
        return None

    def download_url(self, file: File, now: float) -> str:
        """Open a short-lived URL for it."""
        file.downloads = {secret: end for secret, end in file.downloads.items() if end > now}
        if len(file.downloads) >= _MAX_DOWNLOADS:
            del file.downloads[next(iter(file.downloads))]
        secret = self._draws.hex32()
        file.downloads[secret] = now + self._settings.download_url_life_s
        return f"{self._base_url()}/_storage/download/{file.id}/{secret}"

    def attached(self, file: File, now: float) -> Attachment:
        """Describe a file as an echo does."""
        media = file.type.partition("/")[0].capitalize()
        return Attachment(
            id=file.id,
            url=self.download_url(file, now),
            filename=file.name,
            file_size=len(file.content),
            media_type=media if media in ("Audio", "Image", "Video") else "File",
            mime=file.type,
            sha256=hashlib.sha256(file.content).hexdigest(),
        )

    # --- from the agent's side ---

    def hand_out(self, session: SessionKey, handout: Handout, now: float) -> File:
        """
        Keep a file that an agent sends: sent already, the session's own from now on.

        Raises:
            AgentError: It cannot be sent.
        """
        try:
            content = handout.content(self._settings.max_file_kb * 1000)
        except ValueError as error:
            raise AgentError(str(error)) from error
        file = File(
            id=self._draws.uuid(),
            session=session,
            name=handout.name,
            type=handout.type,
            size=len(content),
            md5=None,
            secret=self._draws.hex32(),
            headers={},
            url_expires_at=now,
        )
        self._files[file.id] = file
        self._keep(file, content)
        file.state, file.ready_at = "sent", now
        return file

    # --- over HTTP ---

    def for_upload(self, file_id: str, secret: str, headers: dict[str, str], now: float) -> File | None:
        """
        Find the file that a PUT is for; None is a 403, as S3 answers whatever is wrong with a presigned request.

        Args:
            file_id: From the URL.
            secret: From the URL.
            headers: Of the request, names in lower case.
            now: Seconds since the epoch.
        """
        file = self._files.get(file_id)
        if file is None or not hmac.compare_digest(file.secret.encode(), secret.encode()) or now >= file.url_expires_at:
            return None
        demanded = {**file.headers, "content-type": file.type}
        if any(headers.get(name) != value for name, value in demanded.items()):
            return None
        return file if file.state == "presigned" else None

    def store(self, file: File, content: bytes) -> None:
        """Keep what was PUT; whether it is any good is found out later."""
        file.state = "uploaded"
        self._tally.uploads += 1
        self._keep(file, content)

    def _keep(self, file: File, content: bytes) -> None:
        file.content = content
        self._stored_bytes += len(content)
        while self._stored_bytes > self._settings.max_stored_mb * 1_000_000 and len(self._files) > 1:
            self._remove(next(iter(self._files.values())))
            self._tally.dropped_files += 1

    def examine(self, file: File, now: float) -> Problem | None:
        """Decide whether an upload succeeded; None if it did. Its event follows."""
        problem = None
        if not file.content:
            problem = Problem(4102, "File is empty")
        elif len(file.content) // 1000 > self._settings.max_file_kb:
            problem = Problem(4002, "File is too large")
        elif len(file.content) != file.size or not _same_md5(file):
            problem = Problem(4003, "File content is invalid")
        file.state, file.ready_at = ("failed" if problem else "ready"), now
        return problem

    def for_download(self, file_id: str, secret: str, now: float) -> File | None:
        """Find the file that a GET is for; None is a 404."""
        file = self._files.get(file_id)
        return file if file is not None and file.downloads.get(secret, 0.0) > now else None

    def known(self, file: File) -> bool:
        """Whether it is still there."""
        return self._files.get(file.id) is file

    def _remove(self, file: File) -> None:
        self._files.pop(file.id, None)
        self._stored_bytes -= len(file.content)

    def _forget_stale(self, now: float) -> None:
        """Oldest first: URLs that ran out unused, uploads that failed or were never sent."""
        for file in list(self._files.values())[:2]:
            unused = file.state == "presigned" and now >= file.url_expires_at
            unsent = file.state in ("ready", "failed") and now >= file.ready_at + self._settings.unsent_upload_life_s
            if unused or unsent:
                self._remove(file)


def _same_md5(file: File) -> bool:
    if not file.md5:
        return True
    digest = hashlib.md5(file.content, usedforsecurity=False).digest()
    try:
        declared = base64.b64decode(file.md5, validate=True) if len(file.md5) != 32 else bytes.fromhex(file.md5)
    except (binascii.Error, ValueError):
        return False
    return digest == declared

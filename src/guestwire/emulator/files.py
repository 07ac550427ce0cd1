"""`Files`: what a guest asks about files, answered; and the files that agents hand out. The store itself: `uploads`."""

from __future__ import annotations

from guestwire.emulator import answers
from guestwire.emulator.delivery import Delivery
from guestwire.emulator.ids import Draws, iso_time
from guestwire.emulator.records import Connection, File, Problem, Session
from guestwire.emulator.registry import Registry
from guestwire.emulator.rules import BAD_REQUEST, attachment_ids_of
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.uploads import Uploads
from guestwire.protocol.frames import (
    AttachmentDeletedResponse,
    Body,
    DeleteAttachment,
    GenerateUrlError,
    GetAttachment,
    OnAttachment,
    OnMessage,
    PresignedUrlResponse,
    UploadFailureEvent,
    UploadSuccessEvent,
)


class Files:
    """The files' side of the WebSocket. Times are in seconds since the epoch."""

    def __init__(
        self, settings: EmulatorSettings, uploads: Uploads, registry: Registry, delivery: Delivery, draws: Draws
    ) -> None:
        self._settings = settings
        self._uploads = uploads
        self._registry = registry
        self._delivery = delivery
        self._draws = draws

    def presign(self, connection: Connection, session: Session, request: OnAttachment, now: float) -> None:
        """Answer an `onAttachment`."""
        file = self._uploads.presign(session.key, request, now)
        if isinstance(file, Problem):
            self._refuse(connection, request, file)
            return
        body = PresignedUrlResponse(
            attachment_id=file.id,
            url=self._uploads.upload_url(file),
            headers=file.headers,
            file_name=file.name,
            file_type=file.type,
        )
        connection.gateway.answer(request.tracing_id, body)

    def _refuse(self, connection: Connection, request: OnAttachment, problem: Problem) -> None:
        if not request.errors_as_json:
            connection.gateway.refuse(request, *problem)
            return
        body = GenerateUrlError(
            error_code=problem.code, error_message=problem.text, attachment_id=request.attachment_id
        )
        connection.gateway.refuse_with(
            request, problem.code, body, envelope_code=self._settings.generate_url_error_code
        )

    def answer_download(self, connection: Connection, session: Session, request: GetAttachment, now: float) -> None:
        """Answer a `getAttachment` with a fresh URL."""
        file = self._uploads.owned(session.key, request.attachment_id, now)
        if isinstance(file, Problem):
            connection.gateway.refuse(request, *file)
            return
        body = PresignedUrlResponse(
            attachment_id=file.id,
            headers={},
            url=self._uploads.download_url(file, now),
            file_name=file.name,
            file_size=len(file.content),
            file_type=file.type,
        )
        connection.gateway.answer(request.tracing_id, body)

    def answer_delete(self, connection: Connection, session: Session, request: DeleteAttachment) -> None:
        """Answer a `deleteAttachment`."""
        problem = self._uploads.withdraw(session.key, request.attachment_id)
        if problem:
            connection.gateway.refuse(request, *problem)
        else:
            body = AttachmentDeletedResponse(attachment_id=request.attachment_id)
            connection.gateway.answer(request.tracing_id, body)

    def referred_to(self, session: Session, request: OnMessage, now: float) -> list[File] | Problem:
        """The files that a message refers to, in whichever place."""
        ids = attachment_ids_of(request)
        if len(ids) > 1:
            return BAD_REQUEST  # one at a time: the vendor's schema says so of `content`
        files = []
        for file_id in ids:
            file = self._uploads.owned(session.key, file_id, now)
            if isinstance(file, Problem):
                return file
            files.append(file)
        return files

    def uploaded(self, file: File, content: bytes, now: float) -> None:
        """A PUT is complete. Its event follows, on whatever connections the session has by then."""
        self._uploads.store(file, content)
        self._delivery.at(
            now + self._draws.delay_s(self._settings.upload_event_delay_ms), lambda at: self._tell(file, at)
        )

    def _tell(self, file: File, now: float) -> None:
        if not self._uploads.known(file):
            return
        problem = self._uploads.examine(file, now)
        body: Body
        if problem:
            body = UploadFailureEvent(
                attachment_id=file.id,
                error_code=problem.code,
                error_message=problem.text,
                timestamp=iso_time(now),
            )
        else:
            url = self._uploads.download_url(file, now)
            body = UploadSuccessEvent(attachment_id=file.id, download_url=url, timestamp=iso_time(now))
        session = self._registry.sessions.get(file.session)
        data = answers.encode(body, None, class_=type(body).__name__)
        for connection in session.connections if session else ():
            self._delivery.write(connection, data)

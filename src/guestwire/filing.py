"""
What is done to the files of a message before it is stored: scanned as they came, then cleaned, then measured again.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec

from guestwire.errors import Finding
from guestwire.model import Attachment
from guestwire.policy.media import check_media, rules_of
from guestwire.settings import FileSettings, Limits

if TYPE_CHECKING:
    from guestwire.media.cleaning import MediaWorker
    from guestwire.media.scanning import Scanner


class Treated(msgspec.Struct, frozen=True):
    """What became of the files of a message."""

    attachments: tuple[Attachment, ...]
    findings: tuple[Finding, ...]


class Filing:
    """
    Scans and cleans files. Scanner and worker start with the first file that needs them.

    Args:
        settings: What is to be done.
    """

    def __init__(self, settings: FileSettings) -> None:
        self.settings = settings
        self._scanner: Scanner | None = None
        self._worker: MediaWorker | None = None
        #: A forked child shares the pipes of its parent's worker, and has to have one of its own.
        self._pid = os.getpid()

    async def treat(self, attachments: tuple[Attachment, ...], limits: Limits) -> Treated:
        """
        Scan and clean files that `check_media` has found nothing in.

        Args:
            attachments: Of a message.
            limits: Of its way out.

        Raises:
            ConfigError: GW-C090, pictures are to be cleaned, and Pillow is not installed.
        """
        clean: list[Attachment] = []
        findings: list[Finding] = []
        for number, attachment in enumerate(attachments):
            path = "attachments" if len(attachments) == 1 else f"attachments[{number}]"
            treated = await self._one(attachment, limits, path)
            clean += treated.attachments
            findings += treated.findings
        return Treated(tuple(clean), tuple(findings))

    async def _one(self, attachment: Attachment, limits: Limits, path: str) -> Treated:
        if self.settings.scan and (found := await self._scan(attachment.content, path)):
            return Treated((), found)
        if not self.settings.cleans:
            return Treated((attachment,), ())
        # The remainder of a kilobyte does not count: see `check_file`.
        cleaned = await self._cleaner().clean(attachment, max_bytes=limits.max_file_kb * 1000 + 999, path=path)
        if isinstance(cleaned, tuple):
            return Treated((), cleaned)
        as_sent = msgspec.structs.replace(rules_of(limits, self.settings), max_picture_kb=None)
        return Treated((cleaned.attachment,), (*cleaned.warnings, *check_media(cleaned.attachment, as_sent, path=path)))

    async def _scan(self, content: bytes, path: str) -> tuple[Finding, ...]:
        if self._scanner is None:
            from guestwire.media.scanning import Scanner

            self._scanner = Scanner(self.settings.scan, timeout_s=self.settings.scan_timeout_s)
        return await self._scanner.scan(content, path=path)

    def _cleaner(self) -> MediaWorker:
        if self._worker is None or self._pid != os.getpid():
            from guestwire.media.cleaning import MediaLimits, MediaWorker

            self._pid = os.getpid()
            self._worker = MediaWorker(MediaLimits(keep_exif=self.settings.keep_exif))
        return self._worker

    async def close(self) -> None:
        """End the worker, if it is ours."""
        worker, self._worker = self._worker, None
        if worker is not None and self._pid == os.getpid():
            await asyncio.to_thread(worker.close)

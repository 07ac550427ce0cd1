"""The platform's plain HTTP: deployment configuration, history, sign-in, and the storage that files are PUT to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from guestwire.emulator import answers
from guestwire.emulator.calls import error_body
from guestwire.emulator.faults import Occurrence
from guestwire.emulator.hosts import SERVED, regional
from guestwire.emulator.settings import EmulatorSettings
from guestwire.emulator.signin import RestProblem

if TYPE_CHECKING:
    from guestwire.emulator.app import Emulator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Page size when none is asked for.
DEFAULT_PAGE = 25


def json_response(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=msgspec.json.encode(data), status=status, content_type="application/json", headers=headers)


def error(status: int, code: str, message: str, *, retry_after_s: float | None = None) -> web.Response:
    """Answer with the platform's ErrorBody."""
    headers = None if retry_after_s is None else {"Retry-After": f"{retry_after_s:g}"}
    return json_response(error_body(status, code, message, ""), status, headers)


async def read_json(request: web.Request) -> Any:
    """Read a JSON body; None for what is none."""
    try:
        return msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


class Rest:
    """The HTTP routes of the platform, besides the WebSocket."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._world = emulator.world

    def routes(self) -> list[web.RouteDef]:
        """What to serve."""
        deployment = "/webdeployments/v1/deployments/{id}"
        auth = "/api/v2/webdeployments/token"
        return [
            web.get(deployment + "/config.json", self.config),
            web.get(deployment + "/domains.json", self.domains),
            web.get("/api/v2/webmessaging/messages", self.history),
            web.post(auth + "/oauthcodegrantjwtexchange", self.exchange),
            web.post(auth + "/refresh", self.refresh),
            web.delete(auth + "/revoke", self.revoke),
            web.put("/_storage/upload/{id}/{secret}", self.upload),
            web.get("/_storage/download/{id}/{secret}", self.download),
        ]

    @web.middleware
    async def hosts(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve under a name of the platform what the real host serves; under every other name everything."""
        host = regional(request.host)
        if host is None or host.serves(request.path):
            return await handler(request)
        served = ", ".join(
            f"{beginning}* on {part}.{host.domain}" for part, paths in SERVED.items() for beginning in paths
        )
        return error(
            404,
            "not.found",
            f"{host.part}.{host.domain} does not serve {request.path}. The emulator serves {served}; "
            "everything on 127.0.0.1.",
        )

    # --- deployment ---

    async def config(self, request: web.Request) -> web.Response:
        """GET config.json: public, no sign-in."""
        if request.match_info["id"].lower() != self._world.deployment_id.lower():
            return error(404, "not.found", "No such deployment.")
        host = regional(request.host)
        api_url = host.url("api", request.scheme) if host else self._emulator.url
        messaging_url = host.url("webmessaging", request.scheme) if host else self._emulator.url
        return json_response(config_json(self._emulator.settings, self._world.deployment_id, api_url, messaging_url))

    async def domains(self, request: web.Request) -> web.Response:
        """GET domains.json: which hosts may embed the messenger."""
        if request.match_info["id"].lower() != self._world.deployment_id.lower():
            return error(404, "not.found", "No such deployment.")
        allowed = list(self._emulator.settings.allowed_origins)
        return json_response({"allowAllDomains": not allowed, "allowedDomains": allowed})

    # --- history ---

    async def history(self, request: web.Request) -> web.Response:
        """GET the messages of the session that the JWT was granted to."""
        world, now = self._world, self._emulator.now()
        scheme, _, jwt = request.headers.get("Authorization", "").partition(" ")
        session = world.session_of_jwt(jwt.strip(), now) if scheme.lower() == "bearer" else None
        if session is None:
            self._emulator.log_http("history", "", 401)
            return error(401, "bad.credentials", "Invalid login credentials.")
        if not session.history_reads.admit(now):
            world.tally.throttles["history_per_minute"] += 1
            self._emulator.log_http("history", session.key.token_sha256, 429)
            wait_s = self._emulator.settings.retry_after_s
            return error(429, "too.many.requests", "Rate limit exceeded.", retry_after_s=wait_s)
        try:
            page_size, page_number = _page(request)
        except ValueError:
            return error(400, "bad.request", "pageSize and pageNumber must be whole numbers from 1.")
        world.tally.history_reads += 1
        self._emulator.log_http("history", session.key.token_sha256, "ok")
        truncated = world.strike(Occurrence("history", path=request.path, token_sha256=session.key.token_sha256)).get(
            "history_truncate"
        )
        page_size = min(page_size, self._emulator.settings.history_page_max)
        keep = truncated["keep"] if truncated else None
        return json_response(
            answers.history_page(
                self._emulator.settings, session, page_size=page_size, page_number=page_number, now=now, keep=keep
            )
        )

    # --- sign-in ---

    async def exchange(self, request: web.Request) -> web.Response:
        """POST an OAuth code, or an idToken, for a JWT; any will do."""
        return _answer(self._world.signin.exchange(await read_json(request), self._emulator.now()))

    async def refresh(self, request: web.Request) -> web.Response:
        """POST a refresh token for another JWT."""
        return _answer(self._world.signin.refresh(await read_json(request), self._emulator.now()))

    async def revoke(self, request: web.Request) -> web.Response:
        """DELETE: sign the guest out everywhere."""
        scheme, _, jwt = request.headers.get("Authorization", "").partition(" ")
        login = self._world.signin.revoke(jwt.strip() if scheme.lower() == "bearer" else "", self._emulator.now())
        if isinstance(login, RestProblem):
            return error(*login)
        self._world.registry.log_out(login)
        self._emulator.pump()
        return web.Response(status=204)

    # --- storage ---

    async def upload(self, request: web.Request) -> web.Response:
        """PUT a file, with every header that came with the URL and the declared Content-Type."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        file = self._world.uploads.for_upload(
            request.match_info["id"], request.match_info["secret"], headers, self._emulator.now()
        )
        if file is None:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>", content_type="text/xml")
        # One kilobyte above the limit shows that it was passed; more need not be kept.
        most = (self._emulator.settings.max_file_kb + 2) * 1000
        content = bytearray()
        async for chunk in request.content.iter_chunked(65536):
            if len(content) < most:
                content += chunk
        self._world.files.uploaded(file, bytes(content), self._emulator.now())
        self._emulator.pump()
        return web.Response(status=200)

    async def download(self, request: web.Request) -> web.Response:
        """GET a file; 404 once the URL has expired."""
        file = self._world.uploads.for_download(
            request.match_info["id"], request.match_info["secret"], self._emulator.now()
        )
        if file is None:
            return error(404, "not.found", "The download URL has expired.")
        # `attachment`: an uploaded page must not run in the emulator's origin.
        return web.Response(
            body=file.content,
            headers={"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"},
        )


def _answer(found: dict[str, str] | RestProblem) -> web.Response:
    return error(*found) if isinstance(found, RestProblem) else json_response(found)


def _page(request: web.Request) -> tuple[int, int]:
    page_size = int(request.query.get("pageSize", DEFAULT_PAGE))
    page_number = int(request.query.get("pageNumber", 1))
    if page_size < 1 or page_number < 1:
        raise ValueError
    return page_size, page_number


def config_json(settings: EmulatorSettings, deployment_id: str, api_url: str, messaging_url: str) -> dict[str, Any]:
    """
    Describe the deployment as its public config.json does, in accord with the settings.

    Shape: the vendor's fixtures (mobile client tests and mock-server spike).
    """
    disconnect = {"off": "Send", "send": "Send", "read_only": "ReadOnly"}[settings.conversation_disconnect]
    conversations = {
        "messagingEndpoint": f"ws{messaging_url.removeprefix('http')}",
        "showAgentTypingIndicator": True,
        "showUserTypingIndicator": settings.typing_enabled,
        "autoStart": {"enabled": settings.auto_start},
        "conversationDisconnect": {"enabled": settings.conversation_disconnect != "off", "type": disconnect},
        "conversationClear": {"enabled": settings.clear_enabled},
        "markdown": {"enabled": False},
        "sessionDurationSeconds": settings.session_duration_s,
    }
    modes = [{"fileTypes": list(settings.allowed_file_types), "maxFileSizeKB": settings.max_file_kb}]
    return {
        "id": deployment_id,
        "version": "1",
        "languages": ["en-us"],
        "defaultLanguage": "en-us",
        "apiEndpoint": api_url,
        "status": settings.deployment_status,
        "messenger": {
            "enabled": True,
            "apps": {"conversations": conversations},
            "fileUpload": {
                "enableAttachments": settings.attachments_enabled,
                "modes": modes if settings.attachments_enabled else [],
            },
        },
        "journeyEvents": {"enabled": False},
        "headlessMode": {"enabled": True},
        "auth": {"enabled": settings.auth_enabled, "allowSessionUpgrade": settings.auth_enabled},
    }

"""
The agent's page at ``/_emulator/``: three files, and the headers that keep them harmless.

Its script is a client of the admin API like any other. What guests wrote ends up in it, so the policy leaves a hostile
text nothing: no inline script or style, no other host, no form target, no frame.
"""

from __future__ import annotations

from importlib import resources

from aiohttp import web

_TYPES = {"index.html": "text/html", "agent.js": "text/javascript", "agent.css": "text/css"}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The next version of the emulator is served from the same address.
    "Cache-Control": "no-cache",
}


def routes() -> list[web.RouteDef]:
    """What to serve, beside the admin API and behind its guard."""
    return [
        web.get("/_emulator", _moved),
        web.get("/_emulator/{file:|agent\\.js|agent\\.css}", _serve),
    ]


async def _moved(request: web.Request) -> web.Response:
    raise web.HTTPPermanentRedirect("/_emulator/", headers=HEADERS)


async def _serve(request: web.Request) -> web.Response:
    name = request.match_info["file"] or "index.html"
    body = (resources.files("guestwire.emulator") / "page" / name).read_bytes()
    return web.Response(body=body, content_type=_TYPES[name], charset="utf-8", headers=HEADERS)

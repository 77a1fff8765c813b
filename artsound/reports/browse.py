"""`artsound browse`: a web page on this machine to search, hear, judge and save pairs.

Only the index is held in memory; pictures and sound are read from the shards as the browser asks
for them. The page gets all data as JSON and shows it as text, never as markup, under a policy
that lets nothing run or load but the page's own files.
"""

from __future__ import annotations

import socket
import threading
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artsound.errors import ArtSoundError, BadUsage
from artsound.reports.generated import find_generated
from artsound.reports.site import Site, json_response
from artsound.reports.view import catalogue_of
from artsound.shards.read import Dataset, open_pairs

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FILES = {
    "browse.css": "text/css",
    "browse.js": "text/javascript",
    "compare.js": "text/javascript",
    "grid.js": "text/javascript",
    "pair.js": "text/javascript",
    "judge.js": "text/javascript",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def serve(
    shards: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    save_to: Path | None = None,
    generated: Path | None = None,
) -> None:
    """Serve the page until Ctrl-C. Saved views and judgements go to `save_to`.

    With `generated`, a folder of `<key>.wav`, there is a page that sets them beside their pairs.

    That is the folder in which the shards' folder lies, when it is not given; shards on a server
    need it to be given for anything to be saved. Raises BadUsage when the port is taken.
    """
    import uvicorn

    app = browse_app(open_pairs(shards), host=host, save_to=save_to, generated=generated)
    listener = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"Browse at http://{shown}:{listener.getsockname()[1]}/ (Ctrl-C ends)", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def browse_app(
    data: Dataset,
    *,
    host: str = "127.0.0.1",
    save_to: Path | None = None,
    generated: Path | None = None,
) -> Starlette:
    """The page and what it asks for, as a Starlette application.

    On a loopback host it answers only requests that name this machine, so that no web page
    elsewhere can reach it through a name of its own.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route

    if save_to is None and data.store.is_local:
        save_to = Path(data.store.location).absolute().parent
    catalogue = catalogue_of(data)
    made = find_generated(generated, catalogue.places) if generated is not None else {}
    site = Site(catalogue, save_to, made)
    # Prepared while the first page is being looked at, not when the first letter is typed.
    prepare = threading.Timer(0.25, lambda: site.catalogue.texts)
    prepare.daemon = True
    prepare.start()
    hosts = [*LOOPBACK, "[::1]"] if host in LOOPBACK else ["*"]
    return Starlette(
        routes=[
            Route("/", _shell),
            Route("/pair/{key}", _shell),
            Route("/judge", _shell),
            Route("/compare", _shell),
            Route("/page/{name}", _file),
            Route("/api/view", site.view),
            Route("/api/pair/{key}", site.pair),
            Route("/api/save", site.save, methods=["POST"]),
            Route("/api/trial", site.trial),
            Route("/api/judgement", site.judgement, methods=["POST"]),
            Route("/api/generated", site.compared),
            Route("/media/{key}.{member}", site.media),
            Route("/generated/{key}.{member}", site.generated_media),
            Route("/trial/{token}.{member}", site.trial_media),
        ],
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
        exception_handlers={ArtSoundError: _sentence},
    )


def _shell(request: Request) -> Response:
    from starlette.responses import Response

    return Response(_page_file("browse.html"), media_type="text/html")


def _file(request: Request) -> Response:
    from starlette.responses import Response

    name = request.path_params["name"]
    if name not in _FILES:
        return json_response({"error": "There is no such file."}, 404)
    return Response(
        _page_file(name), media_type=_FILES[name], headers={"Cache-Control": "no-cache"}
    )


def _page_file(name: str) -> bytes:
    return (files("artsound.reports") / "page" / name).read_bytes()


def _sentence(request: Request, error: Exception) -> Response:
    return json_response({"error": str(error)}, 400)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on a port, or with 0 on any free one; BadUsage when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # who connects before the server runs waits, and is not refused
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise BadUsage(
            f"{host} port {port} cannot be listened on ({reason}): choose another --port."
        ) from error
    return listener


class _SafeHeaders:
    """Adds to every answer the headers that keep a browser from doing what it should not."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self.app(scope, receive, send_with_headers)

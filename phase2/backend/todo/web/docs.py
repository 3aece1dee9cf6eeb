"""The interactive documentation: Swagger UI, served from this package, so that it works without internet access."""

import hashlib
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "swagger-ui.css": _STATIC / "swagger-ui" / "swagger-ui.css",
    "swagger-ui-bundle.js": _STATIC / "swagger-ui" / "swagger-ui-bundle.js",
    "swagger-ui-bundle.js.LICENSE.txt": _STATIC / "swagger-ui" / "swagger-ui-bundle.js.LICENSE.txt",
    "docs.js": _STATIC / "docs.js",
}

# URLs are relative, so that the page also works below a path prefix of a proxy.
_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/$digest/swagger-ui.css">
<script src="docs/$digest/swagger-ui-bundle.js" defer></script>
<script src="docs/$digest/docs.js" defer></script>
</head>
<body>
<noscript>This page needs JavaScript. The specification itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<div id="docs"></div>
</body>
</html>
""")

# The page loads from this server and sends to this server only. Swagger UI's icons are data: URLs.
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


# Task: T-051
def install(app: FastAPI) -> None:
    """Serve ``/docs`` with its files and ``/openapi.json``, and redirect ``/`` to ``/docs``. All of it is public."""
    digest = _digest_of(_FILES.values())
    page = _PAGE.substitute(title=escape(app.title), digest=digest)
    specification: list[bytes] = []

    async def show_docs(_: Request) -> Response:
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    async def read_specification(_: Request) -> Response:
        if not specification:
            specification.append(orjson.dumps(app.openapi()))
        return Response(specification[0], media_type="application/json")

    async def redirect_to_docs(_: Request) -> Response:
        return RedirectResponse("docs", 302)

    app.add_route("/", redirect_to_docs, include_in_schema=False)
    app.add_route("/docs", show_docs, include_in_schema=False)
    app.add_route("/openapi.json", read_specification, include_in_schema=False)
    for name, path in _FILES.items():
        _serve_forever(app, f"/docs/{digest}/{name}", path)


def _serve_forever(app: FastAPI, address: str, path: Path) -> None:
    """Serve a file whose URL changes with its content, so that browsers may cache it forever."""

    async def read_file(_: Request) -> Response:
        return FileResponse(path, headers=_FOREVER)

    app.add_route(address, read_file, include_in_schema=False)


def _digest_of(paths: Iterable[Path]) -> str:
    content = hashlib.sha256()
    for path in paths:
        content.update(path.read_bytes())
    return content.hexdigest()[:16]

"""The application: ``create_app`` connects the layers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from todo.database import Database, LocalSignals, Signals
from todo.jobs.prune import PruneOptions, keep_pruning
from todo.routes import categories, changes, events, health, me, stats, tags, tasks, views
from todo.routes.documentation import DOCUMENTATION
from todo.services.authentication import KeySetVerifier, SecretVerifier, Verifier
from todo.services.live import Live, LiveOptions
from todo.settings import Settings, SettingsError
from todo.web import docs, openapi
from todo.web.application import Application
from todo.web.cors import Cors
from todo.web.logged_paths import LoggedPaths
from todo.web.middleware import Authentication, Problems, Tracing
from todo.web.server import STOPPING


# Task: T-040
def create_app(settings: Settings, database: Database, verifier: Verifier, signals: Signals | None = None) -> FastAPI:
    """Build the ASGI application. It opens ``database`` and ``verifier`` at startup and closes them at shutdown.

    ``signals`` may be ``None`` only if no other process writes to the database.
    """
    signals = signals or LocalSignals()
    live = Live(
        database,
        signals,
        LiveOptions(
            connections_per_user=settings.live_connections_per_user,
            heartbeat_seconds=settings.live_heartbeat_seconds,
            poll_seconds=settings.live_poll_seconds,
        ),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        await database.open()
        await verifier.open()
        database.on_write = signals.publish
        kept = PruneOptions(kept_days=settings.changes_kept_days, trash_kept_days=settings.trash_kept_days)
        pruning = asyncio.create_task(keep_pruning(database, kept))
        try:
            yield {STOPPING: live.stop}
        finally:
            live.stop()
            pruning.cancel()
            await asyncio.wait([pruning])
            database.on_write = None
            await signals.close()
            await verifier.close()
            await database.close()

    app = Application(
        title="Evolution of Todo",
        version="0.2.0",
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.database = database
    app.state.verifier = verifier
    app.state.live = live
    for router in (
        tasks.router,
        categories.router,
        tags.router,
        views.router,
        stats.router,
        changes.router,
        events.router,
        me.router,
        health.router,
    ):
        app.include_router(router)
    openapi.install(app, DOCUMENTATION)
    docs.install(app)
    # The middleware added last is the outermost.
    app.add_middleware(Authentication)
    app.add_middleware(Problems)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    app.add_middleware(Tracing, paths=LoggedPaths(app.routes))
    return app


# Task: T-047
def verifier_of(settings: Settings) -> Verifier:
    """Build the token verifier.

    Uses the issuer's published keys if ``jwks_url`` is set, otherwise the shared secret. Raises SettingsError.
    """
    if settings.jwks_url is not None:
        # httpx takes 2.7 MB, and is needed for this alone.
        from todo.clients.jwks import JwksClient  # noqa: PLC0415

        keys = JwksClient(settings.jwks_url)
        return KeySetVerifier(keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    if settings.jwt_secret is None:
        raise SettingsError("There is no way to verify tokens: set BETTER_AUTH_URL, or JWT_SECRET.")
    try:
        return SecretVerifier(settings.jwt_secret, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    except ValueError as error:
        raise SettingsError(f"JWT_SECRET cannot be used. {error}") from None

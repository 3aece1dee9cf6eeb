"""The FastAPI application, without the parts of FastAPI that our requests do not need."""

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from todo.web.router import TrieRouter


# Task: T-040
class Application(FastAPI):
    """Declares and documents routes as FastAPI does, but serves requests through our own middleware only.

    FastAPI's error handlers (``Problems`` renders all errors), its body limit and its telemetry are left out. Together
    with FastAPI's route search, they cost more than the rest of a small request.
    """

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = TrieRouter(self.routes, AsyncExitStackMiddleware(self.router))
        for middleware, args, kwargs in reversed(self.user_middleware):
            app = middleware(app, *args, **kwargs)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

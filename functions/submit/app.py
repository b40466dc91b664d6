"""The HTTP API as a FastAPI application."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from order_engine.version import VERSION
from order_engine.wire.schema import HealthView
from submit import pages, problems
from submit.description import describe
from submit.edge import ThroughTheEdge
from submit.routes import orders, quotes, stats, tickets, tokens
from submit.schemas import COMMON_ERRORS
from submit.served import Served

ROUTERS = (orders.router, tickets.router, quotes.router, tokens.router, stats.router)
DESCRIPTION = """Execute Solana swaps over Raydium and Meteora, exactly once.

Post an order, get `202` with an order id and a WebSocket address, and follow it to `confirmed` or `failed`.
Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem details with a stable `code`.
"""
TAGS = [
    {"name": "orders", "description": "Place, follow, list and cancel orders."},
    {"name": "market", "description": "Tokens, quotes and statistics."},
    {"name": "service", "description": "The service itself."},
]


def create_app() -> FastAPI:
    """The application, without any state."""
    app = FastAPI(
        title="Order execution engine",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        responses=COMMON_ERRORS,
        redirect_slashes=False,
        openapi_tags=TAGS,
    )
    problems.install(app, [route for router in ROUTERS for route in router.routes])
    app.add_middleware(ThroughTheEdge)
    describe(app)
    for router in ROUTERS:
        # Including a router would build each of its routes a second time, which takes as long as the first.
        app.router.routes.extend(router.routes)
    pages.install(app)

    @app.get("/health", response_model=HealthView, operation_id="health", summary="Is the API up?", tags=["service"])
    async def health(engine: Served) -> JSONResponse:
        return JSONResponse({"status": "ok", "stage": engine.settings.stage})

    return app

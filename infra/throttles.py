"""Throttles by route: API Gateway's token buckets, each shared by all callers of its route.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import aws_apigatewayv2 as apigateway
from constructs import IConstruct


@dataclass(frozen=True, slots=True)
class Throttle:
    """Requests per second in the long run, and how many at once."""

    rate: int
    burst: int

    @property
    def settings(self) -> apigateway.ThrottleSettings:
        return apigateway.ThrottleSettings(rate_limit=self.rate, burst_limit=self.burst)


def throttle_routes(
    stage: apigateway.HttpStage | apigateway.WebSocketStage, routes: Mapping[str, tuple[IConstruct, Throttle]]
) -> None:
    """Give routes throttles of their own, by route key. Those without one share the stage's default."""
    resource = stage.node.default_child
    assert isinstance(resource, apigateway.CfnStage)
    resource.route_settings = {
        key: {"ThrottlingRateLimit": limit.rate, "ThrottlingBurstLimit": limit.burst}
        for key, (_, limit) in routes.items()
    }
    # A stage is refused that names a route which is not there yet.
    for route, _ in routes.values():
        stage.node.add_dependency(route)

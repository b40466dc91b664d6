"""The HTTP API: who may call what, and the two functions behind it.

Everything under /api/ needs an API key, which the Lambda authorizer checks. The rest (the page, its files, health,
the API's description) is public and served by the same function, which also answers unknown paths.

A route has one authorizer. Where an OIDC issuer is configured, the same API is served a second time under
/oidc/api/, there behind API Gateway's own JWT authorizer: a program with a token puts /oidc before the path.

A route has one throttle as well, shared by all callers. Placing, cancelling and quoting have routes of their own, so
that none of them, no reader and no stranger on the public page can use up another's.
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.access_log import HTTP, write_access_log
from infra.findings import acknowledge
from infra.python_function import Platform, PythonFunction
from infra.queues import Queues
from infra.storage import BY_STATUS, BY_TIME, WORK, Storage
from infra.throttles import Throttle, throttle_routes
from order_engine.settings import ORIGIN_KEY_HEADER

# Behind a key. The last one has whatever the others have not.
_KEYED = (
    (apigateway.HttpMethod.POST, "/api/orders/execute"),
    (apigateway.HttpMethod.DELETE, "/api/orders/{orderId}"),
    (apigateway.HttpMethod.GET, "/api/quote"),
    (apigateway.HttpMethod.ANY, "/api/{proxy+}"),
)


def authorizer_function(scope: Construct, platform: Platform, storage: Storage) -> PythonFunction:
    """The function that both APIs ask who is calling."""
    function = PythonFunction(
        scope,
        "Authorizer",
        platform,
        handler="submit.authorizer.lambda_handler",
        description="Tells API Gateway whose key or ticket a request carries",
        # Sockets are refused without a word then; requests are answered 5xx, which has an alarm.
        tells_throttles=True,
        timeout=Duration.seconds(5),
        settings={
            "keys_table": storage.keys.table_name,
            "accounts_table": storage.accounts.table_name,
            "ticket_secret_arn": storage.ticket_key.secret_arn,
        },
    )
    function.allow(["dynamodb:GetItem"], [storage.keys.table_arn])
    # Keys that version 0.1 made are found there until they are moved.
    function.allow(["dynamodb:GetItem"], [storage.accounts.table_arn], leading_keys=["key#*"])
    function.allow(["dynamodb:UpdateItem"], [storage.accounts.table_arn], leading_keys=["used#*"])
    function.allow(["secretsmanager:GetSecretValue"], [storage.ticket_key.secret_arn])
    return function


class HttpApi(Construct):
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        platform: Platform,
        *,
        storage: Storage,
        queues: Queues,
        authorizer: PythonFunction,
        websocket_url: str,
    ) -> None:
        super().__init__(scope, construct_id)
        config = platform.config
        self.submit = self._submit(platform, storage, queues, websocket_url)
        # SnapStart restores published versions only; every change of code or settings publishes one.
        alias = lambda_.Alias(self, "Live", alias_name="live", version=self.submit.function.current_version)
        integration = integrations.HttpLambdaIntegration("Submit", alias, timeout=Duration.seconds(29))

        self.api = apigateway.HttpApi(
            self,
            "Api",
            api_name=f"{config.stack_name}-http",
            create_default_stage=False,
            cors_preflight=_cors(config.cors_origins),
        )
        strangers = Throttle(config.public_rate_limit, config.public_burst_limit)
        callers = Throttle(config.api_rate_limit, config.api_burst_limit)
        self.stage = apigateway.HttpStage(
            self, "Stage", http_api=self.api, auto_deploy=True, throttle=strangers.settings
        )
        write_access_log(self.stage, config, HTTP)
        keys = authorizers.HttpLambdaAuthorizer(
            "Keys",
            authorizer.function,
            response_types=[authorizers.HttpLambdaResponseType.SIMPLE],
            # What comes past CloudFront has no such header, and goes no further than this.
            identity_source=[
                "$request.header.Authorization",
                *([f"$request.header.{ORIGIN_KEY_HEADER}"] if config.edge else []),
            ],
            results_cache_ttl=Duration.seconds(60),
        )
        guards: list[tuple[str, apigateway.IHttpRouteAuthorizer]] = [("", keys)]
        if config.oidc_issuer is not None:
            tokens = authorizers.HttpJwtAuthorizer(
                "Tokens", config.oidc_issuer, jwt_audience=list(config.oidc_audience)
            )
            guards.append(("/oidc", tokens))
        throttles: dict[apigateway.HttpRoute, Throttle] = {}
        for prefix, guard in guards:
            for method, path in _KEYED:
                [route] = self.api.add_routes(
                    path=prefix + path, methods=[method], integration=integration, authorizer=guard
                )
                throttles[route] = callers
            if config.cors_origins:
                throttles[self._preflight(f"{prefix}/api/{{proxy+}}", integration)] = strangers
        public = apigateway.HttpRoute(
            self, "Public", http_api=self.api, route_key=apigateway.HttpRouteKey.DEFAULT, integration=integration
        )
        acknowledge(
            public,
            "AwsSolutions-APIG4",
            "The page, its files, health and the API's description are public; the function refuses the rest.",
        )
        throttles[public] = strangers
        throttle_routes(self.stage, {_key(route): (route, limit) for route, limit in throttles.items()})
        self.output = CfnOutput(
            self, "Url", value=self.api.api_endpoint, description="The API, and the order desk at /"
        )
        self.output.override_logical_id("HttpUrl")

    def _preflight(self, path: str, integration: apigateway.HttpRouteIntegration) -> apigateway.HttpRoute:
        """Let a browser ask before it calls: it may not show its key yet, and ANY would ask the authorizer.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
        """
        [route] = self.api.add_routes(path=path, methods=[apigateway.HttpMethod.OPTIONS], integration=integration)
        acknowledge(route, "AwsSolutions-APIG4", "A browser's preflight carries no key; it tells and changes nothing.")
        return route

    def _submit(self, platform: Platform, storage: Storage, queues: Queues, websocket_url: str) -> PythonFunction:
        config = platform.config
        function = PythonFunction(
            self,
            "Submit",
            platform,
            handler="submit.handler.lambda_handler",
            description="The HTTP API: place, read, list and cancel orders, quotes, statistics, the page",
            timeout=Duration.seconds(29),
            memory_mb=512,
            snap_start=True,
            settings={
                "orders_table": storage.orders.table_name,
                "accounts_table": storage.accounts.table_name,
                "orders_queue_url": queues.orders.queue_url,
                "dead_letters_queue_url": queues.dead_letters.queue_url,
                "websocket_url": websocket_url,
                "ticket_secret_arn": storage.ticket_key.secret_arn,
                "oidc_issuer": config.oidc_issuer or "",
                "oidc_plain_issuer": config.oidc_plain_issuer or "",
                "orders_per_minute": config.orders_per_minute,
                "open_orders_per_user": config.open_orders_per_user,
                "orders_burst": config.orders_burst,
                "reads_per_minute": config.reads_per_minute,
                "order_retention_days": config.order_retention_days,
                "reads_burst": config.reads_burst,
                **config.paper,
            },
        )
        orders = storage.orders.table_arn
        function.allow(
            ["dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:UpdateItem"], [orders]
        )
        # Lists, also by status, and how many orders are under way or rest.
        function.allow(["dynamodb:Query"], [f"{orders}/index/{index}" for index in (BY_TIME, BY_STATUS, WORK)])
        # The rate limit is one conditional write; statistics are one read.
        function.allow(["dynamodb:UpdateItem"], [storage.accounts.table_arn], leading_keys=["rate#*"])
        function.allow(["dynamodb:Query"], [storage.accounts.table_arn], leading_keys=["stats#*"])
        function.allow(["sqs:SendMessage"], [queues.orders.queue_arn])
        function.allow(["sqs:GetQueueAttributes"], [queues.orders.queue_arn, queues.dead_letters.queue_arn])
        function.allow(["secretsmanager:GetSecretValue"], [storage.ticket_key.secret_arn])
        return function

    def server_errors(self) -> cloudwatch.Metric:
        """Requests answered 5xx."""
        return self.api.metric_server_error(period=Duration.minutes(5), statistic="Sum")


def _key(route: apigateway.HttpRoute) -> str:
    resource = route.node.default_child
    assert isinstance(resource, apigateway.CfnRoute)
    return resource.route_key


def _cors(origins: tuple[str, ...]) -> apigateway.CorsPreflightOptions | None:
    if not origins:
        return None
    return apigateway.CorsPreflightOptions(
        allow_origins=list(origins),
        allow_methods=[apigateway.CorsHttpMethod.GET, apigateway.CorsHttpMethod.POST, apigateway.CorsHttpMethod.DELETE],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
        expose_headers=[
            "Location",
            "Retry-After",
            "RateLimit",
            "RateLimit-Policy",
            "Idempotent-Replayed",
            "WWW-Authenticate",
        ],
        max_age=Duration.hours(1),
    )

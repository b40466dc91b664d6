"""The WebSocket API: clients follow their orders here. Answers go over @connections, like the pushed events."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from constructs import Construct

from infra.access_log import WEBSOCKET, write_access_log
from infra.findings import acknowledge
from infra.python_function import Platform, PythonFunction
from infra.storage import BY_TIME, Storage
from infra.throttles import Throttle, throttle_routes

_STAGE = "live"


class WebSocketApi(Construct):
    def __init__(
        self, scope: Construct, construct_id: str, platform: Platform, *, storage: Storage, authorizer: PythonFunction
    ) -> None:
        super().__init__(scope, construct_id)
        config = platform.config
        self._emulator_url = config.emulator_url
        self._throttle = Throttle(config.api_rate_limit, config.api_burst_limit)
        self.api = apigateway.WebSocketApi(
            self,
            "Api",
            api_name=f"{config.stack_name}-websocket",
            route_selection_expression="$request.body.action",
        )
        self.stage = apigateway.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name=_STAGE,
            auto_deploy=True,
            throttle=self._throttle.settings,
        )
        # The account must have a role for that: infra.account makes one, once.
        write_access_log(self.stage, config, WEBSOCKET)

        self.socket = PythonFunction(
            self,
            "Socket",
            platform,
            handler="notify.socket.lambda_handler",
            description="The WebSocket's routes: connect, disconnect, subscribe, ping",
            tells_throttles=True,
            timeout=Duration.seconds(10),
            settings={
                "orders_table": storage.orders.table_name,
                "connections_table": storage.connections.table_name,
                "connections_endpoint": self.endpoint,
                "accounts_table": storage.accounts.table_name,
                "sockets_per_user": config.sockets_per_user,
                "reads_per_minute": config.reads_per_minute,
                "reads_burst": config.reads_burst,
            },
        )
        self.socket.allow(
            ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query"],
            [storage.connections.table_arn],
        )
        self.socket.allow(["dynamodb:GetItem", "dynamodb:BatchGetItem"], [storage.orders.table_arn])
        self.socket.allow(["dynamodb:Query"], [f"{storage.orders.table_arn}/index/{BY_TIME}"])
        # What a user's sockets say beyond the ordinary is counted as reads are.
        self.socket.allow(["dynamodb:UpdateItem"], [storage.accounts.table_arn], leading_keys=["rate#*"])
        # To see whether a socket that counts against its user's limit is still there, beside sending and closing.
        self.allow_push(self.socket, "POST", "DELETE", "GET")

        self._routes(authorizer)
        self.output = CfnOutput(self, "Url", value=self.url, description="Where clients follow their orders")
        self.output.override_logical_id("WebSocketUrl")

    @property
    def url(self) -> str:
        """What clients connect to (wss://…)."""
        if self._emulator_url is not None:
            return self.endpoint.replace("http://", "ws://", 1)
        return self.stage.url

    @property
    def endpoint(self) -> str:
        """Where functions push to (https://…)."""
        if self._emulator_url is not None:
            return f"{self._emulator_url}/_aws/execute-api/{self.api.api_id}/{_STAGE}"
        return self.stage.callback_url

    def allow_push(self, function: PythonFunction, *methods: str) -> None:
        """Let a function send to the sockets of this stage (POST), close them (DELETE) or look after them (GET)."""
        connections = [
            Stack.of(self).format_arn(
                service="execute-api", resource=self.api.api_id, resource_name=f"{_STAGE}/{method}/@connections/*"
            )
            for method in methods
        ]
        function.allow(["execute-api:ManageConnections"], connections)
        for method in methods:
            api = Stack.of(self).get_logical_id(_resource(self.api))
            acknowledge(
                function.role,
                "AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:execute-api:<AWS::Region>:<AWS::AccountId>:"
                f"<{api}>/{_STAGE}/{method}/@connections/*]",
                "API Gateway makes a connection's id when a client connects.",
            )

    def _routes(self, authorizer: PythonFunction) -> None:
        integration = integrations.WebSocketLambdaIntegration("Socket", self.socket.function)
        # No identity source: with one, API Gateway answers 401 wherever it is missing, and a program shows its key in
        # a header while a browser, which cannot set any, shows a ticket in the query string.
        connect = authorizers.WebSocketLambdaAuthorizer("KeysAndTickets", authorizer.function, identity_source=[])
        opening = self.api.add_route("$connect", integration=integration, authorizer=connect)
        # Whoever only knocks must not use up what open sockets send.
        throttle_routes(self.stage, {"$connect": (opening, self._throttle)})
        for key in ("$disconnect", "$default"):
            route = self.api.add_route(key, integration=integration)
            acknowledge(
                route,
                "AwsSolutions-APIG4",
                "A socket is authorised when it connects; API Gateway allows no authorizer on other routes.",
            )


def _resource(api: apigateway.WebSocketApi) -> apigateway.CfnApi:
    resource = api.node.default_child
    assert isinstance(resource, apigateway.CfnApi)
    return resource

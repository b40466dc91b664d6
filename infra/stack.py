"""The whole deployment, put together."""

from __future__ import annotations

from aws_cdk import Environment, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import bundle, sbom
from infra.config import Config
from infra.edge import Edge
from infra.http_api import HttpApi, authorizer_function
from infra.live import Live
from infra.monitoring import Monitoring
from infra.python_function import RUNTIME, Platform, architecture
from infra.queues import Queues
from infra.storage import Storage
from infra.websocket_api import WebSocketApi
from infra.workers import Workers


class OrderEngineStack(Stack):
    def __init__(self, scope: Construct, config: Config, env: Environment) -> None:
        super().__init__(
            scope,
            config.stack_name,
            stack_name=config.stack_name,
            env=env,
            description="Order execution engine for Solana swaps",
            termination_protection=config.protect,
        )
        storage = Storage(self, "Storage", config)
        queues = Queues(self, "Queues", config)
        platform = self._platform(config)
        authorizer = authorizer_function(self, platform, storage)
        websocket = WebSocketApi(self, "WebSocket", platform, storage=storage, authorizer=authorizer)
        http = HttpApi(
            self,
            "Http",
            platform,
            storage=storage,
            queues=queues,
            authorizer=authorizer,
            websocket_url=websocket.url,
        )
        if config.edge is not None:
            Edge(self, "Edge", config, config.edge, http=http, websocket=websocket, authorizer=authorizer)
        workers = Workers(self, "Workers", platform, storage=storage, queues=queues, websocket=websocket)
        if config.live is not None:
            live = Live(self, "Live", config.live, emulated=config.emulator_url is not None)
            live.connect(workers.process, signs=True, sends=True)
            # What is submitted already is sent again.
            live.connect(workers.dead_letters, sends=True)
            live.connect(http.submit)
            live.connect(workers.sweep)
        functions = [
            http.submit,
            authorizer,
            workers.process,
            workers.dead_letters,
            workers.sweep,
            workers.notify,
            websocket.socket,
        ]
        Monitoring(self, "Monitoring", config, http=http, queues=queues, workers=workers, functions=functions)

    def _platform(self, config: Config) -> Platform:
        layer, packages = bundle.build(config.architecture) if config.bundle else bundle.sources()
        if config.bundle:
            parts = {"layer": layer.hash, **{name: built.hash for name, built in packages.items()}}
            sbom.write(bundle.BUILD, parts)
        return Platform(
            config=config,
            layer=lambda_.LayerVersion(
                self,
                "Common",
                description="The engine and its third-party packages",
                code=_asset(layer),
                compatible_runtimes=[RUNTIME],
                compatible_architectures=[architecture(config)],
            ),
            code={package: _asset(built) for package, built in packages.items()},
        )


def _asset(built: bundle.Built) -> lambda_.Code:
    # The hash of what it was made from: the same sources are the same asset, on whatever machine they were built.
    return lambda_.Code.from_asset(str(built.directory), asset_hash=built.hash)

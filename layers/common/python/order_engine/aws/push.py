"""Frames to clients' sockets, over the WebSocket API's management address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from order_engine.aws.clients import call, error_code
from order_engine.engine.ports import ConnectionGone

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

_GONE = {"GoneException", "410"}


class ApiGatewayPush:
    """``Push`` on API Gateway."""

    def __init__(self, client: ApiGatewayManagementApiClient) -> None:
        self._client = client

    async def post(self, connection_id: str, frame: bytes) -> None:
        try:
            await call(self._client.post_to_connection, ConnectionId=connection_id, Data=frame)
        except ClientError as error:
            if error_code(error) in _GONE:
                raise ConnectionGone(connection_id) from error
            raise

    async def close(self, connection_id: str) -> None:
        try:
            await call(self._client.delete_connection, ConnectionId=connection_id)
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise

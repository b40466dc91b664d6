"""What is kept: four tables and the key that signs stream tickets."""

from __future__ import annotations

from aws_cdk import CfnOutput, RemovalPolicy, Tags
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra import encryption
from infra.config import Config
from infra.findings import acknowledge
from infra.python_function import kept

BY_TIME, WORK, EXPIRY, BY_STATUS, ENDS = "by_time", "work", "expiry", "by_status", "ends"


class Storage(Construct):
    """Tables on demand, encrypted, with point-in-time recovery; keys and indexes as the engine's adapters use them."""

    def __init__(self, scope: Construct, construct_id: str, config: Config) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._key = encryption.key(self, config)

        # Ownership is in the key: another user's order cannot even be addressed.
        self.orders = self._table(
            "Orders",
            "user_id",
            "order_id",
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
            # Ended orders have it, where the deployment keeps them for a time only.
            time_to_live="delete_at",
        )
        # KEYS_ONLY: a status change writes no index as long as the order's index keys stay as they are.
        self._index(self.orders, BY_TIME, "user_id", "by_time")
        # Sparse: active and resting orders only, for the sweeper and the price watcher.
        self._index(self.orders, WORK, "work_pk", "work_sk")
        # Sparse: orders with a time limit of their own.
        self._index(self.orders, EXPIRY, "expiry_pk", "expiry_sk")
        # Sparse: a user's limit orders that have not ended, and what failed, was cancelled or expired. A market order
        # that is confirmed is never in it.
        self._index(self.orders, BY_STATUS, "user_id", "by_status")

        self.connections = self._table("Connections", "user_id", "connection_id", time_to_live="expires_at")
        # Sparse: sockets that end before they would anyway, with their key.
        self._index(self.connections, ENDS, "ends_pk", "ends_sk")
        # Rates, statistics and when keys were used: what functions may write.
        self.accounts = self._table("Accounts", "pk", "sk")
        # Credentials apart from all that: no function may write here.
        self.keys = self._table("Keys", "key_hash")

        self.ticket_key = secretsmanager.Secret(
            self,
            "TicketKey",
            description=f"Signs stream tickets of {config.stack_name}",
            encryption_key=self._key,
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
            # Tickets live for a minute: nothing is lost with the key, and a name kept back would block a new stack.
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            self.ticket_key,
            "AwsSolutions-SMG4",
            "The key is shared with nobody and signs tickets that live for a minute; docs say how to rotate it.",
        )
        for output, table, what in (
            ("OrdersTable", self.orders, "The orders"),
            ("KeysTable", self.keys, "Where API keys are kept"),
            ("AccountsTable", self.accounts, "Rates, statistics and when keys were last used"),
            ("ConnectionsTable", self.connections, "Open sockets, which a revocation ends"),
        ):
            name = CfnOutput(self, output, value=table.table_name, description=what)
            name.override_logical_id(output)

    def _table(
        self,
        construct_id: str,
        partition_key: str,
        sort_key: str | None = None,
        *,
        stream: dynamodb.StreamViewType | None = None,
        time_to_live: str | None = None,
    ) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            construct_id,
            partition_key=_text(partition_key),
            sort_key=_text(sort_key) if sort_key else None,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=encryption.of_tables(self._key),
            encryption_key=self._key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            stream=stream,
            time_to_live_attribute=time_to_live,
            removal_policy=kept(self._config),
            deletion_protection=self._config.protect,
        )
        # What it was, for whoever finds it without its stack (infra.adopt).
        Tags.of(table).add("part", construct_id)
        return table

    @staticmethod
    def _index(table: dynamodb.Table, name: str, partition_key: str, sort_key: str) -> None:
        table.add_global_secondary_index(
            index_name=name,
            partition_key=_text(partition_key),
            sort_key=_text(sort_key),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)

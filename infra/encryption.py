"""A key of one's own for everything at rest, and what each function needs to use it.

The key's policy is its owner's: services that work on their own, CloudWatch and CloudWatch Logs, must be allowed there.
docs/deploy.md has the statements.
"""

from __future__ import annotations

from aws_cdk import Aws
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Config

# DynamoDB's list, without wildcards.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
_USE = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
]
# Only through the services that hold the data: the functions have no business with the key itself.
_THROUGH = ("dynamodb", "sqs", "secretsmanager")


def key(scope: Construct, config: Config) -> kms.IKey | None:
    """The deployment's own key; None where AWS's are used. Once in each construct."""
    return None if config.kms_key is None else kms.Key.from_key_arn(scope, "Key", config.kms_key)


def of_tables(own: kms.IKey | None) -> dynamodb.TableEncryption:
    return dynamodb.TableEncryption.AWS_MANAGED if own is None else dynamodb.TableEncryption.CUSTOMER_MANAGED


def of_queues(own: kms.IKey | None) -> sqs.QueueEncryption:
    return sqs.QueueEncryption.SQS_MANAGED if own is None else sqs.QueueEncryption.KMS


def use(config: Config) -> iam.PolicyStatement | None:
    """What a role must be allowed to read and write what the key encrypts; None where it is nobody's own."""
    if config.kms_key is None:
        return None
    return iam.PolicyStatement(
        actions=_USE,
        resources=[config.kms_key],
        conditions={"StringEquals": {"kms:ViaService": [f"{name}.{Aws.REGION}.{Aws.URL_SUFFIX}" for name in _THROUGH]}},
    )

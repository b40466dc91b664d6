"""Making the template's tables, queues and secrets in the simulated services, where they are absent."""

from __future__ import annotations

import json
import secrets
import string
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.cloud.template import Properties, Resource, Template, TemplateError

if TYPE_CHECKING:
    import boto3

_QUEUE_ATTRIBUTES = (
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout",
    "FifoQueue",
    "ContentBasedDeduplication",
)


def provision(template: Template, session: boto3.session.Session) -> None:
    """Make what the template describes and tell the template the names that AWS gives.

    What exists already is left as it is, with its content.

    Raises:
        TemplateError: a resource asks for something that is not simulated.
    """
    for resource in template.of_type("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable"):
        _table(template, session, resource)
    _queues(template, session)
    for resource in template.of_type("AWS::SecretsManager::Secret"):
        _secret(template, session, resource)


def _table(template: Template, session: boto3.session.Session, resource: Resource) -> None:
    client: Any = session.client("dynamodb")
    properties = template.properties(resource)
    name = template.name(resource)
    stream = properties.get("StreamSpecification")
    arguments: dict[str, Any] = {
        "TableName": name,
        "KeySchema": properties["KeySchema"],
        "AttributeDefinitions": properties["AttributeDefinitions"],
        # Capacity makes no difference here.
        "BillingMode": "PAY_PER_REQUEST",
    }
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        if properties.get(kind):
            arguments[kind] = [
                {part: index[part] for part in ("IndexName", "KeySchema", "Projection")} for index in properties[kind]
            ]
    if stream:
        view = stream["StreamViewType"]
        if view != "NEW_AND_OLD_IMAGES":
            raise TemplateError(f"{resource.logical_id}: streams with {view} are not simulated.")
        arguments["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": view}
    try:
        client.create_table(**arguments)
    except client.exceptions.ResourceInUseException:
        pass
    else:
        ttl = properties.get("TimeToLiveSpecification")
        if ttl and ttl.get("Enabled"):
            client.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    described = client.describe_table(TableName=name)["Table"]
    if "LatestStreamArn" in described:
        template.learn(resource.logical_id, "StreamArn", described["LatestStreamArn"])


def _queues(template: Template, session: boto3.session.Session) -> None:
    client: Any = session.client("sqs")
    redrives: dict[str, str] = {}
    for resource in template.of_type("AWS::SQS::Queue"):
        properties = template.properties(resource)
        name = template.name(resource)
        try:
            client.get_queue_url(QueueName=name)
        except client.exceptions.QueueDoesNotExist:
            attributes = {key: _attribute(properties[key]) for key in _QUEUE_ATTRIBUTES if key in properties}
            url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
            if "RedrivePolicy" in properties:
                redrives[url] = _attribute(properties["RedrivePolicy"])
    # A redrive policy names another queue, which must exist before it.
    for url, policy in redrives.items():
        client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})


def _attribute(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _secret(template: Template, session: boto3.session.Session, resource: Resource) -> None:
    client: Any = session.client("secretsmanager")
    properties = template.properties(resource)
    name = template.name(resource)
    try:
        arn = client.describe_secret(SecretId=name)["ARN"]
    except ClientError:
        value = properties.get("SecretString") or generated(properties.get("GenerateSecretString", {}))
        arn = client.create_secret(Name=name, SecretString=value)["ARN"]
    template.learn(resource.logical_id, "Ref", arn)
    template.learn(resource.logical_id, "Id", arn)


def generated(wish: Properties) -> str:
    """A random secret as GenerateSecretString describes it (32 characters unless said otherwise)."""
    groups = {
        "ExcludeUppercase": string.ascii_uppercase,
        "ExcludeLowercase": string.ascii_lowercase,
        "ExcludeNumbers": string.digits,
        "ExcludePunctuation": string.punctuation,
    }
    allowed = "".join(letters for key, letters in groups.items() if not wish.get(key))
    allowed = "".join(letter for letter in allowed if letter not in wish.get("ExcludeCharacters", ""))
    password = "".join(secrets.choice(allowed) for _ in range(int(wish.get("PasswordLength", 32))))
    if "GenerateStringKey" not in wish:
        return password
    return json.dumps({**json.loads(wish.get("SecretStringTemplate", "{}")), wish["GenerateStringKey"]: password})

"""Tiny functions for the tests of the local stack. What they see goes to the queue named by RESULTS_URL."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

type Event = dict[str, Any]


def _note(**what: Any) -> None:
    boto3.client("sqs").send_message(QueueUrl=os.environ["RESULTS_URL"], MessageBody=json.dumps(what))


def echo(event: Event, context: Any) -> Event:
    """HTTP: answers with its event, or as the query ``as`` says."""
    match (event.get("queryStringParameters") or {}).get("as"):
        case "plain":
            return {"hello": "world"}
        case "full":
            return {
                "statusCode": 201,
                "headers": {"X-One": "1", "Content-Type": "text/css"},
                "cookies": ["a=1; Path=/", "b=2"],
                "body": "AAH/",
                "isBase64Encoded": True,
            }
        case "cors":
            return {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}, "body": "{}"}
        case "crash":
            raise RuntimeError("as asked")
        case "context":
            return {
                "statusCode": 200,
                "body": json.dumps(
                    {
                        "name": context.function_name,
                        "arn": context.invoked_function_arn,
                        "memory": context.memory_limit_in_mb,
                        "requestId": context.aws_request_id,
                        "stream": context.log_stream_name,
                        "left": context.get_remaining_time_in_millis(),
                        "pid": os.getpid(),
                        "greeting": os.environ.get("GREETING"),
                    }
                ),
            }
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}


def slow(event: Event, context: Any) -> Event:
    """HTTP: takes longer than its timeout."""
    time.sleep(float((event.get("queryStringParameters") or {}).get("seconds", "2")))
    return {"statusCode": 200, "body": "done"}


def authorize(event: Event, context: Any) -> Event:
    """HTTP API, simple responses."""
    [token] = event["identitySource"]
    _note(authorizer=event)
    if token == "Bearer crash":
        raise RuntimeError("as asked")
    return {"isAuthorized": token.startswith("Bearer good"), "context": {"userId": token.removeprefix("Bearer good-")}}


def authorize_socket(event: Event, context: Any) -> Event:
    """WebSocket API, IAM policies."""
    user = (event.get("queryStringParameters") or {}).get("user", "")
    statement = {"Action": "execute-api:Invoke", "Effect": "Deny" if user == "mallory" else "Allow"}
    statement["Resource"] = event["methodArn"]
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": user, "policyDocument": policy, "context": {"userId": user}}


def socket(event: Event, context: Any) -> Event:
    """WebSocket: posts during $connect (in vain), answers messages over the management address."""
    request = event["requestContext"]
    kind, connection = request["routeKey"], request["connectionId"]
    gateway = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["CONNECTIONS_ENDPOINT"])
    if kind == "$connect":
        try:
            gateway.post_to_connection(ConnectionId=connection, Data=b"too early")
            outcome = "posted"
        except ClientError as error:
            outcome = error.response["Error"]["Code"]
        _note(route=kind, event=event, early=outcome)
        return {"statusCode": 500 if (event.get("queryStringParameters") or {}).get("user") == "unlucky" else 200}
    if kind == "$disconnect":
        _note(route=kind, event=event)
        return {"statusCode": 200}
    if event["body"] == "crash":
        raise RuntimeError("as asked")
    gateway.post_to_connection(ConnectionId=connection, Data=json.dumps(event).encode())
    return {"statusCode": 200}


def batch(event: Event, context: Any) -> Event:
    """Queue: reports the messages whose body says "fail", raises if one says "crash", sleeps "slow N"."""
    bodies = [record["body"] for record in event["Records"]]
    _note(bodies=bodies, event=event, pid=os.getpid(), at=time.time())
    if "crash" in bodies:
        raise RuntimeError("as asked")
    for body in bodies:
        if body.startswith("slow"):
            time.sleep(float(body.split()[1]))
    failed = [record["messageId"] for record in event["Records"] if record["body"] == "fail"]
    return {"batchItemFailures": [{"itemIdentifier": failure} for failure in failed]}


def confused(event: Event, context: Any) -> Event:
    """Queue: reports a message that it never got."""
    return {"batchItemFailures": [{"itemIdentifier": "no such message"}]}


def stream(event: Event, context: Any) -> Event:
    """Stream: raises if an image has the attribute "crash"; reports from the first that has "fail" on."""
    images = [record["dynamodb"].get("NewImage", {}) for record in event["Records"]]
    _note(stream=[image.get("n", {}).get("N") for image in images], event=event, at=time.time())
    if any("crash" in image for image in images):
        raise RuntimeError("as asked")
    failed = [
        record["dynamodb"]["SequenceNumber"]
        for record, image in zip(event["Records"], images, strict=True)
        if "fail" in image
    ]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def tick(event: Event, context: Any) -> None:
    """Schedule."""
    _note(tick=event)

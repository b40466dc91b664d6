"""What is deployed: the parts on which exactly-once, safety and cost rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from infra import bundle
from infra.synth import synth
from order_engine.engine.stats import REMEMBERED_MINUTES
from order_engine.settings import Settings, names
from tests.infra.conftest import Synthesise
from tests.infra.template import Stack, text

HANDLERS = (
    "submit.handler.lambda_handler",
    "submit.authorizer.lambda_handler",
    "process.handler.lambda_handler",
    "process.dead_letters.lambda_handler",
    "process.sweep.lambda_handler",
    "notify.handler.lambda_handler",
    "notify.socket.lambda_handler",
)
PROCESS, DEAD_LETTERS, SWEEP = HANDLERS[2:5]
SUBMIT, AUTHORIZER = HANDLERS[:2]
NOTIFY, SOCKET = HANDLERS[5:]

DAY = 86_400
_MAPPING = "AWS::Lambda::EventSourceMapping"


# --- data --------------------------------------------------------------------------------------------------------


def test_every_table_is_encrypted_recoverable_and_paid_by_use(stack: Stack) -> None:
    tables = stack.of_type("AWS::DynamoDB::Table")
    assert len(tables) == 4
    for table in tables.values():
        properties = table["Properties"]
        assert properties["SSESpecification"] == {"SSEEnabled": True}
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert properties["BillingMode"] == "PAY_PER_REQUEST"


def test_orders_have_the_keys_and_indexes_that_the_adapters_use(stack: Stack) -> None:
    _, orders = stack.target(stack.function(PROCESS)[1]["Environment"]["Variables"]["ORDERS_TABLE"])
    assert [key["AttributeName"] for key in orders["KeySchema"]] == ["user_id", "order_id"]
    assert orders["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    indexes = {index["IndexName"]: index for index in orders["GlobalSecondaryIndexes"]}
    keys = {name: [key["AttributeName"] for key in index["KeySchema"]] for name, index in indexes.items()}
    assert keys == {
        "by_time": ["user_id", "by_time"],
        "work": ["work_pk", "work_sk"],
        "expiry": ["expiry_pk", "expiry_sk"],
        "by_status": ["user_id", "by_status"],
    }
    # Anything more in an index would be paid for at every status change.
    assert all(index["Projection"] == {"ProjectionType": "KEYS_ONLY"} for index in indexes.values())
    assert {item["AttributeType"] for item in orders["AttributeDefinitions"]} == {"S"}


def test_sockets_are_forgotten_by_themselves(stack: Stack) -> None:
    _, table = stack.target(stack.function(SOCKET)[1]["Environment"]["Variables"]["CONNECTIONS_TABLE"])
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    # Sparse and of keys alone: whoever looks for what has ended pays for what has ended.
    (index,) = table["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["Projection"]) == ("ends", {"ProjectionType": "KEYS_ONLY"})
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["ends_pk", "ends_sk"]


def test_the_data_of_prod_outlive_the_stack_and_those_of_dev_do_not(stack: Stack, prod: Stack) -> None:
    assert {table["DeletionPolicy"] for table in stack.of_type("AWS::DynamoDB::Table").values()} == {"Delete"}
    for table in prod.of_type("AWS::DynamoDB::Table").values():
        # Those of a first deployment that fails have nothing in them, and go with it.
        assert (table["DeletionPolicy"], table["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
        assert table["Properties"]["DeletionProtectionEnabled"] is True


def test_a_first_deployment_can_be_rolled_back(synthesise: Synthesise, prod: Stack) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html"""
    first = synthesise(stage="prod", protect="false")
    for deployed, protected in ((first, False), (prod, True)):
        tables = deployed.of_type("AWS::DynamoDB::Table").values()
        assert {table["Properties"]["DeletionProtectionEnabled"] for table in tables} == {protected}
        manifest = json.loads((deployed.path.parent / "manifest.json").read_text())
        properties = manifest["artifacts"]["order-engine-prod"]["properties"]
        assert properties.get("terminationProtection", False) is protected
    kept = {item.get("DeletionPolicy") for item in first.content["Resources"].values()}
    assert "Retain" not in kept


# --- queues ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", [PROCESS, DEAD_LETTERS])
def test_a_message_stays_hidden_for_six_times_the_timeout_of_its_consumer(stack: Stack, handler: str) -> None:
    _, queue = stack.target(stack.source_of(handler)["EventSourceArn"])
    assert queue["VisibilityTimeout"] == 6 * stack.function(handler)[1]["Timeout"]


@pytest.mark.parametrize("handler", [PROCESS, DEAD_LETTERS])
def test_whoever_executes_orders_is_stopped_before_its_lease_is_over(stack: Stack, handler: str) -> None:
    """Also the consumer of the dead letters: what it holds for minutes, the sweeper hands to another meanwhile."""
    assert stack.function(handler)[1]["Timeout"] * 1000 < Settings().execution.lease_ms


def test_what_the_order_queue_gives_up_on_is_kept_longer_than_it_could_wait_there(stack: Stack) -> None:
    orders_id, orders = stack.queue("Orders")
    dead_id, dead = stack.target(orders["RedrivePolicy"]["deadLetterTargetArn"])
    assert orders_id.startswith("QueuesOrders")
    assert dead_id.startswith("QueuesDeadLetters")
    assert dead["MessageRetentionPeriod"] == 14 * DAY > orders["MessageRetentionPeriod"]
    # Attempts are counted on the order: one and three retries. The queue must not give up before.
    assert orders["RedrivePolicy"]["maxReceiveCount"] == 10 > 1 + Settings().execution.max_retries


def test_what_nobody_can_resolve_ends_in_quarantine(stack: Stack) -> None:
    _, dead = stack.queue("DeadLetters")
    name, quarantine = stack.target(dead["RedrivePolicy"]["deadLetterTargetArn"])
    assert name.startswith("QueuesQuarantine")
    assert quarantine["MessageRetentionPeriod"] == 14 * DAY
    assert "RedrivePolicy" not in quarantine


def test_every_queue_is_encrypted_and_refuses_plain_connections(stack: Stack) -> None:
    queues = stack.of_type("AWS::SQS::Queue")
    assert len(queues) == 4
    assert all(queue["Properties"]["SqsManagedSseEnabled"] is True for queue in queues.values())
    refusing = {
        policy["Properties"]["Queues"][0]["Ref"]
        for policy in stack.of_type("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if (statement["Effect"], statement["Action"]) == ("Deny", "sqs:*")
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert refusing == set(queues)


# --- what feeds the functions --------------------------------------------------------------------------------------


def test_the_source_delivers_no_more_than_is_reserved(synthesise: Synthesise, stack: Stack) -> None:
    for deployed, expected in ((stack, 10), (synthesise(reservedConcurrency="25", batchSize="3"), 25)):
        assert deployed.function(PROCESS)[1]["ReservedConcurrentExecutions"] == expected
        assert deployed.source_of(PROCESS)["ScalingConfig"] == {"MaximumConcurrency": expected}
    assert deployed.source_of(PROCESS)["BatchSize"] == 3


def test_an_account_with_a_low_limit_reserves_nothing_and_is_limited_all_the_same(prod: Stack) -> None:
    reserving = [
        item
        for item in prod.of_type("AWS::Lambda::Function").values()
        if "ReservedConcurrentExecutions" in item["Properties"]
    ]
    assert reserving == []
    # A few: what the workers take there, the functions that answer do not have.
    assert prod.source_of(PROCESS)["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_where_nothing_is_reserved_the_schedule_alone_wakes_the_sweeper(prod: Stack) -> None:
    """Each of the stream's shards could start a run of its own, and there is room for few."""
    name, _ = prod.function(SWEEP)
    mappings = prod.of_type(_MAPPING).values()
    assert [item for item in mappings if item["Properties"]["FunctionName"] == {"Ref": name}] == []


@pytest.mark.parametrize("handler", [PROCESS, DEAD_LETTERS, NOTIFY])
def test_one_bad_message_does_not_bring_back_its_whole_batch(stack: Stack, handler: str) -> None:
    assert stack.source_of(handler)["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_stream_is_followed_from_its_beginning_and_never_blocked_for_ever(stack: Stack) -> None:
    source = stack.source_of(NOTIFY)
    assert source["StartingPosition"] == "TRIM_HORIZON"
    assert source["BisectBatchOnFunctionError"] is True
    assert 0 < source["MaximumRetryAttempts"] < 10_000
    assert 60 <= source["MaximumRecordAgeInSeconds"] <= 3600
    assert text(source["EventSourceArn"]).endswith(".StreamArn>")
    name, _ = stack.target(source["DestinationConfig"]["OnFailure"]["Destination"])
    assert name == stack.queue("StreamFailures")[0]


def test_a_record_that_comes_again_does_so_while_statistics_remember_it(stack: Stack) -> None:
    last_s = stack.source_of(NOTIFY)["MaximumRecordAgeInSeconds"] + stack.function(NOTIFY)[1]["Timeout"]
    # An event's time is a little before its record's, by the worker's clock and the write's retries.
    assert last_s + 120 <= REMEMBERED_MINUTES * 60


def test_the_pusher_has_processor_for_its_first_frames(stack: Stack) -> None:
    """A function's processor is in proportion to its memory, and a cold one opens a connection for each frame."""
    assert stack.function(NOTIFY)[1]["MemorySize"] >= 512


def test_deletions_do_not_wake_the_pusher(stack: Stack) -> None:
    (pattern,) = stack.source_of(NOTIFY)["FilterCriteria"]["Filters"]
    assert json.loads(pattern["Pattern"]) == {"eventName": ["INSERT", "MODIFY"]}


def test_the_sweeper_runs_every_minute_alone_and_is_not_repeated(stack: Stack) -> None:
    name, function = stack.function(SWEEP)
    _, rule = stack.one("AWS::Events::Rule")
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert [stack.target(target["Arn"])[0] for target in rule["Targets"]] == [name]
    assert (function["Timeout"], function["ReservedConcurrentExecutions"]) == (60, 1)
    _, retries = stack.one("AWS::Lambda::EventInvokeConfig")
    assert retries["FunctionName"] == {"Ref": name}
    assert (retries["MaximumRetryAttempts"], retries["MaximumEventAgeInSeconds"]) == (0, 60)


def test_whatever_is_placed_wakes_the_sweeper_a_little_later(stack: Stack) -> None:
    """By then most market orders have ended, so that they pay for one look and not for a run."""
    source = stack.source_of(SWEEP)
    assert text(source["EventSourceArn"]) == text(stack.source_of(NOTIFY)["EventSourceArn"])
    (pattern,) = [json.loads(entry["Pattern"]) for entry in source["FilterCriteria"]["Filters"]]
    assert pattern == {"eventName": ["INSERT"]}
    settings = Settings()
    assert settings.paper.landing_max_ms < 1000 * source["MaximumBatchingWindowInSeconds"] <= 5_000
    # What a run was not given it finds in the table: a record is worth nothing a minute later.
    assert source["MaximumRecordAgeInSeconds"] == 60
    assert source["MaximumRetryAttempts"] < 10
    assert "DestinationConfig" not in source


def test_a_stream_has_no_more_readers_than_it_may_have(stack: Stack) -> None:
    """Two at once; with a third, all are throttled: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html"""
    sources = [text(item["Properties"]["EventSourceArn"]) for item in stack.of_type(_MAPPING).values()]
    assert sum(arn.endswith(".StreamArn>") for arn in sources) == 2


# --- functions ---------------------------------------------------------------------------------------------------


def test_every_function_is_made_the_same_way(stack: Stack) -> None:
    functions = stack.of_type("AWS::Lambda::Function")
    assert {item["Properties"]["Handler"] for item in functions.values()} == set(HANDLERS)
    groups = set()
    for item in functions.values():
        properties = item["Properties"]
        assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["arm64"])
        # A trace each minute would cost an idle stage more than all that the sweeper does there.
        traced = properties["Handler"] != SWEEP
        assert properties.get("TracingConfig", {"Mode": "PassThrough"})["Mode"] == (
            "Active" if traced else "PassThrough"
        )
        assert properties["LoggingConfig"]["LogFormat"] == "JSON"
        name, group = stack.target(properties["LoggingConfig"]["LogGroup"])
        assert group["RetentionInDays"] == 30
        groups.add(name)
    assert len(groups) == len(HANDLERS)


def test_environments_hold_settings_only(stack: Stack, prod: Stack) -> None:
    for deployed in (stack, prod):
        for item in deployed.of_type("AWS::Lambda::Function").values():
            variables = item["Properties"]["Environment"]["Variables"]
            plain = {name: value if isinstance(value, str) else "x" for name, value in variables.items()}
            assert {name.lower() for name in plain} <= {name.lower() for name in names()}
            Settings.load(plain)


def test_functions_agree_on_what_a_setting_is(stack: Stack) -> None:
    seen: dict[str, str] = {}
    for item in stack.of_type("AWS::Lambda::Function").values():
        for name, value in item["Properties"]["Environment"]["Variables"].items():
            assert seen.setdefault(name, text(value)) == text(value), name


def test_settings_of_the_paper_market_reach_all_who_see_it(synthesise: Synthesise) -> None:
    deployed = synthesise(failureRate="0", marketSeed="7", quoteDelayMs="50")
    for handler in (SUBMIT, PROCESS, DEAD_LETTERS, SWEEP):
        settings = Settings.load(
            {k: v for k, v in deployed.function(handler)[1]["Environment"]["Variables"].items() if isinstance(v, str)}
        )
        assert (settings.paper.failure_rate, settings.paper.market_seed, settings.paper.quote_delay_ms) == (0, 7, 50)


def test_submit_starts_from_snapshots_of_published_versions(stack: Stack) -> None:
    name, function = stack.function(SUBMIT)
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    alias_name, alias = stack.one("AWS::Lambda::Alias", Name="live")
    assert alias["FunctionName"] == {"Ref": name}
    _, route = stack.one("AWS::ApiGatewayV2::Route", RouteKey="ANY /api/{proxy+}")
    integration = text(route["Target"]).removeprefix("integrations/").strip("<>")
    assert stack.content["Resources"][integration]["Properties"]["IntegrationUri"] == {"Ref": alias_name}


def test_changed_settings_publish_another_version(synthesise: Synthesise, stack: Stack) -> None:
    changed = synthesise(ordersPerMinute="7")
    (one,), (other,) = (deployed.of_type("AWS::Lambda::Version") for deployed in (stack, changed))
    assert one != other


def test_changed_code_in_the_layer_publishes_another_version(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, packages = bundle.sources()
    monkeypatch.setattr(bundle, "sources", lambda: (replace(layer, hash="changed"), packages))
    changed = json.loads(synth(tmp_path, {"bundle": False}).read_text())["Resources"]
    versions = {name for name, item in changed.items() if item["Type"] == "AWS::Lambda::Version"}
    assert len(versions) == 1
    assert versions.isdisjoint(stack.of_type("AWS::Lambda::Version"))


def test_outputs_tell_where_everything_is(stack: Stack) -> None:
    outputs = {name: text(output["Value"]) for name, output in stack.content["Outputs"].items()}
    queues = {"OrdersQueue", "DeadLettersQueue", "QuarantineQueue", "StreamFailuresQueue"}
    tables = {"OrdersTable", "KeysTable", "AccountsTable", "ConnectionsTable"}
    assert set(outputs) == {"HttpUrl", "WebSocketUrl", *tables, *queues}
    for name in queues:
        assert outputs[name] == f"<{stack.queue(name.removesuffix('Queue'))[0]}>"
    assert outputs["WebSocketUrl"].startswith("wss://")
    assert outputs["WebSocketUrl"].endswith("/live")


# --- who may do what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_function_may_do_nothing_by_wildcard(stack: Stack, handler: str) -> None:
    no_resource = {"xray:PutTraceSegments", "xray:PutTelemetryRecords", "dynamodb:ListStreams"}
    for statement in stack.statements(handler):
        assert statement.effect == "Allow"
        assert not any("*" in action for action in statement.actions)
        if "*" in statement.resources:
            assert set(statement.actions) <= no_resource
        for resource in statement.resources:
            # A connection's id is made when a client connects.
            assert "*" not in resource.removesuffix("/@connections/*") or resource == "*"


def test_every_function_has_a_role_of_its_own_without_managed_policies(stack: Stack) -> None:
    roles = [stack.target(stack.function(handler)[1]["Role"]) for handler in HANDLERS]
    assert len({name for name, _ in roles}) == len(HANDLERS)
    for _, role in roles:
        assert "ManagedPolicyArns" not in role
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


ALLOWED = {
    SUBMIT: {
        "orders": {"PutItem", "GetItem", "BatchGetItem", "UpdateItem"},
        "orders/index/by_time": {"Query"},
        "orders/index/by_status": {"Query"},
        "orders/index/work": {"Query"},
        "accounts rate#*": {"UpdateItem"},
        "accounts stats#*": {"Query"},
        "queue orders": {"SendMessage", "GetQueueAttributes"},
        "queue dead letters": {"GetQueueAttributes"},
        "secret": {"GetSecretValue"},
    },
    AUTHORIZER: {
        "keys": {"GetItem"},
        "accounts key#*": {"GetItem"},
        "accounts used#*": {"UpdateItem"},
        "secret": {"GetSecretValue"},
    },
    PROCESS: {
        "orders": {"GetItem", "UpdateItem"},
        "queue orders": {"ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility"},
        "queue quarantine": {"SendMessage"},
    },
    DEAD_LETTERS: {
        "orders": {"GetItem", "UpdateItem"},
        "queue dead letters": {"ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility"},
        "queue quarantine": {"SendMessage"},
    },
    SWEEP: {
        "orders": {"BatchGetItem", "UpdateItem"},
        "orders/index/work": {"Query", "Scan"},
        "orders/index/expiry": {"Query"},
        "connections/index/ends": {"Query"},
        "connections": {"DeleteItem"},
        "sockets DELETE": {"ManageConnections"},
        "orders stream": {"DescribeStream", "GetRecords", "GetShardIterator"},
        "*": {"ListStreams"},
        "queue orders": {"SendMessage", "GetQueueAttributes"},
    },
    NOTIFY: {
        "orders stream": {"DescribeStream", "GetRecords", "GetShardIterator"},
        "*": {"ListStreams"},
        "connections": {"Query", "UpdateItem", "DeleteItem"},
        "accounts stats#*": {"UpdateItem"},
        "queue stream failures": {"SendMessage"},
        "sockets POST": {"ManageConnections"},
        "sockets DELETE": {"ManageConnections"},
    },
    SOCKET: {
        "orders": {"GetItem", "BatchGetItem"},
        "orders/index/by_time": {"Query"},
        "connections": {"PutItem", "UpdateItem", "DeleteItem", "Query"},
        # What a user's sockets may say is limited by user.
        "accounts rate#*": {"UpdateItem"},
        "sockets POST": {"ManageConnections"},
        "sockets DELETE": {"ManageConnections"},
        "sockets GET": {"ManageConnections"},
    },
}


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_function_may_do_what_it_does_and_nothing_else(stack: Stack, handler: str) -> None:
    allowed: dict[str, set[str]] = {}
    for statement in stack.statements(handler):
        actions = {action for action in statement.actions if action.partition(":")[0] not in ("logs", "xray")}
        for resource in statement.resources if actions else ():
            spoken = " ".join((_spoken(stack, resource), *statement.leading_keys))
            allowed.setdefault(spoken, set()).update(action.partition(":")[2] for action in actions)
    assert allowed == ALLOWED[handler]


def _spoken(stack: Stack, resource: str) -> str:
    """A resource as the list above calls it."""
    names = {
        f"<{name}.Arn>": spoken
        for beginning, spoken in {
            "StorageOrders": "orders",
            "StorageConnections": "connections",
            "StorageAccounts": "accounts",
            "StorageKeys": "keys",
            "QueuesOrders": "queue orders",
            "QueuesDeadLetters": "queue dead letters",
            "QueuesQuarantine": "queue quarantine",
            "QueuesStreamFailures": "queue stream failures",
        }.items()
        for name in stack.content["Resources"]
        if name.startswith(beginning)
        and stack.content["Resources"][name]["Type"] in ("AWS::DynamoDB::Table", "AWS::SQS::Queue")
    }
    for arn, spoken in names.items():
        if resource.startswith(arn):
            return spoken + resource.removeprefix(arn)
        if resource == arn.replace(".Arn>", ".StreamArn>"):
            return f"{spoken} stream"
    if resource.startswith("<StorageTicketKey"):
        return "secret"
    for method in ("POST", "DELETE", "GET"):
        if resource.endswith(f">/live/{method}/@connections/*"):
            return f"sockets {method}"
    return resource


# --- monitoring --------------------------------------------------------------------------------------------------


# What tells of a function's trouble where no alarm on the function itself does: alarms cost by the metric.
TOLD_OTHERWISE = {
    (SUBMIT, "Throttles"): "5xx",
    (PROCESS, "Throttles"): "ApproximateAgeOfOldestMessage",
    (DEAD_LETTERS, "Errors"): "ApproximateNumberOfMessagesVisible",
    (DEAD_LETTERS, "Throttles"): "ApproximateNumberOfMessagesVisible",
    # A run that is under way throttles the stream's trigger, which is as it should be.
    (SWEEP, "Throttles"): "Invocations",
    (NOTIFY, "Throttles"): "IteratorAge",
}


def test_every_function_has_alarms_on_errors_and_throttles_or_something_else_tells(stack: Stack) -> None:
    watched = {
        (item["Properties"]["MetricName"], text(dimension["Value"]).strip("<>"))
        for item in stack.of_type("AWS::CloudWatch::Alarm").values()
        for dimension in item["Properties"].get("Dimensions", ())
    }
    for handler in HANDLERS:
        name, _ = stack.function(handler)
        for metric in ("Errors", "Throttles"):
            instead = TOLD_OTHERWISE.get((handler, metric))
            assert ((metric, name) in watched) is (instead is None), (handler, metric)
            assert instead is None or instead in {metric for metric, _ in watched}
    for queue in ("DeadLetters", "Quarantine", "StreamFailures"):
        assert ("ApproximateNumberOfMessagesVisible", f"{stack.queue(queue)[0]}.QueueName") in watched
    assert ("ApproximateAgeOfOldestMessage", f"{stack.queue('Orders')[0]}.QueueName") in watched
    assert ("IteratorAge", stack.function(NOTIFY)[0]) in watched


def test_a_sweeper_that_stops_is_told_of_and_one_that_has_not_begun_is_not(prod: Stack) -> None:
    """Silence is the news here, and nowhere else. A new alarm has insufficient data, and tells changes only.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    """
    alarms = {name: item["Properties"] for name, item in prod.of_type("AWS::CloudWatch::Alarm").items()}
    assert {alarm["TreatMissingData"] for alarm in alarms.values()} == {"missing", "notBreaching"}
    (silent,) = [alarm for alarm in alarms.values() if alarm["TreatMissingData"] == "missing"]
    assert (silent["MetricName"], silent["ComparisonOperator"], silent["Threshold"]) == (
        "Invocations",
        "LessThanThreshold",
        1,
    )
    assert text(silent["Dimensions"][0]["Value"]).strip("<>") == prod.function(SWEEP)[0]
    # Longer than the schedule's beat by far, so that one late minute is no news.
    assert (silent["Period"], silent["EvaluationPeriods"]) == (60, 5)
    _, rule = prod.one("AWS::Events::Rule")
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    topic, _ = prod.one("AWS::SNS::Topic")
    told = {
        name: alarm["InsufficientDataActions"] for name, alarm in alarms.items() if "InsufficientDataActions" in alarm
    }
    assert list(told.values()) == [[{"Ref": topic}]]
    assert alarms[next(iter(told))] is silent


def test_the_failure_rate_is_known_also_when_nothing_confirms(stack: Stack) -> None:
    """A metric that is not written in a period is missing there, and so is every expression of it."""
    (metrics,) = [
        item["Properties"]["Metrics"]
        for item in stack.of_type("AWS::CloudWatch::Alarm").values()
        if "Metrics" in item["Properties"]
    ]
    (expression,) = [metric["Expression"] for metric in metrics if "Expression" in metric]
    filled = expression.replace("FILL(failed, 0)", "").replace("FILL(confirmed, 0)", "")
    assert filled != expression
    assert "failed" not in filled
    assert "confirmed" not in filled


def test_the_dashboard_shows_orders_queues_streams_and_concurrency(stack: Stack) -> None:
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    body = text(dashboard["Properties"]["DashboardBody"])
    for metric in (
        "Accepted",
        "Confirmed",
        "Failed",
        "Retries",
        "LatencyMs",
        "Won_raydium",
        "Won_meteora",
        "ApproximateAgeOfOldestMessage",
        "IteratorAge",
        "ConcurrentExecutions",
    ):
        assert f'"{metric}"' in body, metric


def test_alarms_reach_a_person_only_where_one_is_named(stack: Stack, prod: Stack) -> None:
    assert stack.of_type("AWS::SNS::Topic") == {}
    topic, _ = prod.one("AWS::SNS::Topic")
    _, subscription = prod.one("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    for item in prod.of_type("AWS::CloudWatch::Alarm").values():
        assert item["Properties"]["AlarmActions"] == [{"Ref": topic}]

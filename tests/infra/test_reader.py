"""For the next reader of the account: tags, a budget, a key of one's own, lifetimes, and what it is all made of."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra import sbom
from infra.config import Config, ConfigError
from order_engine.settings import Settings
from order_engine.version import VERSION
from tests.infra.conftest import Synthesise
from tests.infra.template import Stack, text

KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f0e0d0c-1111-2222-3333-444455556666"


@pytest.fixture(scope="module")
def keyed(synthesise: Synthesise) -> Stack:
    return synthesise(
        stage="prod",
        alarmEmail="ops@example.com",
        monthlyBudget="50",
        costCenter="trading 7",
        orderRetentionDays="90",
        kmsKey=KEY,
        region="eu-central-1",
    )


def test_everything_that_takes_tags_says_what_it_belongs_to(keyed: Stack, stack: Stack) -> None:
    tagged = 0
    for item in keyed.content["Resources"].values():
        found = item.get("Properties", {}).get("Tags")
        if isinstance(found, list):
            tags = {tag["Key"]: tag["Value"] for tag in found}
            assert tags.items() >= {
                ("application", "order-engine"),
                ("stage", "prod"),
                ("version", VERSION),
                ("cost-center", "trading 7"),
            }
            tagged += 1
    assert tagged > 30
    for item in stack.of_type("AWS::DynamoDB::Table").values():
        assert "cost-center" not in {tag["Key"] for tag in item["Properties"]["Tags"]}


def test_a_budget_of_this_stack_tells_whoever_is_told_of_alarms(keyed: Stack, prod: Stack) -> None:
    assert prod.of_type("AWS::Budgets::Budget") == {}
    _, budget = keyed.one("AWS::Budgets::Budget")
    limits = budget["Budget"]
    # A budget's name is one of the whole account, and the stage may be in two regions while it moves:
    # https://docs.aws.amazon.com/botocore/latest/reference/services/budgets/client/exceptions/DuplicateRecordException.html
    from infra.budget import named

    assert limits["BudgetName"] == named("order-engine-prod", "eu-central-1", "ops@example.com")
    assert limits["BudgetName"].startswith("order-engine-prod-eu-central-1-monthly-")
    assert limits["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    assert limits["CostFilters"] == {"TagKeyValue": ["aws:cloudformation:stack-name$order-engine-prod"]}
    told = [
        (item["Notification"]["NotificationType"], item["Notification"]["Threshold"], item["Subscribers"])
        for item in budget["NotificationsWithSubscribers"]
    ]
    subscriber = [{"Address": "ops@example.com", "SubscriptionType": "EMAIL"}]
    assert told == [("ACTUAL", 80, subscriber), ("FORECASTED", 100, subscriber)]
    # Whom it tells cannot be changed in place, and what takes its place must not have its name:
    # https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/365
    assert limits["BudgetName"] != named("order-engine-prod", "eu-central-1", "others@example.com")
    with pytest.raises(ConfigError, match="monthlyBudget needs alarmEmail"):
        Config.from_context({"monthlyBudget": "50"})


def test_every_log_has_an_end(keyed: Stack, prod: Stack, stack: Stack) -> None:
    for deployed, days in ((stack, 30), (prod, 365), (keyed, 30)):
        groups = deployed.of_type("AWS::Logs::LogGroup").values()
        assert {group["Properties"].get("RetentionInDays") for group in groups} == {days}
        assert len(groups) >= 9


def test_everything_at_rest_is_encrypted_with_the_given_key(keyed: Stack) -> None:
    for item in keyed.of_type("AWS::DynamoDB::Table").values():
        assert item["Properties"]["SSESpecification"] == {
            "KMSMasterKeyId": KEY,
            "SSEEnabled": True,
            "SSEType": "KMS",
        }
    for item in keyed.of_type("AWS::SQS::Queue").values():
        assert item["Properties"]["KmsMasterKeyId"] == KEY
    for item in keyed.of_type("AWS::Logs::LogGroup").values():
        assert item["Properties"]["KmsKeyId"] == KEY
    for kind, name in (("AWS::SNS::Topic", "KmsMasterKeyId"), ("AWS::SecretsManager::Secret", "KmsKeyId")):
        _, properties = keyed.one(kind)
        assert properties[name] == KEY


def test_each_function_may_use_the_key_through_what_it_encrypts_and_not_else(keyed: Stack, prod: Stack) -> None:
    roles = {text(item["Properties"]["Role"]) for item in keyed.of_type("AWS::Lambda::Function").values()}
    allowed = set()
    for item in keyed.of_type("AWS::IAM::Policy").values():
        for statement in item["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if any(action.startswith("kms:") for action in actions):
                assert statement["Resource"] == KEY
                assert all("*" not in action for action in actions)
                through = statement["Condition"]["StringEquals"]["kms:ViaService"]
                assert [text(service).partition(".")[0] for service in through] == ["dynamodb", "sqs", "secretsmanager"]
                allowed |= {f"<{role['Ref']}.Arn>" for role in item["Properties"]["Roles"]}
    assert allowed == roles
    assert "kms:" not in json.dumps(prod.content)


@pytest.mark.parametrize("key", ["alias/orders", KEY.replace("key/", "alias/"), "0f0e0d0c", KEY + "/x", "*"])
def test_a_key_is_named_by_its_arn(key: str) -> None:
    with pytest.raises(ConfigError, match="kmsKey must be the ARN"):
        Config.from_context({"kmsKey": key})


def test_ended_orders_are_deleted_only_where_a_deployment_wants_it(keyed: Stack, stack: Stack) -> None:
    for deployed, days in ((stack, 0), (keyed, 90)):
        tables = [item["Properties"] for item in deployed.of_type("AWS::DynamoDB::Table").values()]
        (orders,) = [item for item in tables if "StreamSpecification" in item]
        assert orders["TimeToLiveSpecification"] == {"AttributeName": "delete_at", "Enabled": True}
        writers = 0
        for item in deployed.of_type("AWS::Lambda::Function").values():
            plain = {
                name: value if isinstance(value, str) else "x"
                for name, value in item["Properties"]["Environment"]["Variables"].items()
            }
            # Whoever may end an order writes until when it is kept.
            if "ORDERS_QUEUE_URL" in plain or "DEAD_LETTERS_QUEUE_URL" in plain:
                assert Settings.load(plain).order_retention_days == days
                writers += 1
        assert writers == 4


# --- what it is made of ----------------------------------------------------------------------------------------------


PARTS = {"layer": "a" * 64, "submit": "b" * 64, "process": "c" * 64, "notify": "d" * 64}


def test_the_bill_names_every_pinned_package_and_every_part_and_is_valid() -> None:
    pinned = sbom.REQUIREMENTS.read_text(encoding="utf-8")
    written = sbom.bill(pinned, PARTS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    document = json.loads(written)
    packages = {item["purl"] for item in document["components"] if "purl" in item}
    assert packages == {f"pkg:pypi/{item.name}@{str(item.specifier)[2:]}" for item in sbom.packages(pinned)}
    assert any(package.startswith("pkg:pypi/boto3@") for package in packages)
    assert {item["name"] for item in document["components"] if "purl" not in item} == set(PARTS)
    assert document["metadata"]["component"]["version"] == VERSION
    depends = {item["ref"]: set(item.get("dependsOn", ())) for item in document["dependencies"]}
    assert depends["order-engine"] == {"layer", "function:submit", "function:process", "function:notify"}
    assert depends["layer"] == packages
    assert "http" not in written.replace("http://cyclonedx.org/", "")


def test_the_same_sources_have_the_same_bill_and_others_another() -> None:
    pinned = sbom.REQUIREMENTS.read_text(encoding="utf-8")
    assert sbom.bill(pinned, PARTS) == sbom.bill(pinned, PARTS)
    assert json.loads(sbom.bill(pinned, PARTS))["serialNumber"] != json.loads(sbom.bill(pinned, {}))["serialNumber"]


def test_what_lambda_does_not_install_is_not_on_the_bill() -> None:
    lines = (
        "one==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:aa\ntwo==2.0 \\\n    --hash=sha256:bb\n    # via x\n"
    )
    assert [item.name for item in sbom.packages(lines)] == ["two"]

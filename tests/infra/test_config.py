"""What a deployment may choose, and how it is told that it may not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.config import LOG_RETENTION_DAYS, Config, ConfigError


def test_an_empty_context_gives_the_defaults() -> None:
    config = Config.from_context({})
    assert config.stack_name == "order-engine-dev"
    assert (config.concurrency, config.reserved, config.batch_size) == (10, 10, 10)
    assert (config.orders_per_minute, config.log_retention_days, config.architecture) == (100, 30, "arm64")
    assert config.region is None
    assert config.oidc_issuer is None
    assert config.alarm_email is None
    assert not config.retain
    assert config.bundle
    assert config.paper == {}


def test_values_from_the_command_line_are_read_like_values_from_the_file() -> None:
    typed = {"batchSize": 5, "reservedConcurrency": 20, "bundle": False, "failureRate": 0.5, "marketSeed": 7}
    config = Config.from_context(typed)
    assert config == Config.from_context({name: str(value).lower() for name, value in typed.items()})
    assert (config.batch_size, config.concurrency, config.bundle) == (5, 20, False)
    assert config.paper == {"failure_rate": 0.5, "market_seed": 7}


@pytest.mark.parametrize("value", [0, "0", "none"])
def test_reserving_nothing_still_limits_the_source_to_a_few(value: object) -> None:
    """What the workers take then, the functions that answer do not have."""
    config = Config.from_context({"reservedConcurrency": value})
    assert (config.reserved, config.concurrency, config.reserved_in_all) == (None, 2, 0)
    chosen = Config.from_context({"reservedConcurrency": value, "queueConcurrency": 30})
    assert (chosen.reserved, chosen.concurrency) == (None, 30)


def test_the_queue_starts_as_many_workers_as_are_reserved_or_fewer() -> None:
    assert Config.from_context({"reservedConcurrency": 40}).concurrency == 40
    config = Config.from_context({"reservedConcurrency": 40, "queueConcurrency": 5})
    assert (config.reserved, config.concurrency, config.reserved_in_all) == (40, 5, 41)


def test_deletion_is_refused_where_data_are_kept_unless_it_is_said_otherwise() -> None:
    assert Config.from_context({"stage": "prod"}).protect
    assert not Config.from_context({"stage": "prod", "protect": "false"}).protect
    assert not Config.from_context({"stage": "dev"}).protect


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"stage": "Prod"}, "stage must be 1 to 16 lower-case letters, digits and dashes, not 'Prod'."),
        ({"stage": "a" * 17}, "stage must be"),
        ({"stage": "-a"}, "stage must be"),
        ({"region": "Frankfurt"}, "region must be an AWS region such as eu-central-1, not 'Frankfurt'."),
        ({"reservedConcurrency": "1"}, "reservedConcurrency must be a whole number from 2 to 1000, or 0 or none"),
        ({"reservedConcurrency": "1001"}, "reservedConcurrency must be"),
        ({"queueConcurrency": "1"}, "queueConcurrency must be a whole number from 2 to 1000, not '1'."),
        ({"queueConcurrency": "11"}, "queueConcurrency must not be above reservedConcurrency, 10."),
        ({"protect": "yes"}, "protect must be true or false, not 'yes'."),
        ({"batchSize": "0"}, "batchSize must be a whole number from 1 to 10, not '0'."),
        ({"batchSize": 11}, "batchSize must be"),
        ({"batchSize": "2.5"}, "batchSize must be"),
        ({"ordersPerMinute": "-1"}, "ordersPerMinute must be"),
        ({"ordersBurst": "many"}, "ordersBurst must be"),
        ({"openOrdersPerUser": "0"}, "openOrdersPerUser must be a whole number from 1 to 10000"),
        ({"apiRateLimit": "0"}, "apiRateLimit must be"),
        ({"apiBurstLimit": "0"}, "apiBurstLimit must be"),
        ({"logRetentionDays": "31"}, "logRetentionDays must be one of 1, 3, 5, 7, 14, 30"),
        ({"oidcIssuer": "http://id.example.com", "oidcAudience": "a"}, "oidcIssuer must be an https address"),
        ({"oidcPlainIssuer": "id.example.com"}, "oidcPlainIssuer must be an https address"),
        ({"oidcIssuer": "https://id.example.com"}, "oidcIssuer and oidcAudience must be given together"),
        ({"oidcAudience": "a"}, "oidcIssuer and oidcAudience must be given together"),
        ({"alarmEmail": "nobody"}, "alarmEmail must be an e-mail address, not 'nobody'."),
        ({"removalPolicy": "keep"}, "removalPolicy must be retain or destroy, not 'keep'."),
        ({"stage": "prod", "removalPolicy": "destroy"}, "removalPolicy must be retain for the stage prod"),
        ({"corsOrigins": "desk.example.com"}, "corsOrigins must be web origins"),
        ({"corsOrigins": "https://desk.example.com/path"}, "corsOrigins must be web origins"),
        ({"corsOrigins": "*"}, "corsOrigins must be web origins"),
        ({"emulatorUrl": "https://127.0.0.1:4566"}, "emulatorUrl must be an address such as http://127.0.0.1:4566"),
        ({"emulatorUrl": "http://127.0.0.1:4566/"}, "emulatorUrl must be"),
        ({"architecture": "arm"}, "architecture must be arm64 or x86_64, not 'arm'."),
        ({"bundle": "no"}, "bundle must be true or false, not 'no'."),
        ({"failureRate": "1.5"}, "failureRate must be a number from 0 to 1, not '1.5'."),
        ({"failureRate": "NaN"}, "failureRate must be"),
        ({"quoteDelayMs": "Infinity"}, "quoteDelayMs must be"),
        ({"marketSeed": "1.5"}, "marketSeed must be a whole number from 0 to 999999999, not '1.5'."),
        ({"landingMinMs": "9000"}, "LANDING_MIN_MS must not be above LANDING_MAX_MS."),
        ({"batchSize": [10]}, "batchSize must be text or a number, not [10]."),
        ({"edge": "yes"}, "edge must be true or false, not 'yes'."),
        ({"edge": "true", "edgeRate": "9"}, "edgeRate must be a whole number from 10 to 100000000, not '9'."),
        ({"edgeRate": "50"}, "edgeRate is for edge=true only."),
        ({"edge": "true", "edgeDomain": "a.example"}, "edgeDomain and edgeCertificate must be given together."),
        (
            {"edge": "true", "edgeDomain": "a.example", "edgeCertificate": "arn:aws:acm:eu-west-1:1:certificate/a"},
            "edgeCertificate must be the ARN of a certificate in us-east-1",
        ),
        ({"edge": "true", "edgeFirewall": "mine"}, "edgeFirewall must be the ARN that make firewall prints"),
        ({"edge": "true", "edgeKeyVersion": "new"}, "edgeKeyVersion must be the VersionId of the origin key"),
        ({"edge": "true", "emulatorUrl": "http://127.0.0.1:1"}, "edge must be false on an emulator"),
        ({"reservedConcurency": 5}, "reservedConcurency is not a context value of this app. Did you mean reserved"),
        ({"colour": "red"}, "colour is not a context value of this app. Known are stage, "),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_what_may_be(context: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_context(context)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        Config.from_context({"stage": "!", "batchSize": "x", "alarmEmail": "y"})
    lines = str(refused.value).splitlines()
    assert {line.split()[0] for line in lines} == {"stage", "batchSize", "alarmEmail"}


def test_the_data_of_prod_are_kept() -> None:
    assert Config.from_context({"stage": "prod"}).retain
    assert Config.from_context({"stage": "dev", "removalPolicy": "retain"}).retain


def test_the_cdks_own_context_is_left_alone() -> None:
    Config.from_context({"@aws-cdk/core:x": True, "aws:cdk:enable-path-metadata": True, "cli-telemetry": False})


@given(st.integers(min_value=-10, max_value=5000))
def test_a_log_retention_that_cloudwatch_refuses_is_refused_here(days: int) -> None:
    if days in LOG_RETENTION_DAYS:
        assert Config.from_context({"logRetentionDays": days}).log_retention_days == days
    else:
        with pytest.raises(ConfigError):
            Config.from_context({"logRetentionDays": days})


@given(st.dictionaries(st.sampled_from(["stage", "batchSize", "oidcIssuer", "failureRate", "region"]), st.text()))
def test_no_text_makes_it_fail_otherwise(context: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        assert Config.from_context(context).stack_name.startswith("order-engine-")

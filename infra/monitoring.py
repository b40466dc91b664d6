"""Alarms and the dashboard. docs/runbook.md says for each alarm what it means and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from aws_cdk import Annotations, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import encryption
from infra.budget import Budget
from infra.config import Config
from infra.http_api import HttpApi
from infra.python_function import PythonFunction
from infra.queues import Queues
from infra.workers import Workers
from order_engine.domain.venues import VENUES

_NAMESPACE, _SERVICE = "OrderEngine", "order-engine"
# Each by itself, and all ways to split an order over several.
_VENUES = tuple("+".join(some) for size in range(1, len(VENUES) + 1) for some in combinations(VENUES, size))
_MINUTE, _FIVE_MINUTES = Duration.minutes(1), Duration.minutes(5)


class Monitoring(Construct):
    """Watches the whole stack; tells an e-mail address if there is one."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: Config,
        *,
        http: HttpApi,
        queues: Queues,
        workers: Workers,
        functions: Sequence[PythonFunction],
    ) -> None:
        super().__init__(scope, construct_id)
        alarms = [alarm for function in functions for alarm in function.alarms]
        for queue, meaning in (
            (queues.dead_letters, "orders were given up by the queue and are not resolved yet"),
            (queues.quarantine, "messages that cannot be read or resolved wait for a person"),
            (queues.stream_failures, "records of the stream were given up: clients may have missed a status"),
        ):
            alarms.append(self._alarm(f"{queue.node.id}Depth", _depth(queue), 1, meaning))
        alarms += [
            self._alarm("OldestMessage", _age(queues.orders), 120, "an order has waited for two minutes", periods=2),
            self._alarm(
                "IteratorAge", _iterator_age(workers.notify), 30_000, "statuses are pushed 30 seconds late", periods=3
            ),
            self._alarm("HttpServerErrors", http.server_errors(), 5, "the HTTP API answers 5xx"),
        ]
        silence = self._sweeper_alarm(workers.sweep)
        alarms += [*self._order_alarms(config), silence]
        if config.alarm_email is not None:
            self._tell(config, config.alarm_email, alarms, silence)
            if config.monthly_budget is not None:
                Budget(self, "Budget", config.stack_name, config.monthly_budget, config.alarm_email)
        elif config.retain:
            Annotations.of(self).add_warning_v2(
                "order-engine:noAlarmEmail", "Nobody is told of alarms: give -c alarmEmail=you@example.com."
            )
        if config.dashboard:
            self._dashboard(config, http, queues, workers, functions, alarms)

    def _order_alarms(self, config: Config) -> list[cloudwatch.Alarm]:
        """What the functions themselves tell of orders."""
        alarms = [
            self._alarm(
                "MoreThanOneExecution",
                _order_metric(config, "SwappedTwice"),
                1,
                "the chain's ledger holds more than one swap of an order",
            ),
            self._alarm(
                "StuckOrders",
                _order_metric(config, "OrdersResent", period=_FIVE_MINUTES),
                1,
                "active orders make no progress and are sent again and again",
                periods=3,
            ),
            self._alarm(
                "OrderLatency",
                _order_metric(config, "LatencyMs", "p99", period=_FIVE_MINUTES),
                30_000,
                "one market order in a hundred takes 30 seconds",
                periods=3,
            ),
        ]
        # The emulator makes no alarms of expressions.
        if config.emulator_url is None:
            alarms.append(self._alarm("FailureRate", _failure_rate(config), 20, "one order in five fails", periods=3))
        return alarms

    def _sweeper_alarm(self, sweep: PythonFunction) -> cloudwatch.Alarm:
        """Nobody else would tell: what the sweeper does not see is not counted as stuck either.

        The schedule starts it every minute, also in an idle stage, so that its invocations go on as long as it does:
        when they cease, the alarm has insufficient data, and tells so (``_tell``). Silence taken for breaching would
        do the same, but also at every first deployment, where nothing has run yet: a new alarm begins with
        insufficient data, and only a change is told.
        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
        """
        return cloudwatch.Alarm(
            self,
            "SweeperStopped",
            metric=sweep.function.metric_invocations(period=_MINUTE, statistic="Sum"),
            threshold=1,
            evaluation_periods=5,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.MISSING,
            alarm_description=f"{Stack.of(self).stack_name}: insufficient data means that the sweeper no longer runs.",
        )

    def _alarm(
        self, construct_id: str, metric: cloudwatch.IMetric, threshold: float, meaning: str, *, periods: int = 1
    ) -> cloudwatch.Alarm:
        """Alarm when the metric reaches the threshold in so many periods in a row."""
        return cloudwatch.Alarm(
            self,
            construct_id,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{Stack.of(self).stack_name}: {meaning}.",
        )

    def _tell(self, config: Config, email: str, alarms: Sequence[cloudwatch.Alarm], silence: cloudwatch.Alarm) -> None:
        """``silence``: the alarm of which insufficient data are news."""
        topic = sns.Topic(self, "Alarms", enforce_ssl=True, master_key=encryption.key(self, config))
        # Any policy of our own replaces the one that SNS gives a topic, and with it CloudWatch's right to publish.
        # https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        topic.add_subscription(subscriptions.EmailSubscription(email))
        for alarm in alarms:
            alarm.add_alarm_action(actions.SnsAction(topic))
            alarm.add_ok_action(actions.SnsAction(topic))
        silence.add_insufficient_data_action(actions.SnsAction(topic))

    def _dashboard(
        self,
        config: Config,
        http: HttpApi,
        queues: Queues,
        workers: Workers,
        functions: Sequence[PythonFunction],
        alarms: Sequence[cloudwatch.Alarm],
    ) -> None:
        # An account's first three dashboards are free with up to 50 metrics each. These functions carry the load.
        # https://aws.amazon.com/cloudwatch/pricing/
        loaded = [function for function in functions if function not in (workers.sweep, workers.dead_letters)]

        def graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
            return cloudwatch.GraphWidget(title=title, left=list(metrics), width=12)

        # An account's dashboards are not apart by region, and a stage that moves is in two of them for a while.
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-dashboard.html
        name = f"{config.stack_name}-{Stack.of(self).region}"
        dashboard = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=name)
        dashboard.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=24))
        dashboard.add_widgets(
            graph(
                "HTTP requests",
                [
                    http.api.metric_count(period=_MINUTE, statistic="Sum"),
                    http.api.metric_client_error(period=_MINUTE, statistic="Sum"),
                    http.api.metric_server_error(period=_MINUTE, statistic="Sum"),
                ],
            ),
            graph(
                "HTTP latency (ms)",
                [
                    http.api.metric_latency(period=_MINUTE, statistic=statistic, label=statistic)
                    for statistic in ("p50", "p99")
                ],
            ),
        )
        dashboard.add_widgets(
            graph(
                "Orders",
                [
                    _order_metric(config, name)
                    for name in ("Accepted", "Confirmed", "Failed", "Retries", "OrdersResent", "DuplicateDeliveries")
                ],
            ),
            graph(
                "Orders that were swapped twice (must never be)",
                [_order_metric(config, "SwappedTwice")],
            ),
        )
        dashboard.add_widgets(
            graph(
                "Market orders from accepted to their end (ms)",
                [_order_metric(config, "LatencyMs", statistic, label=statistic) for statistic in ("p50", "p99")],
            ),
            graph(
                "Time in each status, p50 (ms)",
                [
                    _order_metric(config, f"StageMs_{status}", "p50", label=status)
                    for status in ("pending", "routing", "building", "submitted")
                ],
            ),
        )
        dashboard.add_widgets(
            graph("Routes won", [_order_metric(config, f"Won_{venue}", label=venue) for venue in _VENUES]),
            graph(
                "Improvement over the best single venue (bps)",
                [
                    _order_metric(config, "ImprovementBps", statistic, label=statistic)
                    for statistic in ("Average", "p90")
                ],
            ),
        )
        dashboard.add_widgets(
            graph("Messages waiting", [_depth(queue, label=queue.node.id) for queue in _all(queues)]),
            graph(
                "Oldest order's message (s), stream's delay (ms)", [_age(queues.orders), _iterator_age(workers.notify)]
            ),
        )
        dashboard.add_widgets(
            graph(
                "Function errors and throttles",
                [
                    *(
                        function.function.metric_errors(label=f"{function.node.id} errors", period=_MINUTE)
                        for function in functions
                    ),
                    *(
                        function.function.metric_throttles(label=f"{function.node.id} throttles", period=_MINUTE)
                        for function in loaded
                    ),
                ],
            ),
            graph(
                "Concurrent invocations",
                [
                    function.function.metric(
                        "ConcurrentExecutions", label=function.node.id, statistic="Maximum", period=_MINUTE
                    )
                    for function in (http.submit, workers.process, workers.notify)
                ],
            ),
        )
        dashboard.add_widgets(
            graph(
                "Function duration p99 (ms)",
                [
                    function.function.metric_duration(label=function.node.id, statistic="p99", period=_MINUTE)
                    for function in loaded
                ],
            ),
        )


def _failure_rate(config: Config) -> cloudwatch.MathExpression:
    """Orders that failed, of those that ended as failed or confirmed, in percent."""
    return cloudwatch.MathExpression(
        # A handful of orders says little: one failure of two is not a rate. Filled, since what did not happen is not
        # written, and a sum with a missing part is missing: the alarm would be silent just when nothing confirms.
        expression="IF(FILL(failed, 0) + FILL(confirmed, 0) >= 10, "
        "100 * FILL(failed, 0) / (FILL(failed, 0) + FILL(confirmed, 0)), 0)",
        label="orders failed (%)",
        period=_FIVE_MINUTES,
        using_metrics={
            "failed": _order_metric(config, "Failed", period=_FIVE_MINUTES),
            "confirmed": _order_metric(config, "Confirmed", period=_FIVE_MINUTES),
        },
    )


def _order_metric(
    config: Config, name: str, statistic: str = "Sum", *, period: Duration = _MINUTE, label: str | None = None
) -> cloudwatch.Metric:
    """A metric that the functions write; ``order_engine.observability`` lists them, and a test compares."""
    return cloudwatch.Metric(
        namespace=_NAMESPACE,
        metric_name=name,
        dimensions_map={"service": _SERVICE, "stage": config.stage},
        statistic=statistic,
        period=period,
        label=label,
    )


def _all(queues: Queues) -> Sequence[sqs.Queue]:
    return (queues.orders, queues.dead_letters, queues.quarantine, queues.stream_failures)


def _depth(queue: sqs.Queue, label: str | None = None) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(period=_MINUTE, statistic="Maximum", label=label)


def _age(queue: sqs.Queue) -> cloudwatch.Metric:
    return queue.metric_approximate_age_of_oldest_message(period=_MINUTE, statistic="Maximum")


def _iterator_age(function: PythonFunction) -> cloudwatch.Metric:
    return function.function.metric("IteratorAge", period=_MINUTE, statistic="Maximum")

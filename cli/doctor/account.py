"""Looks that need an operator's credentials: queues, alarms and who is told of them, logs, quotas."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.doctor.finding import Finding, State
from cli.operate import NotFound, Place, explain
from cli.queues import SetAside

# Whoever is told of this one reads that it was a trial; CloudWatch takes it back with the next look at the metric.
_TRIAL = "MonitoringOrderLatency"
_REASON = "order-engine doctor: a trial of the way to the mailbox. Nothing is wrong."
_TOLD_S, _LOOK_S = 20.0, 2.0
# Below this the functions that answer and those that execute stand in each other's way.
_CONCURRENCY = 100


@dataclass(frozen=True, slots=True)
class Account:
    """A deployment's AWS resources.

    Attributes:
        alarm: whether an alarm may be raised for a moment, which tells whoever is told of alarms.
        sleep: replaces waiting in tests.
    """

    place: Place
    alarm: bool = True
    sleep: Callable[[float], None] = time.sleep

    def looks(self) -> Iterator[Finding]:
        """One finding after the other; what may not be looked at is skipped."""
        yield from self._each("queues", self._queues)
        if self.place.local:
            return
        yield from self._each("logs", self._logs)
        yield from self._each("quota", self._quota)
        yield from self._each("alarms", self._alarms)
        yield from self._each("mailbox", self._mailbox)

    @staticmethod
    def _each(about: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        try:
            yield from look()
        except (BotoCoreError, ClientError) as error:
            yield Finding(about, State.SKIPPED, f"It cannot be looked at. {explain(error)}")
        except NotFound as error:
            yield Finding(about, State.WRONG, str(error), "Deploy the stage with this release.")

    def _queues(self) -> Iterator[Finding]:
        sqs = self.place.client("sqs")
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        for kind in SetAside:
            name, url = kind.replace("-", " "), self.place.queue(kind.queue)
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            waiting = sum(int(attributes.get(attribute, 0)) for attribute in names)
            if waiting:
                yield Finding(
                    name,
                    State.WRONG,
                    f"{waiting:,} messages were set aside.",
                    f"docs/runbook.md, Monitoring{kind.queue}Depth",
                )
            else:
                yield Finding(name, State.OK, "Nothing was set aside.")

    def _logs(self) -> Iterator[Finding]:
        logs = self.place.client("logs")
        groups = self.place.resources("AWS::Logs::LogGroup")
        missing, endless = [], []
        for name in groups:
            found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
            group = next((item for item in found if item["logGroupName"] == name), None)
            if group is None:
                missing.append(name)
            elif "retentionInDays" not in group:
                endless.append(name)
        if missing:
            yield Finding("logs", State.WRONG, f"Log groups are gone: {', '.join(missing)}.", "Deploy the stage again.")
        elif endless:
            yield Finding("logs", State.NOTE, f"Kept for ever: {', '.join(endless)}.", "Deploy the stage again.")
        else:
            yield Finding("logs", State.OK, f"{len(groups)} log groups are there, each with an end.")

    def _quota(self) -> Iterator[Finding]:
        limit = self.place.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
        if limit < _CONCURRENCY:
            yield Finding(
                "quota",
                State.NOTE,
                f"The account may run {limit} functions at once, shared by all of them.",
                "Ask for 1000: aws service-quotas request-service-quota-increase --service-code lambda "
                "--quota-code L-B99A9384 --desired-value 1000",
            )
        else:
            yield Finding("quota", State.OK, f"The account may run {limit:,} functions at once.")

    def _alarms(self) -> Iterator[Finding]:
        alarms = self._own_alarms()
        raised = [alarm["AlarmName"] for alarm in alarms if alarm["StateValue"] == "ALARM"]
        # Others without data have had nothing to tell; of these, silence is the news.
        silent = [
            alarm["AlarmName"]
            for alarm in alarms
            if alarm.get("TreatMissingData") == "missing" and alarm["StateValue"] == "INSUFFICIENT_DATA"
        ]
        if silent:
            yield Finding(
                "alarms",
                State.WRONG,
                f"No sign of life: {', '.join(silent)}.",
                "Where the stage is younger than ten minutes, look again; else docs/runbook.md, under its name.",
            )
        if raised:
            yield Finding(
                "alarms", State.WRONG, f"Raised: {', '.join(raised)}.", "docs/runbook.md, under each one's name."
            )
        elif not silent:
            yield Finding("alarms", State.OK, "No alarm is raised.")

    def _own_alarms(self) -> list[dict[str, Any]]:
        client, found = self.place.client("cloudwatch"), []
        names = self.place.resources("AWS::CloudWatch::Alarm")
        for start in range(0, len(names), 100):
            found += client.describe_alarms(AlarmNames=names[start : start + 100])["MetricAlarms"]
        return found

    def _mailbox(self) -> Iterator[Finding]:
        """Raise an alarm that means no harm, and see whether CloudWatch could tell of it."""
        alarm = next((one for one in self._own_alarms() if _TRIAL in one["AlarmName"]), None)
        topics = alarm["AlarmActions"] if alarm else []
        if alarm is None or not topics:
            yield Finding(
                "mailbox",
                State.NOTE,
                "Nobody is told of alarms.",
                'Deploy with CONTEXT="-c alarmEmail=you@example.com".',
            )
            return
        listed = self.place.client("sns").list_subscriptions_by_topic(TopicArn=topics[0])["Subscriptions"]
        waiting = [one["Endpoint"] for one in listed if not one["SubscriptionArn"].startswith("arn:")]
        if waiting or not listed:
            yield Finding(
                "mailbox",
                State.WRONG,
                f"{', '.join(waiting) or 'Nobody'} has not confirmed to be told of alarms.",
                "Follow the link in the mail “AWS Notification - Subscription Confirmation”.",
            )
            return
        if not self.alarm:
            yield Finding("mailbox", State.SKIPPED, "No alarm was raised, as you asked.")
            return
        yield self._trial(alarm["AlarmName"])

    def _trial(self, name: str) -> Finding:
        client, began = self.place.client("cloudwatch"), time.time()
        client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason=_REASON)
        for _ in range(int(_TOLD_S / _LOOK_S)):
            self.sleep(_LOOK_S)
            history = client.describe_alarm_history(AlarmName=name, HistoryItemType="Action", MaxRecords=10)
            said = [
                item["HistorySummary"]
                for item in history["AlarmHistoryItems"]
                # The clocks need not agree to the second.
                if item["Timestamp"].timestamp() > began - 60
            ]
            if any(summary.startswith("Successfully") for summary in said):
                return Finding("mailbox", State.OK, f"An alarm was raised on trial ({name}): look for its mail.")
            if said:
                return Finding(
                    "mailbox",
                    State.WRONG,
                    f"CloudWatch could not tell of an alarm: {said[0]}",
                    "Does the topic's policy, and its key's, let cloudwatch.amazonaws.com publish?",
                )
        return Finding(
            "mailbox",
            State.NOTE,
            f"An alarm was raised on trial ({name}), and CloudWatch has not said yet that it told of it.",
            "Look for its mail.",
        )

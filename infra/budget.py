"""What the stage may cost a month, and who is told before it does."""

from __future__ import annotations

import hashlib

from aws_cdk import Stack
from aws_cdk import aws_budgets as budgets
from constructs import Construct

# Of the budget, in percent: what was spent, and what the month will come to.
_NEWS = (("ACTUAL", 80), ("FORECASTED", 100))


def named(stack: str, region: str, email: str) -> str:
    """A budget's name, another one for each region and address.

    Budgets are the account's: a stage that moves has two for a while. And CloudFormation replaces a budget that tells
    somebody else, by making the new one first, which must not have the name of the former:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-budgets-budget.html
    """
    return f"{stack}-{region}-monthly-{hashlib.sha256(email.encode()).hexdigest()[:6]}"


class Budget(Construct):
    """A monthly budget of one stack, by its name: CloudFormation tags all that is in it.

    The tag counts once it is switched on for the account's costs (docs/deploy.md), and in all regions.
    https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activate-built-in-tags.html
    """

    def __init__(self, scope: Construct, construct_id: str, stack: str, dollars: int, email: str) -> None:
        super().__init__(scope, construct_id)
        subscriber = budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=email)
        budgets.CfnBudget(
            self,
            "Monthly",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=named(stack, Stack.of(self).region, email),
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=dollars, unit="USD"),
                cost_filters={"TagKeyValue": [f"aws:cloudformation:stack-name${stack}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind,
                        comparison_operator="GREATER_THAN",
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for kind, percent in _NEWS
            ],
        )

"""An SQS client that does not take every message, as the service may not: of a batch it takes the others."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from order_engine.wire import messages

_CODE = "InternalError"


class PickyClient:
    """Wraps a client. ``refused`` names the orders whose messages it does not take."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.refused: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_message(self, **call: Any) -> Any:
        if self._refuses(call["MessageBody"]):
            raise ClientError({"Error": {"Code": _CODE, "Message": "Could not be taken."}}, "SendMessage")
        return self._client.send_message(**call)

    def send_message_batch(self, **call: Any) -> Any:
        """One answer for all of them, and no error: the failed ones are only listed in it."""
        taken = [entry for entry in call["Entries"] if not self._refuses(entry["MessageBody"])]
        failed = [
            {"Id": entry["Id"], "SenderFault": False, "Code": _CODE} for entry in call["Entries"] if entry not in taken
        ]
        answer = self._client.send_message_batch(**{**call, "Entries": taken}) if taken else {"Successful": []}
        return {**answer, "Failed": failed} if failed else answer

    def _refuses(self, body: str) -> bool:
        return messages.decode(body).order_id in self.refused

"""A DynamoDB client that keeps no more than DynamoDB's promises, which moto exceeds.

An eventually consistent read may answer what was true before the last write of an item, an answer may end anywhere with
a key to go on from, and a batch may be served in part. Code that forgets one of these works on moto, and on the real
service nearly always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

type Item = dict[str, Any]

PAGE = 3


class LaggingClient:
    """Wraps a client: eventually consistent reads of a table are one write behind until ``catch_up``.

    Queries and scans that name no limit end after ``PAGE`` items, and of a batch of keys the first half is served.
    Indexes are up to date; their delay is the simulation's subject.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._keys: dict[str, tuple[str, ...]] = {}
        self._before: dict[tuple[str, str], Item | None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def catch_up(self) -> None:
        """Let every replica see every write."""
        self._before.clear()

    # --- writes ------------------------------------------------------------------------------------------------------

    def put_item(self, **call: Any) -> Any:
        return self._write(self._client.put_item, call, call["Item"])

    def update_item(self, **call: Any) -> Any:
        return self._write(self._client.update_item, call, call["Key"])

    def delete_item(self, **call: Any) -> Any:
        return self._write(self._client.delete_item, call, call["Key"])

    def _write(self, write: Callable[..., Any], call: Item, item: Item) -> Any:
        table = call["TableName"]
        key = {name: item[name] for name in self._key_names(table)}
        old = self._client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        answer = write(**call)
        self._before[table, repr(sorted(key.items()))] = old
        return answer

    # --- reads -------------------------------------------------------------------------------------------------------

    def get_item(self, **call: Any) -> Any:
        answer = self._client.get_item(**call)
        if call.get("ConsistentRead"):
            return answer
        item = self._seen(call["TableName"], call["Key"], answer.get("Item"))
        return {"Item": item} if item is not None else {}

    def query(self, **call: Any) -> Any:
        return self._list(self._client.query, call)

    def scan(self, **call: Any) -> Any:
        return self._list(self._client.scan, call)

    def batch_get_item(self, **call: Any) -> Any:
        served: Item = {}
        left: Item = {}
        for table, request in call["RequestItems"].items():
            half = (len(request["Keys"]) + 1) // 2
            served[table] = {**request, "Keys": request["Keys"][:half]}
            if request["Keys"][half:]:
                left[table] = {**request, "Keys": request["Keys"][half:]}
        answer = self._client.batch_get_item(**{**call, "RequestItems": served})
        for table, items in answer["Responses"].items():
            if not served[table].get("ConsistentRead"):
                answer["Responses"][table] = self._all_seen(table, items)
        return {**answer, "UnprocessedKeys": left}

    def _list(self, read: Callable[..., Any], call: Item) -> Any:
        answer = read(**{"Limit": PAGE, **call})
        if call.get("ConsistentRead") or "IndexName" in call:
            return answer
        return {**answer, "Items": self._all_seen(call["TableName"], answer["Items"])}

    def _all_seen(self, table: str, items: list[Item]) -> list[Item]:
        seen = (self._seen(table, item, item) for item in items)
        return [item for item in seen if item is not None]

    def _seen(self, table: str, named: Mapping[str, Any], item: Item | None) -> Item | None:
        key = {name: named[name] for name in self._key_names(table)}
        return self._before.get((table, repr(sorted(key.items()))), item)

    def _key_names(self, table: str) -> tuple[str, ...]:
        if table not in self._keys:
            schema = self._client.describe_table(TableName=table)["Table"]["KeySchema"]
            self._keys[table] = tuple(key["AttributeName"] for key in schema)
        return self._keys[table]

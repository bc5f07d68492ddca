"""A memory of bounded size that forgets what was not asked for the longest. Threads may share it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """Key -> value, up to a total weight."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value, or None."""
        return self.get_all((key,))[0]

    def get_all(self, keys: Iterable[Key]) -> list[Value | None]:
        """The value of each, or None."""
        values: list[Value | None] = []
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is None:
                    values.append(None)
                else:
                    self._entries.move_to_end(key)
                    values.append(entry[0])
        return values

    def put(self, key: Key, value: Value, weight: int) -> None:
        """Remember a value; what is too much then is forgotten, but never the last one put."""
        with self._lock:
            if old := self._entries.pop(key, None):
                self._weight -= old[1]
            self._keep(key, value, weight)

    def add(self, key: Key, value: Value, weight: int) -> Value:
        """Remember a value unless there is one, and return the one that is remembered."""
        with self._lock:
            if known := self._entries.get(key):
                return known[0]
            self._keep(key, value, weight)
            return value

    def _keep(self, key: Key, value: Value, weight: int) -> None:
        self._entries[key] = (value, weight)
        self._weight += weight
        while self._weight > self._limit and len(self._entries) > 1:
            _, (_, weight) = self._entries.popitem(last=False)
            self._weight -= weight

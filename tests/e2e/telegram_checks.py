"""What a killed bot's calls to Telegram show."""

from __future__ import annotations

from collections import Counter

from tests.e2e.checks import Id, Processes, Written
from tests.e2e.telegram_crowd import LOST
from tests.telegram.server import Call

HARMLESS = ("message is not modified", "terminated by other getUpdates request")
"""An edit by a next process to what a message is already; and the killed process's request that waits for updates."""
WRITES = frozenset({"sendMessage", "editMessageText"})


def written(calls: list[Call]) -> tuple[list[Written], Processes]:
    """Every send and edit that took effect, in order, and whose they were."""
    every, processes, threads = list[Written](), Processes("getMe"), dict[Id, str]()
    for call in calls:
        processes.follow(call.method)
        if call.method not in WRITES or not call.ok:
            continue
        sent = call.method == "sendMessage"
        chat, message = str(call.result["chat"]["id"]), str(call.result["message_id"])
        if sent:
            threads[chat, message] = str(call.given.get("message_thread_id", ""))
        place, number = (chat, threads[chat, message]), processes.number
        every.append(Written(call.result["text"], place, (chat, message), number, sent, call.fault in LOST))
    return every, processes


def check_calls(calls: list[Call]) -> Counter[str]:
    """Nothing was refused but what had to be. Returns what went wrong on the way, by kind."""
    refused = [call for call in calls if call.error and not call.fault]
    assert [c for c in refused if not any(words in c.error.description for words in HARMLESS if c.error)] == []
    return Counter(call.fault for call in calls if call.fault)

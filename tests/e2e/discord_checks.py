"""What a killed bot's calls to Discord show."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.discord_fake import DiscordServer, Interaction
from tests.discord_fake.server import Call
from tests.e2e.checks import Processes, Written
from tests.e2e.crowd import Crowd
from tests.e2e.discord_crowd import LOST, DiscordCrowd, Room

LOGIN = "get_my_user"
BY_TOKEN = frozenset({"execute_webhook", "update_webhook_message", "update_original_webhook_message"})
SENDS = frozenset({"create_message", "execute_webhook", "create_interaction_response"})
WRITES = SENDS | BY_TOKEN | {"update_message"}
_MESSAGE = 4
"""The type of an interaction's first answer that is one."""
UNKNOWN_WEBHOOK, ANSWERED_ALREADY = 10015, 40060
"""Of an interaction that a killed process did not answer in time; of a first answer that got through after all."""
REGISTERS = "bulk_set_application_commands"


def looked_at(crowd: DiscordCrowd) -> tuple[list[Written], Processes, Counter[str]]:
    """What the bot wrote, by which of its processes, and what went wrong with its calls."""
    server: DiscordServer = crowd.platform.server
    check_registrations(server.calls)
    return *written(server, crowd), check_calls(server)


def written(server: DiscordServer, crowd: Crowd[Room]) -> tuple[list[Written], Processes]:
    """Every send and edit that took effect, in order, and whose they were."""
    every, processes = list[Written](), Processes(LOGIN)
    places = {place.channel.id: place.key for place in crowd.places}
    for call in server.calls:
        processes.follow(call.operation)
        if call.operation not in WRITES or not call.ok:
            continue
        channel, message, text = _what(server, call)
        if message:
            place, sent = places[channel], call.operation in SENDS
            one = (text, place, (place[0], message), processes.number, sent, call.fault in LOST)
            every.append(Written(*one, once=call.operation == "create_message"))
    return every, processes


def _what(server: DiscordServer, call: Call) -> tuple[int, str, str]:
    """The channel, the message's id and its text; no id for the sign that an answer takes longer."""
    if call.operation != "create_interaction_response":
        return int(call.result["channel_id"]), str(call.result["id"]), str(call.result["content"])
    used = server.world.scene.interactions[int(call.path["interaction_id"])]
    if call.given["type"] != _MESSAGE:
        return used.channel.id, "", ""
    return used.channel.id, call.result["interaction"]["response_message_id"], str(call.given["data"]["content"])


def check_calls(server: DiscordServer) -> Counter[str]:
    """Nothing was refused but what had to be, and nobody waits. Returns what went wrong on the way, by kind."""
    refused = [call for call in server.calls if call.error and not call.fault]
    assert [call for call in refused if not _is_harmless(call)] == []
    used = server.world.scene.interactions.values()
    assert [one for one in used if isinstance(one, Interaction) and one.thinking] == []
    return Counter(call.fault for call in server.calls if call.fault)


def _is_harmless(call: Call) -> bool:
    error: Any = call.error
    if call.operation == "create_interaction_response":
        return bool(error.code == ANSWERED_ALREADY)
    return call.operation in BY_TOKEN and error.code == UNKNOWN_WEBHOOK


def check_registrations(calls: list[Call]) -> None:
    """The commands are registered once, and again only if a kill came before that was written down."""
    processes, registered = Processes(LOGIN), list[int]()
    for call in calls:
        processes.follow(call.operation)
        if call.operation == REGISTERS and call.ok:
            registered.append(processes.number)
    assert len(set(registered)) == len(registered), f"a process has registered them twice: {registered}"
    assert {processes.ended[number] for number in registered[:-1]} <= {"killed"}

"""How the server says no.

Refused            what the platform answers with a status and a code
└── Misuse         what no correct client sends; it is also kept in the server's violations

Codes: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
"""An object of the API."""
INVALID_FORM = 50035
_NAMES = {
    0: (401, "401: Unauthorized"),
    10002: (404, "Unknown Application"),
    10003: (404, "Unknown Channel"),
    10004: (404, "Unknown Guild"),
    10007: (404, "Unknown Member"),
    10008: (404, "Unknown Message"),
    10013: (404, "Unknown User"),
    10014: (400, "Unknown Emoji"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    10063: (404, "Unknown application command"),
    40005: (413, "Request entity too large"),
    40094: (400, "Maximum number of follow up messages reached"),
    40060: (400, "Interaction has already been acknowledged."),
    50001: (403, "Missing Access"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50008: (400, "Cannot send messages in a non-text channel"),
    50013: (403, "Missing Permissions"),
    50021: (403, "Cannot execute action on a system message"),
    50024: (400, "Cannot execute action on this channel type"),
    50027: (401, "Invalid Webhook Token"),
    50034: (400, "A message provided was too old to bulk delete"),
    50083: (400, "Thread is archived"),
    50109: (400, "The request body contains invalid JSON."),
    160002: (400, "Cannot reply without permission to read message history"),
    160004: (400, "A thread has already been created for this message"),
    160005: (400, "Thread is locked"),
}


class Refused(Exception):
    """An answer that is an error. `errors` say which fields are wrong, nested as the request is."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{code}: {message} {errors or ''}".strip())
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def body(self) -> Json:
        """The object that is sent."""
        answer: Json = {"message": self.message, "code": self.code}
        return answer | ({"errors": self.errors} if self.errors else {})


class Misuse(Refused):
    """A request that breaks the specification, or one that this server does not know how to answer."""


def refused(code: int) -> Refused:
    """The platform's answer of this code."""
    status, message = _NAMES[code]
    return Refused(status, code, message)


def misuse(code: int) -> Misuse:
    """The same, where no correct client comes to it."""
    status, message = _NAMES[code]
    return Misuse(status, code, message)


def field_errors(path: list[str], code: str, message: str) -> Json:
    """The nested object that says what is wrong with the field at a path."""
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for name in reversed(path):
        errors = {name: errors}
    return errors


def invalid(path: str, code: str, message: str) -> Misuse:
    """50035: the field at a path of names with dots between them is wrong."""
    return Misuse(400, INVALID_FORM, "Invalid Form Body", field_errors(path.split("."), code, message))


def stale(path: str, code: str, message: str) -> Refused:
    """50035 for what was right when the client looked last: it names something that is gone."""
    return Refused(400, INVALID_FORM, "Invalid Form Body", field_errors(path.split("."), code, message))


def not_implemented(what: str) -> Misuse:
    """501: the platform might have answered; this server says loudly that it cannot."""
    return Misuse(501, 0, f"Not Implemented: {what} is not implemented by the fake")

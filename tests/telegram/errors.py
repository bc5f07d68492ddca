"""How the server says no.

Refused            what the platform answers with ok=false
└── Misuse         what no correct client sends; it is also kept in the server's violations
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
"""An object of the Bot API."""

_NAMES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}


class Refused(Exception):
    """An answer with ok=false. `parameters` are ResponseParameters: retry_after, migrate_to_chat_id."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters

    def body(self) -> Json:
        """The object that is sent."""
        answer: Json = {"ok": False, "error_code": self.code, "description": self.description}
        return answer | ({"parameters": self.parameters} if self.parameters else {})


class Misuse(Refused):
    """A call that breaks the documentation, or one that this server does not know how to answer."""


def bad_request(words: str, **parameters: int) -> Refused:
    """400, in the platform's wording."""
    return Refused(400, f"{_NAMES[400]}: {words}", **parameters)


def forbidden(words: str) -> Refused:
    """403."""
    return Refused(403, f"{_NAMES[403]}: {words}")


def conflict(words: str) -> Refused:
    """409."""
    return Refused(409, f"{_NAMES[409]}: {words}")


def not_implemented(what: str) -> Misuse:
    """501: the platform might have answered; this server says loudly that it cannot."""
    return Misuse(501, f"Not Implemented: {what} is not implemented by the fake")

"""Errors in OpenAI's words: `{"error": {"message", "type", "param", "code"}}`, and the status that SDKs act upon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.errors import (
    BadKey,
    BadRequest,
    Busy,
    DatabaseError,
    EngineTimeout,
    HearthError,
    LimitReached,
    NoSuchModel,
    NotAllowed,
    RoleForgery,
    Told,
    TooLong,
    UnreadError,
    WrongModel,
)

INVALID, SERVER, LIMIT = "invalid_request_error", "server_error", "rate_limit_error"
BUSY_SECONDS = 3
"""After which a refused request may come again: about one short answer."""
MOST_SAID, MOST_NAMED = 2000, 200
"""Characters of an error's words, and of the parameter that is to blame."""
FAILED = "The server had an error while processing your request. It is in the log."
GUESSED = "Too many wrong keys came from here."
LEAVING = "The server is shutting down. Please try again in a moment."
STATUSES = {
    400: "The request cannot be read.",
    408: "The request's body takes too long to arrive.",
    413: "The request is too large.",
    417: "Only Expect: 100-continue can be met here.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One error, ready to be sent."""

    status: int
    message: str
    type: str = INVALID
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The error object. A request may have a name of megabytes: no more than its beginning is said again."""
        message, param = _shortened(self.message, MOST_SAID), self.param and _shortened(self.param, MOST_NAMED)
        return {"error": {"message": message, "type": self.type, "param": param, "code": self.code}}

    def response(self) -> web.Response:
        """As a whole response."""
        return web.json_response(self.body, status=self.status, headers=self.headers)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


class Refused(Exception):
    """A request is refused with this fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def refused(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Refused:
    """For what the API itself refuses."""
    return Refused(Fault(status=status, message=message, code=code, param=param))


@dataclass(frozen=True, slots=True)
class _Kind:
    """How errors of one class are told."""

    status: int
    code: str | None = None
    param: str | None = None
    type: str = INVALID


_KINDS: Mapping[type[HearthError], _Kind] = {
    BadKey: _Kind(401, "invalid_api_key"),
    NoSuchModel: _Kind(404, "model_not_found"),
    WrongModel: _Kind(400, "model_not_supported"),
    BadRequest: _Kind(400),
    TooLong: _Kind(400, "context_length_exceeded"),
    RoleForgery: _Kind(400),
    UnreadError: _Kind(400, None, "file"),
    NotAllowed: _Kind(403, "not_allowed"),
    LimitReached: _Kind(429, "rate_limit_exceeded"),
    Busy: _Kind(429, "engine_overloaded", type=LIMIT),
    EngineTimeout: _Kind(503, "timeout", type=SERVER),
    Told: _Kind(500, type=SERVER),
    DatabaseError: _Kind(503, type=SERVER),
}
"""The first that an error is one of."""
HANDLED = (Refused, Told, DatabaseError)
"""What `of_error` knows; anything else is a mistake of Hearth's own."""


def of_error(error: Refused | Told | DatabaseError) -> Fault:
    """What the core refused, or failed at, in the API's words."""
    if isinstance(error, Refused):
        return error.fault
    kind = next(kind for one, kind in _KINDS.items() if isinstance(error, one))
    return Fault(
        status=kind.status,
        message=_words(error),
        type=error.kind if isinstance(error, LimitReached) else kind.type,
        param=error.param if isinstance(error, BadRequest | TooLong | RoleForgery) else kind.param,
        code=error.code if isinstance(error, BadKey) else kind.code,
        headers=_retry(error),
    )


def _words(error: Told | DatabaseError) -> str:
    if isinstance(error, DatabaseError):
        return "The database does not answer just now."
    return f"The file cannot be read: {error.words}." if isinstance(error, UnreadError) else error.words


def _retry(error: Told | DatabaseError) -> dict[str, str]:
    """When to come again."""
    match error:
        case LimitReached():
            return {"Retry-After": str(max(1, math.ceil(error.seconds)))}
        case Busy() | DatabaseError():
            return {"Retry-After": str(BUSY_SECONDS)}
        case BadKey():
            return {"WWW-Authenticate": "Bearer"}
    return {}


def of_http(error: web.HTTPException, request: web.Request) -> Fault:
    """What aiohttp refused: no such address, no such method, a body that is too large."""
    status = error.status
    if status == web.HTTPNotFound.status_code:
        return Fault(status=404, message=f"Invalid URL ({request.method} {request.path})", code="unknown_url")
    if status == web.HTTPMethodNotAllowed.status_code:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        message = f"Not allowed to {request.method} on {request.path}."
        return Fault(status=405, message=message, code="method_not_supported", headers=headers)
    return Fault(status=status, message=STATUSES.get(status, error.text or error.reason))

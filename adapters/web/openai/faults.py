"""Errors in OpenAI's words: `{"error": {"message", "type", "param", "code"}}`, and the status that SDKs act upon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.errors import (
    BadRequest,
    Busy,
    EngineTimeout,
    LimitReached,
    NoSuchModel,
    NotAllowed,
    RoleForgery,
    Told,
    TooLong,
    UnreadError,
)

INVALID, SERVER, LIMIT = "invalid_request_error", "server_error", "rate_limit_error"
BUSY_SECONDS = 3
"""After which a refused request may come again: about one short answer."""
FAILED = "The server had an error while processing your request. It is in the log."
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
        """The error object."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self) -> web.Response:
        """As a whole response."""
        return web.json_response(self.body, status=self.status, headers=self.headers)


class Refused(Exception):
    """A request is refused with this fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def refused(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Refused:
    """For what the API itself refuses."""
    return Refused(Fault(status=status, message=message, code=code, param=param))


def of_told(error: Told) -> Fault:
    """What the core refused, or failed at."""
    words = error.words
    match error:
        case NoSuchModel():
            return Fault(status=404, message=words, param=error.param, code="model_not_found")
        case BadRequest():
            return Fault(status=400, message=words, param=error.param)
        case TooLong():
            return Fault(status=400, message=str(error), param="messages", code="context_length_exceeded")
        case LimitReached():
            wait = {"Retry-After": str(max(1, math.ceil(error.seconds)))}
            return Fault(status=429, message=words, type=error.kind, code="rate_limit_exceeded", headers=wait)
        case Busy():
            wait = {"Retry-After": str(BUSY_SECONDS)}
            return Fault(status=429, message=words, type=LIMIT, code="engine_overloaded", headers=wait)
        case NotAllowed():
            return Fault(status=403, message=words, code="not_allowed")
        case RoleForgery():
            return Fault(status=400, message=words, param="messages")
        case UnreadError():
            return Fault(status=400, message=f"The file cannot be read: {words}.", param="file")
        case EngineTimeout():
            return Fault(status=503, message=words, type=SERVER, code="timeout")
        case _:
            return Fault(status=500, message=words, type=SERVER)


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

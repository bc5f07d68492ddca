"""What goes wrong arrives as each generation of the SDK has it: a class, a status, and whose fault it is."""

from __future__ import annotations

import pytest

from tests.sdk.conftest import Told
from tests.sdk.sdks import NODE_3, PYTHON_0

CLASSES = {
    400: ("InvalidRequestError", "BadRequestError"),
    401: ("AuthenticationError", "AuthenticationError"),
    404: ("InvalidRequestError", "NotFoundError"),
}
"""By status: what Python 0.x and what later generations raise. JavaScript 3.x has only its HTTP client's own."""

ERRORS = [
    ("wrong key", 401, None, "invalid_api_key"),
    ("wrong key streamed", 401, None, "invalid_api_key"),
    ("wrong key for models", 401, None, "invalid_api_key"),
    ("key of another service", 401, None, "invalid_api_key"),
    ("wrong organisation", 401, None, "mismatched_organization"),
    ("unknown model", 404, "model", "model_not_found"),
    ("unknown model looked up", 404, "model", "model_not_found"),
    ("too hot", 400, "temperature", ...),
    ("too hot streamed", 400, "temperature", ...),
    ("no messages", 400, "messages", ...),
    ("unknown parameter", 400, "no_such_parameter", ...),
    ("too long", 400, "messages", "context_length_exceeded"),
]
"""By the call's name: status, `param` and `code`; ...: not looked at."""


@pytest.mark.parametrize("name, status, param, code", ERRORS, ids=[row[0] for row in ERRORS])
def test_errors(told: Told, name: str, status: int, param: str | None, code: object) -> None:
    error = told.error(name)
    assert error["status"] == status
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert error["param"] == param
    assert code is ... or error["code"] == code
    if told.sdk is not NODE_3:
        assert error["class"] == CLASSES[status][told.sdk is not PYTHON_0]


def test_an_organisation_of_the_key_s_own_is_taken(told: Told) -> None:
    assert told.answer("own organisation")["choices"]

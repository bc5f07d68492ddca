"""The last errors of the log, as the owner's view tells them."""

from __future__ import annotations

import io

import structlog

from bot.recent import LONGEST, LastErrors


def logger(errors: LastErrors) -> structlog.typing.FilteringBoundLogger:
    made: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(io.StringIO()),
        processors=[
            structlog.processors.add_log_level,
            errors,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    return made


def test_errors_are_told_newest_first_and_nothing_else_is() -> None:
    errors = LastErrors(kept=2)
    log = logger(errors)
    log.info("closed", answer=1)
    log.warning("told an error")
    log.error("first")
    log.error("retention could not be kept", error="database is locked")
    log.critical("last")
    rows = errors.rows()
    assert [row["words"] for row in rows] == ["last", "retention could not be kept (error: database is locked)"]
    assert rows[0]["at"].endswith("+00:00")


def test_a_trace_is_not_told() -> None:
    errors = LastErrors()
    try:
        raise ValueError("what somebody wrote")
    except ValueError:
        logger(errors).exception("adapter died", adapter="web")
    assert [row["words"] for row in errors.rows()] == ["adapter died (adapter: web)"]


def test_words_that_are_too_long_are_cut() -> None:
    errors = LastErrors()
    logger(errors).error("x" * 1000)
    assert errors.rows()[0]["words"] == "x" * LONGEST

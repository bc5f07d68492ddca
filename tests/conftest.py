"""What every test gets, and a PostgreSQL server for those that ask."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

from tests.postgres import Postgres, running


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> None:
    """Short traces: structlog's own choice prints every local variable, which takes longer than most tests."""
    render = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, render])


@pytest.fixture(autouse=True, scope="session")
def _clean_environ() -> None:
    """No setting of this machine reaches a test. HEARTH_TEST_ variables are the tests' own."""
    for name in list(os.environ):
        if name.startswith("HEARTH_") and not name.startswith("HEARTH_TEST_"):
            del os.environ[name]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for as long as the tests run."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """An empty database, without tables."""
    return postgres.create()

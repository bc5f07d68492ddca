"""What every test gets, and a PostgreSQL server for those that ask."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog

from tests.postgres import Postgres, running
from tests.workers import workers

_FAILED = pytest.StashKey[bool]()


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `--numprocesses=auto` means here."""
    return workers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """For `tmp_path`."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of the test's own; what a failed test leaves in it stays there.

    pytest's has the test's name in its path, and the worker's. A socket's path must be short, so it would depend on these
    whether one fits.
    """
    folder = Path(tempfile.mkdtemp(prefix="hearth-test-")).resolve()
    yield folder
    if not request.node.stash.get(_FAILED, False):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _heard_signals() -> None:
    """A shell that runs the tests in the background has Ctrl-C ignored, by them and by every process that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for as long as the tests run."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """An empty database, without tables."""
    return postgres.create()

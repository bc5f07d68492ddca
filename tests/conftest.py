"""What every test gets."""

import pytest
import structlog


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> None:
    """Short traces: structlog's own choice prints every local variable, which takes longer than most tests."""
    render = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, render])

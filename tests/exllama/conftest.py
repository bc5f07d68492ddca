"""These tests are skipped where their libraries are not installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

LIBRARIES = ("torch", "exllamav2", "exllamav3")
collect_ignore_glob = [] if all(find_spec(name) for name in LIBRARIES) else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that lie here need the libraries."""
    for item in items:
        if "tests/exllama/" in str(item.path.as_posix()):
            item.add_marker(pytest.mark.exllama)

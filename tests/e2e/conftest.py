"""The command line as people use it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def hearth_command() -> list[str]:
    """The installed command."""
    return [str(Path(sys.executable).with_name("hearth"))]

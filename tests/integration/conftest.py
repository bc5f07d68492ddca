"""Places in which several files of tests meet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.discord_fake import serving
from tests.discord_house import Ferns


@pytest.fixture
async def ferns(tmp_path: Path) -> AsyncIterator[Ferns]:
    """A guild on the stand-in for Discord, and a folder for its bot."""
    async with serving() as server:
        yield Ferns(tmp_path, server)

"""Places in which several files of tests meet."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.config import EMBEDDED_CHAT_MODEL
from tests.discord_fake import serving
from tests.discord_house import Ferns
from tests.programs import Program, program
from tests.web import Site, site

IDLE = 2000


@pytest.fixture
def files() -> Iterator[int]:
    """Room for both ends of many connections; how many idle ones there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 10_000 if hard == resource.RLIM_INFINITY else min(hard, 10_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield min(IDLE, most // 5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def vocabulary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the vocabularies of the attack bank lie. Each is a large file, and is read once."""
    return tmp_path_factory.mktemp("vocabularies")


@pytest.fixture
async def ferns(tmp_path: Path) -> AsyncIterator[Ferns]:
    """A guild on the stand-in for Discord, and a folder for its bot."""
    async with serving() as server:
        yield Ferns(tmp_path, server)


@pytest.fixture
async def scripted(home: Site) -> AsyncIterator[Program]:
    """A program before the scripted model of its file's `home`."""
    async with program(home) as made:
        yield made


@pytest.fixture
async def embedded_home(tmp_path: Path) -> AsyncIterator[Site]:
    model = {"path": str(EMBEDDED_CHAT_MODEL), "threads": 1}
    async with site(tmp_path / "embedded", models={"default": model}) as made:
        yield made


@pytest.fixture
async def embedded(embedded_home: Site) -> AsyncIterator[Program]:
    """A program before the embedded model."""
    async with program(embedded_home) as made:
        yield made

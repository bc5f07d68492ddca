"""One `hearth run` with its defaults, a key, recordings, and what became of each SDK's calls."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import speech
from tests.e2e.conftest import CommandLine
from tests.recordings import encoded
from tests.sdk.plan import GERMAN, ORGANISATION, SPOKEN, plan
from tests.sdk.sdks import SDKS, Sdk


@dataclass(frozen=True)
class Served:
    """A running Hearth as programs know it."""

    url: str
    """Without /v1."""
    key: str
    folder: Path
    """With the recordings that the published snippets name."""


def spoken(text: str, voice: str, container: str, codec: str) -> bytes:
    """Speech in the usual rate of a container."""
    return encoded(np.repeat(speech.samples(text, voice), 3), container, codec, 48_000)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the embedded models, as whoever installs it gets it; only the port is another."""
    folder = tmp_path_factory.mktemp("sdk")
    (folder / "openai.mp3").write_bytes(spoken(SPOKEN, speech.VOICE, "mp3", "libmp3lame"))
    (folder / "audio.mp3").write_bytes((folder / "openai.mp3").read_bytes())
    (folder / "german.m4a").write_bytes(spoken(GERMAN, "de", "ipod", "aac"))
    (folder / "words.mp3").write_text("no sound")
    hearth = CommandLine([str(Path(sys.executable).with_name("hearth"))], folder / "data")
    key = re.search(r"hk-\S+", hearth.says("keys", "create", "sdks", "--organisation", ORGANISATION))
    assert key
    with hearth.running():
        address = re.search(r"http://127\.0\.0\.1:\d+", hearth.log)
        assert address, hearth.log
        yield Served(address[0], key[0], folder)


@pytest.fixture(scope="session")
def results(served: Served) -> Callable[[Sdk], dict[str, Any]]:
    """What became of the plan on an SDK, by the calls' names. It is carried out when the first test asks."""

    @cache
    def carried_out(sdk: Sdk) -> dict[str, Any]:
        return sdk.carry_out(plan(f"{served.url}/v1", served.key, served.folder), served.folder / sdk.name)

    return carried_out


@dataclass(frozen=True)
class Told:
    """What became of one SDK's calls."""

    sdk: Sdk
    results: dict[str, Any]

    def answer(self, name: str) -> Any:
        """Of a call that must succeed, as JSON has it."""
        assert "answer" in self.results[name], self.results[name]
        return self.results[name]["answer"]

    def error(self, name: str) -> dict[str, Any]:
        """Of a call that must not."""
        assert "error" in self.results[name], self.results[name]
        found: dict[str, Any] = self.results[name]["error"]
        return found


@pytest.fixture(params=SDKS, ids=lambda sdk: sdk.name)
def told(request: pytest.FixtureRequest, results: Callable[[Sdk], dict[str, Any]]) -> Told:
    """Each SDK in turn."""
    return Told(request.param, results(request.param))

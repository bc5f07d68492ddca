"""What the system refuses while a model is pulled or copied is one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot import local_models, pulling
from bot.config import EMBEDDED_CHAT_MODEL
from bot.errors import HubError
from tests.hub import Repo, standing_in

DEMO = EMBEDDED_CHAT_MODEL.read_bytes()


def nothing() -> None:
    """What happens meanwhile."""


def stop() -> None:
    raise KeyboardInterrupt


@dataclass
class Meanwhile:
    """Progress at which something happens as soon as a work of this name goes on."""

    what: str = ""
    happens: Callable[[], None] = nothing

    def begin(self, what: str, size: int) -> Callable[[int], None]:
        return lambda done: self.happens() if what == self.what else None


def pull(data_dir: Path, progress: Meanwhile) -> None:
    """`hearth models pull owner/demo` of a hub on loopback."""
    with standing_in(owner__demo=Repo({"Demo.gguf": DEMO})) as hub:
        client = pulling.open_hub(data_dir, {"HF_ENDPOINT": hub.url}, ())
        try:
            pulling.pull(client, pulling.choose(client.look("owner/demo"), None), data_dir, "demo-q8", progress)
        finally:
            client.close()


def test_a_folder_that_somebody_takes_away_is_told(tmp_path: Path) -> None:
    place = local_models.folder(tmp_path, "demo-q8")
    with pytest.raises(HubError) as told:
        pull(tmp_path, Meanwhile("checking Demo.gguf", lambda: shutil.rmtree(place, ignore_errors=True)))
    assert str(told.value).startswith(f"{place}/incoming/Demo.gguf")
    assert str(told.value).endswith(
        " cannot be written (No such file or directory). What has come is kept: pull it again"
    )


def test_a_folder_in_the_way_of_a_pull_is_told(tmp_path: Path) -> None:
    in_the_way = local_models.folder(tmp_path, "demo-q8") / "Demo.gguf"
    in_the_way.mkdir(parents=True)
    with pytest.raises(HubError, match=r"Demo\.gguf cannot be written \(Is a directory\)\. What has come is kept"):
        pull(tmp_path, Meanwhile())


def test_a_folder_in_the_way_of_a_copy_is_told(tmp_path: Path) -> None:
    (local_models.folder(tmp_path, "mine") / EMBEDDED_CHAT_MODEL.name).mkdir(parents=True)
    with pytest.raises(HubError, match=r"cannot be written \(Is a directory\)\.$"):
        pulling.keep(EMBEDDED_CHAT_MODEL, tmp_path, "mine", Meanwhile(), copy=True)


def test_a_copy_that_is_stopped_leaves_the_complete_one_of_before(tmp_path: Path) -> None:
    entry = pulling.keep(EMBEDDED_CHAT_MODEL, tmp_path, "mine", Meanwhile(), copy=True)
    with pytest.raises(KeyboardInterrupt):
        pulling.keep(EMBEDDED_CHAT_MODEL, tmp_path, "mine", Meanwhile(EMBEDDED_CHAT_MODEL.name, stop), copy=True)
    assert local_models.entries(tmp_path) == {"mine": entry}
    assert sorted(path.name for path in entry.path.parent.iterdir()) == sorted([entry.path.name, "model.json"])

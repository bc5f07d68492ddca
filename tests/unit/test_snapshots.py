"""What models are called towards programs: dated names that stand for one model's weights each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bot.completions.names import Names
from bot.config import Config
from bot.local_models import EMBEDDINGS
from bot.snapshots import snapshot_of

DAY = datetime(2026, 3, 14, tzinfo=UTC)


def config(models: dict[str, dict[str, object]], **sections: object) -> Config:
    return Config.model_validate({"models": models, **sections})


def file(path: Path, *, seconds: int = 1) -> Path:
    """A file of the 14th of March, so many seconds after midnight UTC."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"weights")
    when = DAY.timestamp() + seconds
    os.utime(path, (when, when))
    return path


def snapshot(model: Mapping[str, object], alias: str = "big") -> tuple[str, datetime]:
    found = snapshot_of(alias, config({alias: dict(model)}).models[alias])
    return found.id, found.released


class TestSnapshots:
    def test_a_file_has_its_name_and_the_day_of_its_last_change_in_utc(self, tmp_path: Path) -> None:
        path = file(tmp_path / "My Model (Q4).gguf", seconds=24 * 3600 - 1)
        assert snapshot({"path": path}) == ("My-Model-Q4-2026-03-14", DAY)
        assert snapshot({"path": file(path, seconds=24 * 3600)})[0] == "My-Model-Q4-2026-03-15"

    def test_a_model_in_parts_has_one_name(self, tmp_path: Path) -> None:
        path = file(tmp_path / "big-00001-of-00003.gguf")
        assert snapshot({"path": path})[0] == "big-2026-03-14"

    def test_the_configuration_may_say_the_day(self, tmp_path: Path) -> None:
        path = file(tmp_path / "m.gguf")
        told = {"path": path, "released": "2025-01-31", "deprecated": "2027-06-30"}
        found = snapshot_of("big", config({"big": told}).models["big"])
        assert (found.id, found.released) == ("m-2025-01-31", datetime(2025, 1, 31, tzinfo=UTC))
        assert found.deprecated == datetime(2027, 6, 30, tzinfo=UTC)

    def test_a_folder_has_its_whole_name(self, tmp_path: Path) -> None:
        (tmp_path / "llama-3.1-8b").mkdir()
        os.utime(tmp_path / "llama-3.1-8b", (DAY.timestamp(), DAY.timestamp()))
        assert snapshot({"path": tmp_path / "llama-3.1-8b"})[0] == "llama-3.1-8b-2026-03-14"

    def test_a_model_on_a_server_has_its_name_there(self) -> None:
        far = {"url": "http://127.0.0.1:9/v1"}
        assert snapshot({**far, "remote_model": "gpt-4-0613"})[0] == "gpt-4-0613"
        assert snapshot({**far, "remote_model": "Qwen/Qwen2.5-7B"})[0] == "Qwen-Qwen2.5-7B"
        assert snapshot(far, "far")[0] == "far"

    def test_what_is_gone_has_a_name_all_the_same(self, tmp_path: Path) -> None:
        assert snapshot({"path": tmp_path / "gone.gguf"})[0] == "gone-1970-01-01"

    def test_the_embedded_models_have_days_of_their_own(self) -> None:
        """Whenever they were installed."""
        found = {alias: snapshot_of(alias, model).id for alias, model in (*CONFIG.models.items(), *EMBEDDING.items())}
        assert found == {
            "default": "hearth-demo-chat-2026-11-21",
            "embedding": "hearth-demo-embedding-2026-11-29",
        }


class TestNames:
    def test_a_fresh_install_offers_the_names_of_openais_examples(self) -> None:
        names = Names(CONFIG)
        for name in (
            "text-embedding-ada-002",
            "text-embedding-3-small",
            EMBEDDINGS,
            "hearth-demo-embedding-2026-11-29",
        ):
            found = names.find(name)
            assert found is not None
            assert (found.alias, found.kind) == (EMBEDDINGS, "embedding")
        cards = {card.id: card for card in names.cards()}
        assert cards["text-embedding-ada-002"].snapshot == "hearth-demo-embedding-2026-11-29"
        assert (cards["gpt-3.5-turbo"].kind, cards["default"].kind) == ("chat", "chat")

    def test_a_model_that_chats_and_embeds_has_two_snapshots(self, tmp_path: Path) -> None:
        path = file(tmp_path / "m.gguf")
        names = Names(config({"both": {"path": path}, "places": {"path": path, "kind": "embedding"}}))
        chat, places = names.find("both"), names.find("places")
        assert chat is not None
        assert places is not None
        assert (chat.snapshot, places.snapshot) == ("m-2026-03-14", "places-m-2026-03-14")
        assert names.find(chat.snapshot) == chat
        assert names.find(places.snapshot) == places

    def test_files_that_are_called_alike_have_two_snapshots(self, tmp_path: Path) -> None:
        one, other = file(tmp_path / "a" / "model.gguf"), file(tmp_path / "b" / "model.gguf")
        names = Names(config({"one": {"path": one}, "same": {"path": one, "slots": 2}, "other": {"path": other}}))
        snapshots = {alias: found.snapshot for alias in ("one", "same", "other") if (found := names.find(alias))}
        assert snapshots == {
            "one": "model-2026-03-14",
            "same": "model-2026-03-14",
            "other": "other-model-2026-03-14",
        }
        other_found = names.find("other-model-2026-03-14")
        assert other_found is not None
        assert other_found.alias == "other"

    def test_names_of_the_configuration_may_be_for_embeddings(self, tmp_path: Path) -> None:
        path = file(tmp_path / "m.gguf")
        models: dict[str, dict[str, object]] = {"places": {"path": path, "kind": "embedding"}}
        names = Names(config(models, api={"aliases": {"text-embedding-ada-002": "places"}}))
        found = names.find("text-embedding-ada-002")
        assert found is not None
        assert found.alias == "places"


CONFIG = Config()
EMBEDDING = CONFIG.embedding_models

"""The models of the data directory, and how config.toml and they make one configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot import local_models
from bot.config import EMBEDDED_CHAT_MODEL, Config, load, model_tables
from bot.errors import ConfigError
from bot.local_models import Entry


def keep(data_dir: Path, name: str = "small", **values: object) -> Entry:
    """A model whose file lies in its folder."""
    path = local_models.folder(data_dir, name) / f"{name}.gguf"
    entry = Entry.model_validate({"name": name, "path": path, "source": "hub.example/owner/repo", **values})
    local_models.save(data_dir, entry)
    return entry


def configured(data_dir: Path, text: str = "", **environ: str) -> Config:
    data_dir.mkdir(exist_ok=True)
    (data_dir / "config.toml").write_text(text, "utf-8")
    return load(data_dir / "config.toml", {"HEARTH_DATA_DIR": str(data_dir), **environ})


def test_a_model_is_found_again_as_it_was_saved(tmp_path: Path) -> None:
    entry = keep(tmp_path, files={"small.gguf": "ab" * 32}, revision="c0ffee", licence="apache-2.0", size=7)
    assert local_models.entries(tmp_path) == {"small": entry}


def test_a_data_directory_can_be_moved_with_its_models(tmp_path: Path) -> None:
    keep(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    assert local_models.entries(tmp_path / "new")["small"].path == tmp_path / "new/models/small/small.gguf"


def test_a_pulled_model_needs_no_word_in_the_configuration(tmp_path: Path) -> None:
    entry = keep(tmp_path)
    config = configured(tmp_path, '[personas.quick]\nmodel = "small"\n')
    assert config.own_models["small"].path == entry.path
    assert config.models["small"].description == "hub.example/owner/repo"
    assert config.own_models["default"].path == EMBEDDED_CHAT_MODEL


def test_what_is_not_complete_is_no_model(tmp_path: Path) -> None:
    keep(tmp_path, complete=False)
    local_models.choose(tmp_path, "small", tmp_path / "gone.gguf")
    config = configured(tmp_path)
    assert list(config.models) == ["default"]
    assert config.own_models["default"].path == tmp_path / "gone.gguf"


def test_the_chosen_model_is_the_default_and_the_same_under_its_own_name(tmp_path: Path) -> None:
    entry = keep(tmp_path)
    local_models.choose(tmp_path, "small", entry.path)
    config = configured(tmp_path)
    assert config.models["default"] == config.models["small"]
    assert config.own_models["default"].path == entry.path
    local_models.choose(tmp_path, None)
    assert configured(tmp_path).own_models["default"].path == EMBEDDED_CHAT_MODEL


def test_the_configuration_says_how_a_pulled_model_is_run(tmp_path: Path) -> None:
    """A table without a path is about the model of its name; [models.default] without one, about the chosen model."""
    entry = keep(tmp_path)
    local_models.choose(tmp_path, "small", entry.path)
    config = configured(tmp_path, "[models.small]\nslots = 2\n[models.default]\nthreads = 3\n")
    small, default = config.own_models["small"], config.own_models["default"]
    assert (small.path, small.slots, small.threads) == (entry.path, 2, None)
    assert (default.path, default.slots, default.threads) == (entry.path, 2, 3)


def test_a_model_of_the_configuration_goes_first(tmp_path: Path) -> None:
    keep(tmp_path)
    local_models.choose(tmp_path, "small")
    config = configured(tmp_path, '[models.small]\npath = "mine.gguf"\n[models.default]\npath = "other.gguf"\n')
    assert config.own_models["small"].path == tmp_path / "mine.gguf"
    assert config.own_models["default"].path == tmp_path / "other.gguf"


def test_a_model_of_the_configuration_can_be_chosen(tmp_path: Path) -> None:
    local_models.choose(tmp_path, "mine", tmp_path / "mine.gguf")
    config = configured(tmp_path, '[models.mine]\npath = "mine.gguf"\nslots = 3\n')
    assert config.models["default"] == config.models["mine"]
    assert config.models["default"].slots == 3


def test_a_choice_that_is_gone_is_told_by_its_file(tmp_path: Path) -> None:
    """The embedded demo does not take a real model's place in silence."""
    local_models.choose(tmp_path, "gone", tmp_path / "gone.gguf")
    assert configured(tmp_path).own_models["default"].path == tmp_path / "gone.gguf"
    local_models.choose(tmp_path, "gone")
    with pytest.raises(ConfigError, match=r"default\.json: names the model 'gone', which there is not any more"):
        configured(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"path": 5}', '{"path": "a", "shelf": 1}', '{"name": "b", "path": "a"}'])
def test_a_damaged_card_is_told_by_its_file(tmp_path: Path, text: str) -> None:
    keep(tmp_path)
    (tmp_path / "models/small/model.json").write_text(text)
    with pytest.raises(ConfigError, match=r"small/model\.json: is damaged; remove its folder and pull the model again"):
        configured(tmp_path)


def test_a_damaged_choice_is_told_by_its_file(tmp_path: Path) -> None:
    local_models.choose(tmp_path, "small")
    (tmp_path / "models/default.json").write_text("{")
    with pytest.raises(ConfigError, match=r"default\.json: is damaged; remove it, then choose again"):
        configured(tmp_path)


def test_a_removed_model_takes_its_folder_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "mine.gguf"
    outside.write_text("kept")
    keep(tmp_path / "data", "linked", path=outside)
    kept = keep(tmp_path / "data", "pulled")
    kept.path.write_text("gone")
    for name in ("linked", "pulled"):
        local_models.remove(tmp_path / "data", name)
    assert local_models.entries(tmp_path / "data") == {}
    assert outside.read_text() == "kept"
    assert not kept.path.parent.exists()


def test_what_the_configuration_says_of_models_is_told_without_the_pulled_ones(tmp_path: Path) -> None:
    keep(tmp_path)
    file = tmp_path / "config.toml"
    file.write_text("[models.small]\nslots = 2\n")
    environ = {"HEARTH_DATA_DIR": str(tmp_path), "HEARTH_MODELS__DEFAULT__PATH": "/x.gguf"}
    assert model_tables(file, environ) == {"small": {"slots": 2}, "default": {"path": "/x.gguf"}}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-4B-Q4_K_M.gguf", "qwen3-4b-q4_k_m"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "qwen2.5-7b-instruct-q4_k_m"),
        ("My Model (v2).gguf", "my-model-v2"),
        ("ÄÖÜ.gguf", "model"),
        (f"{'a' * 150}.gguf", "a" * 100),
    ],
)
def test_a_model_is_called_as_its_file(file: str, name: str) -> None:
    assert local_models.name_for(file) == name
    assert local_models.checked(name) == name


@pytest.mark.parametrize("name", ["default", "demo", "", "../up", "a/b", ".hidden", "Qwen", "a" * 101])
def test_a_name_that_would_be_a_trap_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        local_models.checked(name)


def test_what_is_written_is_there_whole(tmp_path: Path) -> None:
    keep(tmp_path)
    assert json.loads((tmp_path / "models/small/model.json").read_text())["path"] == "small.gguf"
    assert [path.name for path in (tmp_path / "models/small").iterdir()] == ["model.json"]

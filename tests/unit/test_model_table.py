"""What `hearth models list` and `hearth models info` tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import local_models
from bot.config import EMBEDDED_CHAT_MODEL, Config, ModelConfig
from bot.engines import gguf
from bot.errors import ModelError
from bot.local_models import Entry
from bot.model_table import Row, facts, memory, rows
from tests.unit.test_gguf import write


def config(folder: Path, **models: dict[str, object]) -> Config:
    return Config.model_validate({"data_dir": folder / "data", "models": models})


def chatting(settings: Config) -> list[Row]:
    """The rows of the models that can be chosen."""
    return [row for row in rows(settings) if row.name not in settings.embedding_models]


def test_the_embedded_models_are_told_to_be_demos(tmp_path: Path) -> None:
    """Nobody is to take them for real ones."""
    what = "embedded demo of about 3 million parameters: small talk only"
    chat, embedding = rows(config(tmp_path))
    assert chat == Row("default", what, "3.5 MB", "2048", "Q8_0", "can be read")
    assert (embedding.name, embedding.context) == ("embedding", "2048")
    assert embedding.what == "embedded demo for embeddings"
    assert embedding.state == "can be read; for programs alone"


def test_a_model_for_embeddings_is_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf", template=None)
    settings = config(
        tmp_path, tiny={"path": path, "kind": "embedding"}, gone={"path": tmp_path / "g", "kind": "embedding"}
    )
    _, _, tiny, gone = rows(settings)
    assert tiny == Row(
        "tiny", "embeddings, 896 parameters, llama", "4.5 kB", "4096", "", "can be read; for programs alone"
    )
    assert gone.state == f"{tmp_path}/g: cannot be read (No such file or directory)"
    told = dict(facts(settings, "tiny", settings.embedding_models["tiny"]))
    assert told["for"] == "embeddings of 64 dimensions"
    assert not any(what.startswith("memory") for what in told)


def test_a_model_without_words_of_its_own_is_told_by_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf")
    _, tiny = chatting(config(tmp_path, tiny={"path": path, "context_length": 1024}))
    assert tiny == Row("tiny", "896 parameters, llama", "4.6 kB", "1024", "", "can be read")


def test_what_cannot_be_used_is_told_in_its_row(tmp_path: Path) -> None:
    base = write(tmp_path / "base.gguf", template=None)
    _, gone, wordless = chatting(config(tmp_path, gone={"path": tmp_path / "gone.gguf"}, wordless={"path": base}))
    assert gone == Row("gone", "gone.gguf", state=f"{tmp_path}/gone.gguf: cannot be read (No such file or directory)")
    assert "has no chat template" in wordless.state


def test_the_default_is_marked_and_not_listed_twice(tmp_path: Path) -> None:
    same = {"path": EMBEDDED_CHAT_MODEL, "description": "mine"}
    assert [row.name for row in chatting(config(tmp_path, default=same, mine=same))] == ["mine (default)"]
    assert [row.name for row in chatting(config(tmp_path, default={**same, "slots": 2}, mine=same))] == [
        "default",
        "mine",
    ]


def test_a_model_elsewhere_is_told_with_its_server(tmp_path: Path) -> None:
    _, far = chatting(config(tmp_path, far={"url": "http://127.0.0.1:9/v1"}))
    assert far == Row("far", "remote", state="at http://127.0.0.1:9/v1")


def test_a_pull_that_broke_off_is_told_with_what_is_here(tmp_path: Path) -> None:
    settings = config(tmp_path)
    path = local_models.folder(settings.data_dir, "big") / "big.gguf"
    local_models.save(
        settings.data_dir, Entry(name="big", path=path, source="hub/owner/big", size=4_700_000_000, complete=False)
    )
    with local_models.staging(settings.data_dir, "big") as staging:
        (staging / "big.gguf.0123.part").write_bytes(bytes(1_200_000))
    assert chatting(settings)[1:] == [
        Row("big", "hub/owner/big", "4.7 GB", state="not complete: 1.2 MB of 4.7 GB; pull it again to go on")
    ]


def test_info_tells_what_the_file_says(tmp_path: Path) -> None:
    model = ModelConfig(path=EMBEDDED_CHAT_MODEL, slots=4)
    told = dict(facts(config(tmp_path), "demo", model))
    assert told.pop("this machine has").endswith("of memory")
    assert told == {
        "name": "demo",
        "called": "Hearth demo chat",
        "file": str(EMBEDDED_CHAT_MODEL),
        "size": "3.5 MB",
        "architecture": "llama",
        "parameters": "3.3 million",
        "quantisation": "Q8_0",
        "context": "2048 tokens, as trained",
        "for": "chat",
        "chat template": "yes, 1562 characters",
        "licence": "MIT",
        "from": "unknown",
        "memory, 1 at once": "about 11.9 MB: weights 3.5 MB, KV cache 8.4 MB for 2048 tokens in each conversation",
        "memory, 8 at once": "about 70.6 MB: weights 3.5 MB, KV cache 67.1 MB for 2048 tokens in each conversation",
        "memory, 4 at once": "about 37.1 MB: weights 3.5 MB, KV cache 33.6 MB for 2048 tokens in each conversation",
    }


def test_memory_is_for_the_context_that_is_configured(tmp_path: Path) -> None:
    file = gguf.read(EMBEDDED_CHAT_MODEL)
    assert memory(file, ModelConfig(path=file.path, slots=2, context_length=1024)) == (
        "about 11.9 MB: weights 3.5 MB, KV cache 8.4 MB for 1024 tokens in each conversation"
    )


def test_a_files_words_command_no_terminal(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes().replace(b"Tiny", b"\x1b[2J"))
    assert dict(facts(config(tmp_path), "tiny", ModelConfig(path=path)))["called"] == "[2J"


def test_info_of_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("rubbish")
    with pytest.raises(ModelError, match=r"x\.gguf: is no GGUF model file"):
        dict(facts(config(tmp_path), "x", ModelConfig(path=tmp_path / "x.gguf")))


def test_a_folder_is_told_by_its_weights_and_what_runs_it(tmp_path: Path) -> None:
    folder = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"
    settings = config(tmp_path, big={"path": folder, "context_length": 1024}, bad={"path": tmp_path})
    _, big, bad = chatting(settings)
    assert big == Row("big", "LlamaForCausalLM", "6.6 MB", "1024", "float16", "can be read, by exllamav3")
    assert "config.json: cannot be read" in bad.state
    told = dict(facts(settings, "big", settings.own_models["big"]))
    assert (told["run by"], told["context"]) == ("exllamav3", "2048 tokens, as trained")
    assert told["memory"] == "weights 6.6 MB, KV cache 4.2 MB for each 1024 tokens"

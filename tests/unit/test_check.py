"""`hearth check`: every room is looked at, and what is wrong is told in words that help."""

import os
import socket
from pathlib import Path

import pytest

from adapters.console.socket import answers
from adapters.look import Finding
from bot.app import running
from bot.check import inspect, table
from bot.config import Config
from bot.ports import ChatEngine
from bot.recent import LastErrors
from bot.testing import ScriptedEngine
from storage.store import SqlStore
from tests.house import configuration


def config(folder: Path, **sections: object) -> Config:
    return Config.model_validate({"data_dir": folder / "data", "web": {"port": 0}, **sections})


async def findings(settings: Config) -> dict[str, Finding]:
    return {finding.what: finding for finding in await inspect(settings)}


async def test_a_fresh_machine_has_all_it_needs(tmp_path: Path) -> None:
    found = await findings(config(tmp_path))
    assert [finding.what for finding in found.values() if not finding.good] == []
    assert list(found) == [
        *("data directory", "process", "database", "model default", "model embedding"),
        *("voice messages", "web page", "Telegram", "Discord", "who may talk"),
    ]
    assert found["process"].words == "none is running"
    assert found["database"].words == f"{tmp_path}/data/hearth.db, made at the next start"
    assert found["model default"].words.startswith("hearth-demo-chat.gguf: ")
    assert " for embeddings, 256 dimensions, context 2048, " in found["model embedding"].words
    assert found["voice messages"].words.startswith("hearth-demo-speech (2 MiB, a demo that knows 250 words), on ")
    assert found["web page"].words == "without a token, for this machine alone, on a port that the system chooses"
    assert found["Telegram"].words == "is not set up (telegram.token)"
    assert found["Discord"].words == "is not set up (discord.token)"
    assert found["who may talk"].words == "the terminal's user alone"


async def test_a_look_changes_nothing(tmp_path: Path) -> None:
    """No folder is made, no database, and no older schema is brought up to date."""
    await findings(config(tmp_path))
    assert list(tmp_path.iterdir()) == []
    settings = config(tmp_path)
    await (await SqlStore.open(settings.database_url, default_retention_days=30)).aclose()
    before = {path: path.read_bytes() for path in settings.data_dir.iterdir()}
    assert (await findings(settings))["database"].words.endswith("hearth.db, 0 questions wait")
    assert {path: path.read_bytes() for path in settings.data_dir.iterdir()} == before


@pytest.mark.parametrize(
    ("web", "good", "words"),
    [
        ({"enabled": False}, True, "is not served (web.enabled is false)"),
        (
            {"host": "0.0.0.0"},
            False,
            "web.host is 0.0.0.0, which others can reach, and there is no token. Set web.token",
        ),
        ({"host": "0.0.0.0", "port": 0, "token": "x" * 12}, True, "with a token, for the owner, on a port"),
        ({"port": 0, "people": {"ann": "x" * 12}}, True, "with a token, for ann, on a port"),
        (
            {"host": "name.invalid", "token": "x" * 12},
            False,
            "The web page cannot be served on name.invalid, port 8080 (",
        ),
    ],
)
async def test_the_page_is_told_as_it_would_be(tmp_path: Path, web: dict[str, object], good: bool, words: str) -> None:
    found = (await findings(config(tmp_path, web=web)))["web page"]
    assert (found.good, found.words[: len(words)]) == (good, words)


async def test_the_page_s_port_is_tried(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = config(tmp_path, web={"port": port})
        found = (await findings(taken))["web page"]
        assert (found.good, found.words.split(",")[0]) == (False, f"Port {port} is in use")
    assert (await findings(taken))["web page"].words == (
        f"http://127.0.0.1:{port} can be served without a token, for this machine alone"
    )

    async def load(alias: str, model: object, data_dir: Path) -> ChatEngine:
        return ScriptedEngine()

    scripted = configuration(data_dir=tmp_path / "data", web={"port": 0})
    async with running(scripted, errors=LastErrors(), loaders={".fake": load}) as app:
        assert app.page is not None
        served = config(tmp_path, web={"port": app.page.server.port})
        assert (await findings(served))["web page"].words == (
            f"{app.page.address} is served without a token, for this machine alone"
        )


async def test_who_may_talk_is_listed(tmp_path: Path) -> None:
    found = await findings(config(tmp_path, permissions={"allow": ["telegram:1"], "admins": ["discord:2"]}))
    assert found["who may talk"].words == "the terminal's user, and telegram:1, discord:2"
    coded = await findings(config(tmp_path, permissions={"pairing_code": "open-sesame"}))
    assert coded["who may talk"].words == "the terminal's user, and whoever sends the pairing code"


async def test_a_model_that_is_missing_is_told_by_its_alias(tmp_path: Path) -> None:
    found = await findings(config(tmp_path, models={"big": {"path": str(tmp_path / "gone.gguf")}}))
    assert not found["model big"].good
    assert "gone.gguf" in found["model big"].words
    assert found["model default"].good


async def test_a_data_directory_that_cannot_be_made_is_told_and_the_rest_looked_at(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    found = await findings(config(tmp_path))
    assert found["data directory"].words == (f"{tmp_path}/data is not a directory. HEARTH_DATA_DIR chooses another.")
    assert not found["database"].good
    assert found["model default"].good


async def test_a_password_is_not_shown(tmp_path: Path) -> None:
    url = "postgresql+psycopg://hearth:s3cret@127.0.0.1:1/hearth"
    found = await findings(config(tmp_path, database={"url": url}))
    assert not found["database"].good
    assert "s3cret" not in found["database"].words


@pytest.mark.parametrize("url", ["s3cret", "postgresql+psycopg://h:s3cret@db:port/h", "mysql://h:s3cret@db/h"])
async def test_a_url_that_is_none_is_told_without_its_password(tmp_path: Path, url: str) -> None:
    found = await findings(config(tmp_path, database={"url": url}))
    assert not found["database"].good
    assert found["database"].words.startswith("database.url")
    assert "s3cret" not in found["database"].words
    assert found["model default"].good


async def test_a_running_process_is_asked_and_not_disturbed(tmp_path: Path) -> None:
    settings = configuration(data_dir=tmp_path / "data")

    async def load(alias: str, model: object, data_dir: Path) -> ChatEngine:
        return ScriptedEngine()

    async with running(settings, loaders={".fake": load}):
        found = await findings(settings)
        assert found["process"].good
        assert found["process"].words.endswith("is running, 0 questions wait")
        assert found["database"].words.endswith(f"hearth.db, in use by process {os.getpid()}")
        assert await answers(settings.socket)


def test_the_table_shows_what_is_in_brackets_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table([Finding("model [red]x", False, "/srv/[bold]models is missing"), Finding("y", True, "fine")])
    shown = capsys.readouterr().out
    assert "model [red]x" in shown
    assert "/srv/[bold]models is missing" in shown
    assert "does not work" in shown
    assert "works" in shown


def test_an_address_is_shown_in_one_piece(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the screen is narrow; what stands in the table is folded and not cut."""
    monkeypatch.setenv("COLUMNS", "60")
    link, words = "https://example.org/?" + "x" * 200, "y" * 100
    table([Finding("door", True, words, link)])
    shown = capsys.readouterr().out
    assert f"door: {link}\n" in shown
    assert shown.count("y") == len(words)


async def test_a_model_folder_is_looked_at_and_the_gpu_with_it(tmp_path: Path) -> None:
    """On a machine that has none here, what answers in its place is told."""
    folder = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"
    found = await findings(config(tmp_path, models={"big": {"path": folder}, "bad": {"path": tmp_path}}))
    words = found["model big"].words
    assert words.startswith("hearth-demo-chat-hf: LlamaForCausalLM, float16, 6 MiB, exllamav3")
    assert not found["model bad"].good
    assert "config.json: cannot be read" in found["model bad"].words
    assert list(found)[list(found).index("model bad") + 1 :][:2] == ["model embedding", "GPU"]
    if not found["GPU"].good:
        assert "so hearth-demo-chat.gguf answers on the CPU" in words
        assert "\n" not in found["GPU"].words

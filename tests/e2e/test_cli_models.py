"""`hearth models`, as people use it: against a hub on loopback, and without any."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.config import EMBEDDED_CHAT_MODEL, EMBEDDED_EMBEDDING_MODEL
from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import DEADLINE, wait
from tests.hub import HubStandIn, Repo, standing_in
from tests.integration.test_trial import crashing, newer

DEMO, EMBEDDING = EMBEDDED_CHAT_MODEL.read_bytes(), EMBEDDED_EMBEDDING_MODEL.read_bytes()
NAME = "other-q8_0"


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with standing_in(owner__other=Repo({"Other-Q8_0.gguf": DEMO})) as standing:
        yield standing
        assert standing.strange == []


@pytest.fixture
def hearth(hearth: CommandLine, hub: HubStandIn, tmp_path: Path) -> CommandLine:
    """With a hub, and a home of its own to see what is written there."""
    (tmp_path / "home").mkdir()
    hearth.configure("[personas.default]\ntemperature = 0.0\n")
    hearth.settings = {"HF_ENDPOINT": hub.url, "HOME": str(tmp_path / "home"), "NO_PROXY": "*"}
    return hearth


def error(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that must fail."""
    assert done.returncode == 1, done.stdout
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("hearth: ")


def row(table: str, name: str) -> str:
    return next(line for line in table.splitlines() if name in line)


def test_a_model_from_the_hub_answers_and_goes_again(hearth: CommandLine, hub: HubStandIn, tmp_path: Path) -> None:
    """Pull, look, use, ask, remove: and nothing is written outside the data directory."""
    pulled = hearth("models", "pull", "owner/other")
    assert pulled.returncode == 0, pulled.stderr
    assert f"{NAME} is here: 3.5 MB" in pulled.stdout
    assert "Other-Q8_0.gguf: 3.5 MB of 3.5 MB" in pulled.stderr
    listed = hearth.says("models", "list")
    assert "owner/other" in row(listed, NAME)
    assert "can be read" in row(listed, NAME)
    assert "embedded demo" in row(listed, "default")
    assert f"- {NAME}: " in hearth.ask("/model")
    assert hearth.ask(f"/model {NAME}") == f"This conversation now uses the model {NAME}."
    assert hearth.ask("Count to 3.") == "1 2 3"

    assert hearth.says("models", "use", NAME).startswith(
        f"{NAME} is the default from the next start on.\nIt needs about "
    )
    assert row(hearth.says("models", "list"), f"{NAME} (default)")
    assert hearth.ask("Count to 3.", "new") == "1 2 3"
    assert NAME in hearth.says("usage")
    assert "choose another first" in error(hearth("models", "remove", NAME, "--yes"))

    assert hearth.says("models", "use", "demo") == "The embedded demo is the default from the next start on.\n"
    assert hearth.says("models", "remove", NAME, given="y\n").endswith(f"Removed: {NAME}.\n")
    assert NAME not in hearth.says("models", "list")
    assert list((hearth.data_dir / "models").iterdir()) == []
    assert list((tmp_path / "home").iterdir()) == []
    assert [line.split("?")[0] for line in hub.asked] == [
        "hub GET /api/models/owner/other/revision/main",
        f"hub GET /owner/other/resolve/{'5eb1cb08' * 5}/Other-Q8_0.gguf",
        "store GET /owner/other/Other-Q8_0.gguf",
    ]


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_pull_that_was_stopped_goes_on_where_it_was(
    hearth: CommandLine, hub: HubStandIn, how: signal.Signals, code: int
) -> None:
    hub.hold.clear()
    process = subprocess.Popen(
        [*hearth.command, "models", "pull", "owner/other"],
        env=hearth.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def half() -> bool:
        return sum(part.stat().st_size for part in hearth.data_dir.rglob("*.part")) > 1_500_000

    wait(half, "half of the file")
    process.send_signal(how)
    _, words = process.communicate(timeout=DEADLINE)
    assert process.returncode == code
    assert b"Traceback" not in words
    assert ("What has come is kept" in words.decode()) == (how is signal.SIGINT)
    hub.hold.set()
    state = row(hearth.says("models", "list"), NAME)
    assert re.search(r"not complete: 1\.[5-8] MB of 3\.5 MB; pull it again", state)
    assert "is not complete" in error(hearth("models", "use", NAME))
    assert f"{NAME} is here" in hearth.says("models", "pull", "owner/other")
    first, second = hub.ranges()
    assert first == "all"
    assert int(second.removeprefix("bytes=").rstrip("-")) > 1_500_000


def test_a_full_disk_is_one_line_and_what_came_is_kept(hearth: CommandLine, hub: HubStandIn) -> None:
    """A limit on the size of files stands in for the disk's end: the same error of the system comes from write()."""
    command = hearth.command
    hearth.command = ["bash", "-c", 'ulimit -f 2000; exec "$@"', "bash", *command]
    told = hearth("models", "pull", "owner/other")
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1] == (
        "hearth: the download cannot be written (File too large). What has come is kept: try again later"
    )
    hearth.command = command
    assert f"{NAME} is here" in hearth.says("models", "pull", "owner/other")
    assert hub.ranges() == ["all", "bytes=2048000-"]


def test_several_models_are_offered_with_their_sizes(hearth: CommandLine, hub: HubStandIn) -> None:
    hub.repos["owner/other"].files = {"M-Q2_K.gguf": DEMO[:1000], "M-Q8_0.gguf": DEMO}
    done = hearth("models", "pull", "owner/other")
    assert error(done) == "owner/other has 2 models: hearth models pull owner/other FILE"
    assert "3.5 MB" in row(done.stdout, "M-Q8_0.gguf")
    assert "m-q8_0 is here" in hearth.says("models", "pull", "owner/other", "Q8_0")


def test_the_usual_quantisation_is_taken_and_said(hearth: CommandLine, hub: HubStandIn) -> None:
    hub.repos["owner/other"].files = {"M-Q4_K_M.gguf": DEMO, "M-Q8_0.gguf": DEMO}
    told = hearth.says("models", "pull", "owner/other", "--use")
    assert "M-Q4_K_M.gguf from 127.0.0.1:" in told
    assert "1 more: hearth models pull owner/other FILE" in told
    assert "m-q4_k_m is the default from the next start on." in told


def test_offline_is_one_line(hearth: CommandLine, hub: HubStandIn) -> None:
    hearth.settings["HF_HUB_OFFLINE"] = "1"
    assert error(hearth("models", "pull", "owner/other")).startswith("HF_HUB_OFFLINE is set, so 127.0.0.1:")
    del hearth.settings["HF_HUB_OFFLINE"]
    hub.close_listening()
    told = error(hearth("models", "pull", "owner/other"))
    assert "cannot be reached (" in told
    assert told.endswith("a file that is on this machine needs no hub: hearth models use PATH")
    assert hub.asked == []
    assert not (hearth.data_dir / "models").exists()


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://127.0.0.1:1", "Connection refused). Try again later"),
        ("socks5://127.0.0.1:1", "the proxy that the environment names cannot be used (Using SOCKS proxy"),
        ("rubbish://x", "the proxy that the environment names cannot be used ("),
    ],
)
def test_a_proxy_that_does_not_work_is_one_line(hearth: CommandLine, hub: HubStandIn, proxy: str, words: str) -> None:
    hearth.settings |= {"NO_PROXY": "", "no_proxy": "", "HTTP_PROXY": proxy, "http_proxy": proxy}
    assert words in error(hearth("models", "pull", "owner/other"))
    assert hub.asked == []


@pytest.mark.parametrize("endpoint", ["ftp://hub.example", "hub.example", "http://", "http://[::bad"])
def test_a_hub_address_that_is_none_is_one_line(hearth: CommandLine, endpoint: str) -> None:
    hearth.settings["HF_ENDPOINT"] = endpoint
    assert error(hearth("models", "pull", "owner/other")).startswith("HF_ENDPOINT is no hub's address")


def test_a_private_repository_is_opened_by_a_token_that_is_shown_nowhere(hearth: CommandLine, hub: HubStandIn) -> None:
    hub.repos["owner/other"].token = "hf_secret"
    assert "or it is private: then set HF_TOKEN" in error(hearth("models", "pull", "owner/other"))
    hearth.settings |= {"HF_TOKEN": "hf_secret", "HEARTH_LOG__LEVEL": "debug"}
    done = hearth("models", "pull", "owner/other")
    assert done.returncode == 0
    assert "hf_secret" not in done.stdout + done.stderr
    assert hearth.holds("hf_secret") == []


def test_a_file_of_this_machine_needs_no_hub(hearth: CommandLine, hub: HubStandIn, tmp_path: Path) -> None:
    """It stays where it is; a model that is gone later is told by its file and the demo does not take its place."""
    mine = tmp_path / "My Model.gguf"
    mine.write_bytes(DEMO)
    assert hearth.says("models", "use", str(mine)).startswith("my-model is the default from the next start on.")
    assert hearth.ask("Count to 3.") == "1 2 3"
    assert f"file                {mine}" in hearth.says("models", "info", "my-model")
    assert "default" in hearth.says("models", "use", str(mine))
    mine.rename(tmp_path / "away.gguf")
    assert f"{mine}: cannot be read (No such file or directory)" in hearth("say", "Hello.").stderr
    assert "cannot be read" in row(hearth.says("models", "list"), "my-model (default)")
    hearth.says("models", "use", "demo")
    (tmp_path / "away.gguf").rename(mine)
    assert hearth.says("models", "remove", "my-model", "--yes") == f"Removed: my-model. {mine} stays.\n"
    assert mine.exists()
    assert hub.asked == []


def test_a_model_for_embeddings_becomes_the_one_for_embeddings(
    hearth: CommandLine, hub: HubStandIn, tmp_path: Path
) -> None:
    """From a hub or a file; the model that chats stays what it was."""
    hub.repos["owner/other"].files["Places-Q8_0.gguf"] = EMBEDDING
    told = hearth.says("models", "pull", "owner/other", "Places")
    assert "`hearth models use places-q8_0` makes it the one for embeddings" in told
    told = hearth.says("models", "use", "places-q8_0")
    assert told == "places-q8_0 is the default for embeddings from the next start on.\n"
    table = hearth.says("models", "list")
    assert "for programs alone" in row(table, "places-q8_0")
    assert "/owner/other" in row(table, "│ embedding ")
    assert "embedded demo" in row(table, "│ default ")
    assert hearth.ask("Count to 3.") == "1 2 3"
    assert "is the one for embeddings: choose another first" in error(
        hearth("models", "remove", "places-q8_0", "--yes")
    )
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(EMBEDDING)
    assert "mine is the default for embeddings" in hearth.says("models", "use", str(mine))
    assert "Removed: places-q8_0." in hearth.says("models", "remove", "places-q8_0", "--yes")
    told = hearth.says("models", "use", "demo-embedding")
    assert told == "The embedded demo is the default for embeddings from the next start on.\n"
    assert "embeddings of 256 dimensions" in row(hearth.says("models", "info", "mine"), "for ")
    hearth.configure(f'[models.embedding]\npath = "{mine}"\n')
    assert "[models.embedding] in config.toml" in error(hearth("models", "use", "demo-embedding"))


@pytest.mark.parametrize("name", ["default", "embedding", "demo", "demo-embedding"])
def test_what_a_default_is_called_is_no_name_for_a_model(hearth: CommandLine, name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(DEMO)
    told = error(hearth("models", "pull", str(tmp_path / "mine.gguf"), "--name", name))
    assert told.endswith("is taken: it is what a default is called; choose another name")


@pytest.mark.parametrize("command", ["use", "info", "pull"])
def test_what_is_not_there_is_one_line(hearth: CommandLine, command: str) -> None:
    assert error(hearth("models", command, "/nowhere/big.gguf")) == "/nowhere/big.gguf: there is no such file"
    if command != "pull":
        assert error(hearth("models", command, "dem")) == "there is no model 'dem' here; did you mean demo?"


def test_the_demo_is_told_of_and_stays(hearth: CommandLine) -> None:
    assert "3.3 million" in row(hearth.says("models", "info", "demo"), "parameters")
    assert "demo is no model that was pulled" in error(hearth("models", "remove", "demo", "--yes"))


def test_a_file_that_is_no_model_is_refused_before_it_is_used(hearth: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "notes.gguf").write_text("rubbish")
    for command in ("use", "pull", "info"):
        assert error(hearth("models", command, str(tmp_path / "notes.gguf"))) == (
            f"{tmp_path}/notes.gguf: is no GGUF model file"
        )
    assert "embedded demo" in row(hearth.says("models", "list"), "default")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(newer(), "unknown model architecture: 'llamz'"), (crashing(), "it crashes: SIGABRT, ")],
    ids=["newer", "crashing"],
)
def test_what_llama_cpp_cannot_load_does_not_become_the_default(
    hearth: CommandLine, hub: HubStandIn, tmp_path: Path, content: bytes, reason: str
) -> None:
    """In whatever way it is chosen: the default stays what it was, and answers."""
    mine, pulled = tmp_path / "mine.gguf", hearth.data_dir / "models" / NAME / "Other-Q8_0.gguf"
    mine.write_bytes(content)
    hub.repos["owner/other"].files["Other-Q8_0.gguf"] = content
    hearth.configure(f'[models.configured]\npath = "{mine}"\n')
    for path, arguments in (
        (mine, ("use", str(mine))),
        (mine, ("use", "configured")),
        (mine, ("pull", str(mine), "--copy", "--use")),
        (pulled, ("pull", "owner/other", "--use")),
        (pulled, ("use", NAME)),
    ):
        done = hearth("models", *arguments)
        assert done.returncode == 1
        told = done.stderr.splitlines()[-1]
        assert told.startswith(f"hearth: {path}: llama.cpp cannot load this model ({reason}")
        assert "Traceback" not in done.stderr
        assert ("is here" in done.stdout) == (arguments[:2] == ("pull", "owner/other"))
    assert "embedded demo" in row(hearth.says("models", "list"), "default")
    assert [path.name for path in (hearth.data_dir / "models").iterdir()] == [NAME]
    assert hearth.ask("Count to 3.") == "1 2 3"


def test_a_default_in_the_configuration_is_not_overruled(hearth: CommandLine, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(DEMO)
    hearth.configure(f'[models.default]\npath = "{mine}"\n')
    for arguments in (("use", "demo"), ("use", str(mine)), ("pull", "owner/other", "--use")):
        assert "the configuration itself says which model is the default" in error(hearth("models", *arguments))
    assert not (hearth.data_dir / "models").exists()


def test_what_the_configuration_needs_is_not_removed(hearth: CommandLine) -> None:
    hearth.says("models", "pull", "owner/other")
    hearth.configure(f'[personas.quick]\nmodel = "{NAME}"\n')
    assert "is the model of the persona 'quick'" in error(hearth("models", "remove", NAME, "--yes"))
    hearth.configure(f'[models."{NAME}"]\nslots = 2\n')
    assert f"{NAME} is in config.toml" in error(hearth("models", "remove", NAME, "--yes"))
    assert "memory, 2 at once" in hearth.says("models", "info", NAME)
    hearth.configure('[models.taken]\npath = "/x.gguf"\n')
    assert "config.toml has a model 'taken' of its own" in error(
        hearth("models", "pull", "owner/other", "--name", "taken")
    )
    assert hearth("models", "remove", NAME, given="n\n").returncode == 1
    assert NAME in hearth.says("models", "list")


def test_who_chooses_while_hearth_runs_is_told_when_it_holds(hearth: CommandLine) -> None:
    with hearth.running():
        assert hearth.says("models", "pull", "owner/other").endswith(
            "Hearth is running: it knows this model after its next start.\n"
        )
        assert "Hearth is running: start it again, or say /model NAME" in hearth.says("models", "use", NAME)
    with hearth.running():
        assert (
            hearth.ask("/model").splitlines()[0]
            == f"* default: 127.0.0.1:{hearth.settings['HF_ENDPOINT'].rpartition(':')[2]}/owner/other"
        )


def test_a_model_folder_can_be_the_default_and_on_a_machine_without_a_gpu_a_file_answers(
    hearth: CommandLine, tmp_path: Path
) -> None:
    """What would be compiled for it is told to need what is not installed here."""
    folder = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"
    config = tmp_path / "config.toml"
    config.write_text(f"[models.big]\npath = '{folder}'\n", "utf-8")
    assert "by exllamav3" in row(hearth("--config", str(config), "models", "list").stdout, "big")
    assert hearth("--config", str(config), "models", "use", "big").returncode == 0
    done = hearth("--config", str(config), "say", "hello")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert "a model folder is named in config.toml" in error(hearth("models", "use", str(folder)))
    built = hearth("--config", str(config), "engine", "build")
    assert built.returncode == 1
    assert "exllamav3 is not installed" in error(built)
    assert hearth("engine", "build", "exllamav4").returncode == 2

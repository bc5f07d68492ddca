"""What is shipped for servers fits the code: Dockerfile, compose file, systemd unit, and the guide to them."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter

from bot.__main__ import cli
from bot.app import running
from bot.config import ChatConfig, Config, ModelConfig, Seconds, load
from bot.errors import ConfigError, DatabaseError
from bot.metrics import Metrics, ModelNow, Now
from bot.ports import ChatEngine
from bot.testing import ScriptedEngine
from storage.store import SqlStore
from tests.house import DEADLINE, configuration

ROOT = Path(__file__).parents[2]
DOCKERFILE, COMPOSE, UNIT = ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / "deploy" / "hearth.service"
GUIDE = ROOT / "docs" / "deploy.md"
DRAIN = ChatConfig().drain
VARIABLE = re.compile(r"\bHEARTH_[A-Z0-9_]+\b")
SECRETS = "/run/secrets/"
PACKAGES = ("bot", "adapters", "storage")


def instructions(name: str) -> list[str]:
    """The arguments of a Dockerfile's instructions of one kind, each on one line."""
    joined = DOCKERFILE.read_text().replace("\\\n", "")
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def unit() -> dict[str, list[str]]:
    """The settings of the unit's [Service] section; a key may stand there several times."""
    lines = UNIT.read_text().partition("[Service]\n")[2].partition("\n[Install]")[0].splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def compose() -> dict[str, Any]:
    data = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(data, dict)
    return data


def blocks(language: str) -> list[str]:
    """The guide's code in one language."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return [str(block) for block in found]


def commands() -> dict[str, set[str]]:
    """Hearth's commands, and those below them."""
    group = typer.main.get_command(cli)
    assert isinstance(group, typer.core.TyperGroup)
    return {name: set(getattr(command, "commands", {})) for name, command in group.commands.items()}


# The variables


@pytest.mark.parametrize("file", [DOCKERFILE, COMPOSE, UNIT, GUIDE], ids=lambda file: file.name)
def test_every_variable_is_one_that_hearth_knows(file: Path, tmp_path: Path) -> None:
    """A wrong value may be refused; a name that sets nothing is not to be there."""
    names = set(VARIABLE.findall(file.read_text()))
    assert names
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-some-length")
    for name in names:
        if name == "HEARTH_CONFIG":
            continue
        try:
            load(None, {"HEARTH_DATA_DIR": str(tmp_path), name: str(secret)})
        except ConfigError as error:
            assert "unknown" not in str(error), name


def test_a_misspelt_variable_would_be_found(tmp_path: Path) -> None:
    """The test above can fail."""
    for name in ("HEARTH_WEB__TOKNE_FILE", "HEARTH_WEBB__HOST", "HEARTH_DATADIR"):
        with pytest.raises(ConfigError, match="unknown"):
            load(None, {"HEARTH_DATA_DIR": str(tmp_path), name: __file__})


def test_what_compose_sets_is_a_whole_configuration(tmp_path: Path) -> None:
    """With the Dockerfile's variables, the secrets in files and an empty URL it is SQLite behind a token."""
    environ = dict(pair.split("=", 1) for pair in instructions("ENV")[0].split())
    environ |= compose()["services"]["hearth"]["environment"]
    environ = {name: value for name, value in environ.items() if name.startswith("HEARTH_")}
    for name, content in {"web_token": "a-secret-of-some-length\n", "database_url": ""}.items():
        (tmp_path / name).write_text(content)
    config = load(None, {name: value.replace(SECRETS, f"{tmp_path}/") for name, value in environ.items()})
    assert config.web.host == "0.0.0.0"
    assert config.web.token == "a-secret-of-some-length"
    assert config.database_url == "sqlite+aiosqlite:////data/hearth.db"


# The compose file


def test_the_container_has_no_more_than_it_needs() -> None:
    service = compose()["services"]["hearth"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ports"] == ["127.0.0.1:8080:8080"]
    assert "profiles" not in service


def test_postgresql_comes_with_its_profile_alone() -> None:
    services = compose()["services"]
    assert services["postgres"]["profiles"] == ["postgresql"]
    assert re.fullmatch(r"postgres:\d+-\w+", services["postgres"]["image"])
    assert services["hearth"]["depends_on"] == {"postgres": {"condition": "service_healthy", "required": False}}


def test_every_secret_is_defined_and_a_file_and_read_where_it_lies() -> None:
    data = compose()
    for service in data["services"].values():
        assert set(service["secrets"]) <= set(data["secrets"])
        for name, value in service["environment"].items():
            if name.endswith("_FILE"):
                assert value.removeprefix(SECRETS) in service["secrets"]
            assert "PASSWORD" not in name or name.endswith("_FILE")
    assert all(secret["file"] == f"./secrets/{name}" for name, secret in data["secrets"].items())


def test_every_volume_is_defined() -> None:
    data = compose()
    for service in data["services"].values():
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(data["volumes"])


def test_a_stop_leaves_time_to_drain() -> None:
    """Whoever waits for an answer gets it, before the supervisor loses patience."""
    grace = compose()["services"]["hearth"]["stop_grace_period"]
    for patience in (grace, unit()["TimeoutStopSec"][0]):
        assert TypeAdapter(Seconds).validate_python(patience) >= 2 * DRAIN


# The Dockerfile


def test_both_stages_have_one_base_of_a_stated_version() -> None:
    [base] = instructions("ARG")
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-[a-z]+", base)
    assert instructions("FROM") == ["${BASE} AS build", "${BASE}"]


def test_what_is_copied_is_there_and_is_what_is_installed() -> None:
    """Every package, and nothing that .dockerignore keeps out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    sources = [source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]]
    assert {source for source in sources if (ROOT / source).is_dir()} == {
        pattern.rstrip("*") for pattern in project["packages"]["find"]["include"]
    }
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in allowed
    assert "*" in allowed


def test_every_file_of_the_packages_is_installed() -> None:
    """Python's are by themselves; the page, the demo model and the migrations' template have to be named."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    others = {path for path in files if path.suffix not in {".py", ".pyc"}}
    assert ROOT / "adapters" / "web" / "static" / "index.html" in others
    assert others <= {
        path for package, patterns in named.items() for one in patterns for path in (ROOT / package).glob(one)
    }


def test_the_container_runs_hearth_itself_as_a_user_without_rights() -> None:
    """In exec form: a shell in between would not pass SIGTERM on."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    [entry] = json.loads(instructions("ENTRYPOINT")[0])
    [command] = json.loads(instructions("CMD")[0])
    assert entry in scripts
    assert command in commands()
    assert instructions("USER") == ["10001:10001"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert "gcc" not in DOCKERFILE.read_text()


async def look(socket: Path) -> int | None:
    """Run the container's health check against a socket; its exit code."""
    program = json.loads(instructions("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert program[:2] == ["python", "-c"]
    assert "'/data/run/hearth.sock'" in program[2]
    script = program[2].replace("/data/run/hearth.sock", str(socket))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    return await asyncio.wait_for(process.wait(), DEADLINE)


async def load_scripted(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
    return ScriptedEngine()


def settings(folder: Path) -> Config:
    return configuration(data_dir=folder / "data", web={"enabled": False})


async def test_the_health_check_is_good_while_hearth_runs_and_bad_when_it_does_not(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with running(config, loaders={".fake": load_scripted}):
        assert await look(config.socket) == 0
    assert await look(config.socket) == 1


async def test_the_health_check_is_bad_when_the_database_fails(tmp_path: Path) -> None:
    class Broken(SqlStore):
        async def pending(self, conversation: int | None = None) -> int:
            raise DatabaseError("the disk is gone")

    config = settings(tmp_path)
    async with running(config, loaders={".fake": load_scripted}, store=Broken):
        assert await look(config.socket) == 1


# The unit


def test_the_unit_starts_a_command_that_there_is() -> None:
    [program, command] = unit()["ExecStart"][0].split()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(program).name in scripts
    assert command in commands()


def test_the_units_secrets_are_credentials_that_it_loads() -> None:
    loaded = {value.split(":")[0] for value in unit()["LoadCredential"]}
    used = {match for value in unit()["Environment"] for match in re.findall(r"_FILE=%d/(\S+)", value)}
    assert used == loaded == {"web-token"}


def test_the_unit_writes_to_its_own_directory_alone() -> None:
    service = unit()
    [directory] = service["StateDirectory"]
    assert f"HEARTH_DATA_DIR=/var/lib/{directory}" in service["Environment"]
    assert service["ProtectSystem"] == ["strict"]
    assert "ReadWritePaths" not in service
    assert service["User"] == ["hearth"]
    for switch in ("NoNewPrivileges", "PrivateDevices", "ProtectHome", "RestrictNamespaces"):
        assert service[switch] == ["yes"]
    # The libraries under faster-whisper write machine code for the processor that they find: without that nothing is heard.
    assert "MemoryDenyWriteExecute" not in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/hearth/bin/hearth", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=60
    )
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if copy.name in line]
    assert about_it == []


# The guide


def guide_commands() -> Iterator[tuple[str, str]]:
    """Command and what follows it, of every `hearth` in the guide's console blocks and timers."""
    for block in [*blocks("console"), *blocks("ini")]:
        joined = block.replace("\\\n", " ")
        for match in re.finditer(
            r"(?:^[#$] |exec hearth |bin/|sh -c 'exec /opt/hearth/bin/|&& )hearth (\w+) ?(\S*)", joined, re.MULTILINE
        ):
            yield match[1], match[2]


def test_every_command_in_the_guide_is_one() -> None:
    found = list(guide_commands())
    assert {name for name, _ in found} >= {"say", "check", "models", "db", "usage"}
    for name, argument in found:
        assert name in commands(), name
        if commands()[name]:
            assert argument in commands()[name], f"{name} {argument}"


def test_an_upgrade_installs_nothing_that_an_older_one_built() -> None:
    """Setuptools leaves build/lib in the checkout, and installs from there what is not in the sources any more."""
    upgrade = GUIDE.read_text().partition("\n## Upgrade\n")[2].partition("\n## ")[0]
    [lines] = [
        block.splitlines() for block in re.findall(r"```console\n(.*?)```", upgrade, re.DOTALL) if "pip" in block
    ]
    [install] = [number for number, line in enumerate(lines) if "pip install" in line]
    assert lines[:install] == ["# git pull", "# rm -rf build"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_guide_tells_what_systemd_thinks_of_the_unit() -> None:
    [(version, points)] = re.findall(r"systemd (\d+) gives the unit as it is ([\d.]+) points", GUIDE.read_text())
    said = [
        subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60).stdout
        for words in (["--version"], ["security", "--offline=yes", str(UNIT)])
    ]
    if not said[0].startswith(f"systemd {version} "):
        pytest.skip(f"the guide speaks of systemd {version}")
    assert f"Overall exposure level for {UNIT.name}: {points} " in said[1]


def test_the_guides_configuration_is_accepted(tmp_path: Path) -> None:
    for number, block in enumerate(blocks("toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        config = load(file, {"HEARTH_DATA_DIR": str(tmp_path)})
        assert config.web.public_origins == ("https://chat.example.org",)


def metric_names() -> set[str]:
    """Of every family that a process has, as Prometheus names its counters."""
    models = [ModelNow("m", True, 0, 0, {"well": 1})]
    now = Now(version="1", ready=True, open_questions=0, in_progress=0, models=models, adapters={})
    families = text_string_to_metric_families(Metrics().render(now).decode())
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return {name for name in names if name.startswith("hearth_") and not name.endswith("_created")}


def test_the_guide_lists_every_metric_and_no_other() -> None:
    table = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `hearth_")]
    listed = {name for line in table for name in re.findall(r"`(hearth_\w+)`", line.split("|")[1])}
    assert listed == metric_names()


def test_the_alerts_ask_for_metrics_that_there_are() -> None:
    files = [yaml.safe_load(block) for block in blocks("yaml")]
    [rules] = [rule for file in files for group in file.get("groups", []) for rule in [group["rules"]]]
    assert len(rules) == 4
    for rule in rules:
        used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"hearth_\w+", rule["expr"])}
        assert used
        assert used <= metric_names()
        assert rule["for"]
        assert rule["annotations"]["summary"]
    [scrape] = [job for file in files for job in file.get("scrape_configs", [])]
    assert scrape["static_configs"] == [{"targets": ["127.0.0.1:8080"]}]


def test_the_timers_of_the_guide_are_units() -> None:
    for block in blocks("ini"):
        parser = RawConfigParser(strict=False)
        parser.read_string(re.sub(r"(?m)^ +", "", block))
        assert parser.sections()


# What a small system lacks


def test_a_missing_library_of_llama_cpp_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    stub = tmp_path / "stub" / "xllamacpp"
    stub.mkdir(parents=True)
    reason = "libgomp.so.1: cannot open shared object file: No such file or directory"
    (stub / "__init__.py").write_text(f"raise ImportError({reason!r})\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}
    environ |= {"PYTHONPATH": f"{stub.parent}:{ROOT}", "HEARTH_DATA_DIR": str(tmp_path / "data")}
    environ |= {"HEARTH_WEB__ENABLED": "false", "HEARTH_LOG__LEVEL": "error"}
    done = subprocess.run(
        [sys.executable, "-m", "bot", "run"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"hearth: llama.cpp cannot be loaded ({reason}); ")
    assert done.stderr.endswith("apt-get install libgomp1\n")
    assert "Traceback" not in done.stderr

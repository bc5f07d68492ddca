"""`hearth check`: what would work and what would not, told before anybody waits for it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from adapters.console.client import Client
from adapters.console.socket import answers
from adapters.look import Finding, named
from bot.config import Config, ModelConfig, RemoteModelConfig, SpeechConfig
from bot.engines import gguf, remote
from bot.errors import HearthError, StartError

LOW_DISK = 200 * 2**20
"""Bytes: below this a busy community's database may fill the disk within a day."""
MEBIBYTE = 2**20


async def inspect(config: Config) -> list[Finding]:
    """Look at everything that a start needs, and change nothing."""
    running = await answers(config.socket)
    findings = [_try("data directory", lambda: _data_dir(config.data_dir))]
    findings.append(await _process(config) if running else Finding("process", True, "none is running"))
    findings.append(await _database(config.database_url))
    findings += [
        _try(f"model {alias}", partial(_model, model, running=running))
        for alias, model in {**config.own_models, **config.embedding_models}.items()
    ]
    findings += await asyncio.to_thread(_gpu, config)
    findings += await _remote(config)
    findings.append(await asyncio.to_thread(_speech, config.speech))
    findings.append(await _page(config))
    findings += await _telegram(config)
    findings += await _discord(config)
    findings.append(Finding("who may talk", True, _permissions(config)))
    return findings


def table(findings: list[Finding]) -> None:
    """Print the findings, and beneath them what is to be opened or copied."""
    rows = Table("what", "", Column(overflow="fold"))
    for finding in findings:
        works = "[green]works[/]" if finding.good else "[red]does not work[/]"
        rows.add_row(escape(finding.what), works, escape(finding.words))
    console = Console()
    console.print(rows)
    for finding in findings:
        if finding.link:
            console.print(f"{finding.what}: {finding.link}", markup=False, highlight=False, soft_wrap=True)


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except HearthError as error:
        return Finding(what, False, str(error))


def _data_dir(folder: Path) -> str:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise StartError(f"{there} is not a directory. HEARTH_DATA_DIR chooses another.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StartError(f"{there} cannot be written to. HEARTH_DATA_DIR chooses another.")
    free = shutil.disk_usage(there).free
    if free < LOW_DISK:
        raise StartError(f"{there} has only {free // MEBIBYTE} MiB free")
    made = "" if there == folder else " will be made"
    return f"{folder}{made}, {free // MEBIBYTE} MiB free"


def _model(model: ModelConfig, *, running: bool) -> str:
    path = model.path
    if path.is_dir():
        from bot.engines.exllama import report

        return report.model(model, memory=not running)  # a running process has taken what is not free
    file = gguf.read(path)
    if model.kind == "embedding":
        what = f"{file.architecture} for embeddings, {file.dimensions} dimensions"
    else:
        what, _ = file.architecture, file.template
    return f"{path.name}: {what}, context {file.context_length}, {path.stat().st_size // MEBIBYTE} MiB"


def _gpu(config: Config) -> list[Finding]:
    """A row where a model folder is to run on one."""
    from bot.engines.exllama import report

    folders = [model for model in config.own_models.values() if model.path.is_dir()]
    return [_try("GPU", report.gpu)] if folders else []


def _speech(config: SpeechConfig) -> Finding:
    from bot.speech.look import look

    if not config.enabled:
        return Finding("voice messages", True, "are not heard (speech.enabled)")
    return _try("voice messages", lambda: look(config))


async def _remote(config: Config) -> list[Finding]:
    """A row for each server of each model elsewhere."""
    far = [(alias, model) for alias, model in config.models.items() if isinstance(model, RemoteModelConfig)]
    looks = await asyncio.gather(*(remote.look(model) for _, model in far))
    return [
        Finding(f"model {alias} at {look.url}", look.good, look.words)
        for (alias, _), found in zip(far, looks, strict=True)
        for look in found
    ]


async def _process(config: Config) -> Finding:
    async with Client(config.socket) as client:
        try:
            health = await client.health()
        except StartError as error:
            return Finding("process", False, str(error))
    words = f"process {health['pid']} is running, {health.get('waiting', 'unknown')} questions wait"
    good = health["status"] == "ok"
    return Finding("process", good, words if good else f"{words}; {health['status']}")


async def _page(config: Config) -> Finding:
    from adapters.web.look import look

    try:
        return Finding("web page", True, await look(config.web))
    except HearthError as error:
        return Finding("web page", False, str(error))


async def _telegram(config: Config) -> list[Finding]:
    if not config.telegram.account:
        return [Finding("Telegram", True, "is not set up (telegram.token)")]
    from adapters.telegram.look import look  # its library takes a while to import, for those who use it

    return await look(config.telegram, named(config, "telegram"))


async def _discord(config: Config) -> list[Finding]:
    if not config.discord.account:
        return [Finding("Discord", True, "is not set up (discord.token)")]
    from adapters.discord.look import look  # as above

    return await look(config.discord, named(config, "discord"))


async def _database(url: str) -> Finding:
    from storage import look

    try:
        return Finding("database", True, await look.inspect(url))
    except HearthError as error:
        return Finding("database", False, str(error))


def _permissions(config: Config) -> str:
    known = [*config.permissions.allow, *config.permissions.admins]
    if config.permissions.pairing_code.get_secret_value():
        known.append("whoever sends the pairing code")
    return f"the terminal's user, and {', '.join(known)}" if known else "the terminal's user alone"

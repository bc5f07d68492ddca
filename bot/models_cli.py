"""`hearth models`: pull, list, info, use, remove."""

from __future__ import annotations

import asyncio
import difflib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.console.socket import answers
from bot import local_models
from bot.config import (
    EMBEDDED_CHAT_MODEL,
    EMBEDDED_EMBEDDING_MODEL,
    Config,
    ModelConfig,
    RemoteModelConfig,
    load,
    model_tables,
)
from bot.errors import ConfigError
from bot.gguf_format import kind_of
from bot.local_models import DEFAULT, DEMO, DEMO_EMBEDDING, EMBEDDINGS, Entry
from bot.tables import show

if TYPE_CHECKING:
    from bot.pulling import Progress, Unclear

models = typer.Typer(help="The models: download them, look at them, choose one.", no_args_is_help=True)

INTERRUPTED = 130
"""The exit code that shells give to a command that Ctrl-C ended."""

Name = Annotated[
    str | None, typer.Option("--name", help="What the model is to be called; its file's name if left out.")
]
Copy = Annotated[bool, typer.Option("--copy", help="Copy a file of this machine into the data directory.")]


@models.command("pull")
def pull(
    context: typer.Context,
    repository: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the hub, or a file's path.")],
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Which file, or a part of its name such as Q8_0.")
    ] = None,
    *,
    name: Name = None,
    revision: Annotated[str, typer.Option(help="A branch, tag or commit of the repository.")] = "main",
    use: Annotated[bool, typer.Option("--use", help="Make it the default model.")] = False,
    copy: Copy = False,
) -> None:
    """Download a GGUF model, or go on with a download that broke off. HF_TOKEN opens repositories that are not public."""
    config = _read(context)
    path = _path(repository)
    if use:
        _may_choose(context, _default_for(path) if path else DEFAULT)
    if path and use:
        _opens(path)
    entry = _keep(config, path, name, copy=copy) if path else _pull(config, repository, file, name, revision)
    print(f"{entry.name} is here: {local_models.size_words(entry.size)}, {entry.path}", flush=True)
    if use:
        if not path:
            _may_choose(context, _default_for(entry.path))
            _opens(entry.path)
        _choose(context, entry.name)
    elif kind_of(entry.path) == "embedding":
        print(f"Programs reach it as {entry.name}; `hearth models use {entry.name}` makes it the one for embeddings.")
    else:
        print(
            f"`hearth models use {entry.name}` makes it the default, /model {entry.name} chooses it in a conversation."
        )
    if _running(config):
        print("Hearth is running: it knows this model after its next start.")


@models.command("list")
def show_list(context: typer.Context) -> None:
    """List the models: what they are, which is the default, whether they can be used."""
    from bot.model_table import rows

    show(
        ("name", "what it is", "size", "context", "quantisation", "state"),
        [(row.name, row.what, row.size, row.context, row.quantisation, row.state) for row in rows(_read(context))],
    )


@models.command("info")
def info(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name, or a GGUF file's path.")],
) -> None:
    """Tell everything about a model, and the memory that it needs."""
    from bot.model_table import facts

    config = _read(context)
    embedded = {DEMO: EMBEDDED_CHAT_MODEL, DEMO_EMBEDDING: EMBEDDED_EMBEDDING_MODEL}.get(name)
    path = None if name in {*config.models, *config.embedding_models} else embedded or _path(name)
    model = (
        ModelConfig(path=path, kind=kind_of(path)) if path else {**config.models, **config.embedding_models}.get(name)
    )
    if model is None:
        raise ConfigError(_unknown(config, name))
    if not isinstance(model, ModelConfig):
        raise ConfigError(f"{name} runs at {', '.join(model.servers)}: there is no file here to tell of")
    for what, words in facts(config, path.name if path else name, model):
        print(f"{what:<20}{words}")


@models.command("use")
def use(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help=f"A model's name, a GGUF file's path, {DEMO}, or {DEMO_EMBEDDING}."),
    ],
    called: Name = None,
    copy: Copy = False,
) -> None:
    """Make a model the default: it answers where nothing else is chosen, or makes the embeddings."""
    config = _read(context)
    model = _named_model(config, name)
    path = _path(name) if model is None else None
    embeds = name in {*config.embedding_models, DEMO_EMBEDDING}
    _may_choose(context, _default_for(path) if path else EMBEDDINGS if embeds else DEFAULT)
    if isinstance(model, ModelConfig):
        _opens(model.path)
    elif path:
        _opens(path)
    _choose(context, _keep(config, path, called, copy=copy).name if path else name)


@models.command("remove")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a model that was pulled. A file that was not copied stays where it is."""
    config = _read(context)
    entry = local_models.entries(config.data_dir).get(name)
    if name in local_models.RESERVED:
        raise ConfigError(f"{name} is no model that was pulled: hearth models list shows those")
    if name in model_tables(context.obj, os.environ):
        raise ConfigError(f"{name} is in config.toml: take [models.{name}] out there first")
    if entry is None:
        raise ConfigError(_unknown(config, name))
    for what, demo in ((DEFAULT, DEMO), (EMBEDDINGS, DEMO_EMBEDDING)):
        if local_models.chosen(config.data_dir, what) == name:
            is_it = "the default" if what == DEFAULT else "the one for embeddings"
            raise ConfigError(f"{name} is {is_it}: choose another first, with hearth models use NAME (or {demo})")
    if users := [persona for persona, settings in config.personas.items() if settings.model == name]:
        raise ConfigError(f"{name} is the model of the persona {users[0]!r}: change that in config.toml first")
    stays = "" if entry.files else f" {entry.path} stays."
    if not yes:
        typer.confirm(f"Remove {name} ({local_models.size_words(entry.size)})?{stays}", abort=True)
    with local_models.staging(config.data_dir, name):
        local_models.remove(config.data_dir, name)
    print(f"Removed: {name}.{stays}")


def _pull(config: Config, repository: str, file: str | None, name: str | None, revision: str) -> Entry:
    from bot import pulling

    hub = pulling.open_hub(config.data_dir, os.environ)
    try:
        found = hub.look(repository, revision)
        try:
            candidate = pulling.choose(found, file)
        except pulling.Unclear as unclear:
            _offer(unclear)
            raise
        name = _free(config, name or local_models.name_for(candidate.files[0].name))
        others = len(pulling.candidates(found)) - 1
        chosen = f"; {others} more: hearth models pull {repository} FILE" if others and file is None else ""
        print(f"{candidate.path} from {hub.host}, {local_models.size_words(candidate.size)}{chosen}", flush=True)
        with _progress() as progress:
            return pulling.pull(hub, candidate, config.data_dir, name, progress)
    except KeyboardInterrupt:
        print("Stopped. What has come is kept; the same command goes on with it.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        hub.close()


def _keep(config: Config, path: Path, name: str | None, *, copy: bool) -> Entry:
    from bot import pulling

    path = path.absolute()
    known = [entry for entry in local_models.entries(config.data_dir).values() if entry.complete and entry.path == path]
    if known and not copy:
        return known[0]
    name = _free(config, name or local_models.name_for(path.name))
    try:
        with _progress() as progress:
            return pulling.keep(path, config.data_dir, name, progress, copy=copy)
    except KeyboardInterrupt:
        print("Stopped. Nothing of it is kept.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _choose(context: typer.Context, name: str) -> None:
    config = _read(context)
    model = _named_model(config, name)
    if model is None and name in (DEMO, DEMO_EMBEDDING):
        what = DEFAULT if name == DEMO else EMBEDDINGS
        local_models.choose(config.data_dir, None, what=what)
        print(f"The embedded demo is the default{_for(what)} from the next start on.")
    elif model is None:
        raise ConfigError(_unknown(config, name))
    else:
        what = EMBEDDINGS if name in config.embedding_models else DEFAULT
        path = model.path if isinstance(model, ModelConfig) else None
        local_models.choose(config.data_dir, name, path, what=what)
        print(f"{name} is the default{_for(what)} from the next start on.{_needs(model)}")
    if _running(config):
        meanwhile = ", or say /model NAME in a conversation meanwhile" if what == DEFAULT else ""
        print(f"Hearth is running: start it again{meanwhile}.")


def _named_model(config: Config, name: str) -> ModelConfig | RemoteModelConfig | None:
    """The model that may be chosen by this name: what a default is called is no name of one."""
    return None if name in (DEFAULT, EMBEDDINGS) else {**config.models, **config.embedding_models}.get(name)


def _default_for(path: Path) -> str:
    return EMBEDDINGS if kind_of(path) == "embedding" else DEFAULT


def _for(what: str) -> str:
    return " for embeddings" if what == EMBEDDINGS else ""


def _needs(model: ModelConfig | RemoteModelConfig) -> str:
    """The memory that a model takes, on a line of its own; nothing where that is not known."""
    from bot.engines import gguf
    from bot.model_table import memory

    if not isinstance(model, ModelConfig) or model.path.is_dir() or model.kind == "embedding":
        return ""
    return f"\nIt needs {memory(gguf.read(model.path), model)}, {model.slots} at once."


def _opens(path: Path) -> None:
    """Raises ModelError if llama.cpp cannot load the model: a default that does not load would be noticed too late.

    Of a folder, which a GPU runs, no more is looked at than what its files say.
    """
    from bot.engines import trial
    from bot.engines.exllama import weights

    if path.is_dir():
        weights.look(path).library()
        return
    trial.open_once(path.absolute())


def _may_choose(context: typer.Context, what: str) -> None:
    """Raises ConfigError if the configuration itself names the default model, or that for embeddings."""
    if local_models.names_a_model(model_tables(context.obj, os.environ).get(what, {})):
        raise ConfigError(
            f"the configuration itself says which model is the default{_for(what)} ([models.{what}] in config.toml, or "
            f"HEARTH_MODELS__{what.upper()}__PATH); nothing was changed: change it there, or take it out"
        )


def _free(config: Config, name: str) -> str:
    """The name. Raises ConfigError if config.toml has a model of its own by it."""
    entry, model = local_models.entries(config.data_dir).get(name), _named_model(config, name)
    if model is not None and (entry is None or not isinstance(model, ModelConfig) or model.path != entry.path):
        raise ConfigError(f"config.toml has a model {name!r} of its own: choose another name with --name")
    return name


def _path(text: str) -> Path | None:
    """The file that is meant, if it is a file. Raises ConfigError for a file's path where there is none."""
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.is_dir() and os.sep in text:
        raise ConfigError(f"{text}: is a folder; a model folder is named in config.toml, as docs/gpu.md says")
    if text.startswith(("/", "./", "../", "~")) or text.lower().endswith(".gguf"):
        raise ConfigError(f"{text}: there is no such file")
    return None


def _unknown(config: Config, name: str) -> str:
    entry = local_models.entries(config.data_dir).get(name)
    if entry is not None:
        return f"{name} is not complete: pull it again to go on"
    every = [*config.models, *config.embedding_models]
    names = [*(known for known in every if known not in local_models.RESERVED), DEMO, DEMO_EMBEDDING]
    near = difflib.get_close_matches(name, names, n=1)
    known = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return f"there is no model {name!r} here; {known}"


def _offer(unclear: Unclear) -> None:
    show(
        ("FILE", "size", "parts"),
        [(one.path, local_models.size_words(one.size), str(len(one.files))) for one in unclear.candidates],
    )


def _running(config: Config) -> bool:
    return asyncio.run(answers(config.socket))


def _read(context: typer.Context) -> Config:
    return load(context.obj, os.environ)


@contextmanager
def _progress() -> Iterator[Progress]:
    from bot.progress import Bars, Lines

    if not sys.stderr.isatty():
        yield Lines()
        return
    with Bars() as bars:
        yield bars

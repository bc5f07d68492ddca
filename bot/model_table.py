"""What `hearth models list` and `hearth models info` tell of the models: configured, pulled, or pulled in part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bot import local_models
from bot.config import EMBEDDED_CHAT_MODEL, EMBEDDED_EMBEDDING_MODEL, Config, ModelConfig, RemoteModelConfig
from bot.engines import gguf
from bot.engines.embedding import way_for
from bot.engines.exllama import sizing, weights
from bot.engines.llamacpp import context_for
from bot.errors import ModelError
from bot.local_models import Entry, size_words

DEMO_WORDS = "embedded demo of about 3 million parameters: small talk only"
EMBEDDING_WORDS = "embedded demo for embeddings"
INFO_SLOTS = (1, 8)
"""For one person, and what a model has if nothing else is configured."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list."""

    name: str
    what: str
    size: str = ""
    context: str = ""
    quantisation: str = ""
    state: str = ""


def rows(config: Config) -> Iterator[Row]:
    """Every model: those that can be chosen by name, those for embeddings, then those that are here in part.

    The default is marked.
    """
    twins = [name for name, model in config.models.items() if name != "default" and model == config.models["default"]]
    for name, model in config.models.items():
        if name == "default" and twins:
            continue
        row = _row(name, model)
        yield replace(row, name=f"{name} (default)") if name in twins else row
    for name, embedding in config.embedding_models.items():
        yield _embedding_row(name, embedding)
    for entry in local_models.entries(config.data_dir).values():
        if not entry.complete:
            yield Row(entry.name, entry.source, size_words(entry.size), state=_rest(config, entry))


def facts(config: Config, name: str, model: ModelConfig) -> Iterator[tuple[str, str]]:
    """What there is to know of a model, as (what, words). Raises ModelError."""
    if model.path.is_dir():
        yield from _folder_facts(name, model)
        return
    file = gguf.read(model.path)
    entry = local_models.entries(config.data_dir).get(name)
    yield "name", name
    yield "called", _clean(file.name)
    yield "file", f"{file.path}" + (f" and {len(file.parts)} more parts" if file.parts else "")
    yield "size", size_words(file.size)
    yield "architecture", _clean(file.architecture)
    yield "parameters", _count(file.parameters)
    yield "quantisation", file.quantisation or "unknown"
    yield "context", f"{file.context_length} tokens, as trained"
    embeds = model.kind == "embedding"
    yield "for", f"embeddings of {file.dimensions} dimensions" if embeds else "chat"
    yield "chat template", _template(file)
    yield "licence", _clean((entry and entry.licence) or file.text("general.license")) or "unknown"
    yield "from", (entry and entry.source) or _clean(file.text("general.source.url")) or "unknown"
    if entry and entry.revision:
        yield "commit", entry.revision
    for slots in () if embeds else dict.fromkeys((*INFO_SLOTS, model.slots)):
        yield f"memory, {slots} at once", memory(file, model.model_copy(update={"slots": slots}))
    yield "this machine has", f"{size_words(_machine())} of memory"


def _folder_facts(name: str, model: ModelConfig) -> Iterator[tuple[str, str]]:
    folder = weights.look(model.path)
    per_token = sizing.bytes_per_token(folder.text_config, model.gpu.cache_bits)
    yield "name", name
    yield "folder", str(folder.path)
    yield "size", size_words(folder.size)
    yield "architecture", _clean(folder.architecture)
    yield "weights", folder.quantisation
    yield "run by", folder.library(model.gpu.library)
    yield "context", f"{folder.context_length} tokens, as trained"
    yield "memory", f"weights {size_words(folder.size)}, KV cache {size_words(per_token * 1024)} for each 1024 tokens"


def memory(file: gguf.ModelFile, model: ModelConfig) -> str:
    """What a model takes while it runs: its weights, and the KV caches of its slots."""
    context = context_for(file, model)
    caches = file.kv_bytes_per_token * context * model.slots
    return (
        f"about {size_words(file.size + caches)}: weights {size_words(file.size)}, "
        f"KV cache {size_words(caches)} for {context} tokens in each conversation"
    )


def _row(name: str, model: ModelConfig | RemoteModelConfig) -> Row:
    if isinstance(model, RemoteModelConfig):
        return Row(name, model.description or "remote", state=f"at {', '.join(model.servers)}")
    if model.path.is_dir():
        return _folder_row(name, model)
    embedded = model.path == EMBEDDED_CHAT_MODEL
    what = DEMO_WORDS if embedded else model.description
    try:
        file = gguf.read(model.path)
        _ = file.template
    except ModelError as error:
        return Row(name, what or model.path.name, state=str(error))
    what = what or f"{_count(file.parameters)} parameters, {_clean(file.architecture)}"
    context = str(context_for(file, model))
    return Row(name, what, size_words(file.size), context, file.quantisation, "can be read")


def _embedding_row(name: str, model: ModelConfig) -> Row:
    demo = EMBEDDING_WORDS if model.path == EMBEDDED_EMBEDDING_MODEL else ""
    try:
        file = gguf.read(model.path)
    except ModelError as error:
        return Row(name, demo or model.description or model.path.name, state=str(error))
    what = demo or model.description or f"embeddings, {_count(file.parameters)} parameters, {_clean(file.architecture)}"
    context = str(way_for(file, model).context_length)
    return Row(name, what, size_words(file.size), context, file.quantisation, "can be read; for programs alone")


def _folder_row(name: str, model: ModelConfig) -> Row:
    """A model for a GPU. Its context depends on the GPU's memory, so what was trained or configured is told."""
    try:
        folder = weights.look(model.path)
        library = folder.library(model.gpu.library)
        context = str(min(model.context_length or folder.context_length, folder.context_length))
    except ModelError as error:
        return Row(name, model.description or model.path.name, state=str(error))
    what = model.description or folder.architecture
    return Row(name, what, size_words(folder.size), context, folder.quantisation, f"can be read, by {library}")


def _rest(config: Config, entry: Entry) -> str:
    incoming = local_models.folder(config.data_dir, entry.name) / local_models.INCOMING
    here = sum(file.stat().st_size for file in incoming.glob("*") if file.is_file())
    return f"not complete: {size_words(here)} of {size_words(entry.size)}; pull it again to go on"


def _template(file: gguf.ModelFile) -> str:
    try:
        return f"yes, {len(file.template.source)} characters"
    except ModelError:
        return "no: this model cannot hold a conversation"


def _count(number: int) -> str:
    """`7.6 billion`, `3.3 million`."""
    for factor, unit in ((10**9, "billion"), (10**6, "million")):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return str(number)


def _machine() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _clean(text: str) -> str:
    """A file's text on one line, without what would command a terminal."""
    return "".join(char for char in text if char.isprintable())

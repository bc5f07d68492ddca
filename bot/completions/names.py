"""Under which names programs find which model: its alias, its other names, and its dated snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bot.api import ModelCard, SpeechModel
from bot.config import AnyModelConfig, Config, ModelConfig
from bot.local_models import EMBEDDINGS
from bot.snapshots import Snapshot, named, snapshot_of
from bot.speech.names import names as speech_names

Kind = Literal["chat", "embedding", "speech"]

OFFERED = {
    "gpt-3.5-turbo": "default",
    "gpt-3.5-turbo-0301": "default",
    "gpt-3.5-turbo-0613": "default",
    "gpt-3.5-turbo-instruct": "default",
    "text-davinci-003": "default",
}
"""The names that OpenAI's own examples use, for programs that were written after them."""
OFFERED_EMBEDDINGS = dict.fromkeys(
    ("text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large"), EMBEDDINGS
)
"""The same for embeddings."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a name stands for."""

    alias: str
    snapshot: str
    kind: Kind


class Names:
    """All names of a configuration. Looks at the models' files, so make one and keep it."""

    def __init__(self, config: Config) -> None:
        self._cards: dict[str, ModelCard] = {}
        self._models: dict[str, Model] = {}
        self._weights: dict[str, tuple[object, Kind]] = {}
        """What each snapshot is."""
        for alias, model in config.models.items():
            self._add_model(alias, model, "chat")
        for alias, embedding in config.embedding_models.items():
            self._add_model(alias, embedding, "embedding")
        known = {*config.models, *config.embedding_models}
        for name, alias in {**OFFERED, **OFFERED_EMBEDDINGS, **config.api.aliases}.items():
            if alias in known and name not in self._cards:
                self._add(replace(self._cards[alias], id=name), alias)
        for name, speech in speech_names(config.speech).items():
            self._add_speech(name, speech)

    def find(self, name: str) -> Model | None:
        """What a name stands for."""
        return self._models.get(name)

    def cards(self) -> list[ModelCard]:
        """All names, the configured ones first."""
        return list(self._cards.values())

    def _add_model(self, alias: str, model: AnyModelConfig, kind: Kind) -> None:
        snapshot = self._snapshot(alias, model, kind)
        card = ModelCard(
            id=alias,
            created=snapshot.released,
            kind=kind,
            snapshot=snapshot.id,
            deprecated=snapshot.deprecated,
            context_length=model.context_length,
            description=model.description,
        )
        self._add(card, alias)
        self._add(replace(card, id=snapshot.id), alias)

    def _snapshot(self, alias: str, model: AnyModelConfig, kind: Kind) -> Snapshot:
        """With a name that stands for these weights alone: files may be called alike, and one may serve two ends."""
        snapshot = snapshot_of(alias, model)
        what = (model.path if isinstance(model, ModelConfig) else snapshot.id, kind)
        if self._weights.setdefault(snapshot.id, what) != what:
            snapshot = replace(snapshot, id=f"{named(alias)}-{snapshot.id}")
            self._weights[snapshot.id] = what
        return snapshot

    def _add_speech(self, name: str, speech: SpeechModel) -> None:
        card = ModelCard(id=name, created=speech.released, kind="speech", snapshot=speech.snapshot)
        self._add(card, speech.alias)

    def _add(self, card: ModelCard, alias: str) -> None:
        if card.id not in self._cards:
            self._cards[card.id] = card
            self._models[card.id] = Model(alias, card.snapshot, card.kind)

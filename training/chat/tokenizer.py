"""The byte-level BPE tokenizer of the demo model, learnt from the training dialogues."""

import random
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.chat.dialogues import dialogue
from training.chat.template import CONTROL_TOKENS, segments

VOCABULARY = 1280
_DIALOGUES = 6000
# Each number to 200 becomes one token: counting is then a table of successors, and one step a number.
_COUNTED_TO = 200


def corpus() -> Iterator[str]:
    """The dialogues' words, one by one.

    No merge ever spans a space, so a word is the same tokens with and without one before it, and can be copied as it is.
    """
    rng = random.Random(11)
    for _ in range(_DIALOGUES):
        made = dialogue(rng)
        for _, content in segments(made.messages, made.tools):
            yield from content.split(" ")
    for number in range(_COUNTED_TO + 1):
        yield from [str(number)] * 500
    yield from ["system\n", "user\n", "assistant\n", "tool\n"] * 500


def train_tokenizer() -> Tokenizer:
    """A tokenizer of VOCABULARY tokens, the control tokens last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(CONTROL_TOKENS),
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens(list(CONTROL_TOKENS))
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise ValueError(f"the tokenizer has {tokenizer.get_vocab_size()} tokens, not {VOCABULARY}")
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a control token; ValueError if the tokenizer has none."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"the tokenizer has no {token}")
    return int(number)

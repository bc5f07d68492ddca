"""Whisper's tokens around a small vocabulary of words: a byte-level BPE in which every word of the grammar is one token."""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from training.speech.grammar import english_words, german_words


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Whisper's own order; faster-whisper looks every one of them up.
LANGUAGES = _words(
    """
    en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk
    te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo
    ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
    """
)
END_OF_TEXT, START, PREVIOUS = "<|endoftext|>", "<|startoftranscript|>", "<|startofprev|>"
TRANSLATE, TRANSCRIBE = "<|translate|>", "<|transcribe|>"
NO_SPEECH, NO_TIMESTAMPS = "<|nospeech|>", "<|notimestamps|>"
TIMESTAMPS = tuple(f"<|{index * 0.02:.2f}|>" for index in range(1501))
_CONTROL = (
    *(END_OF_TEXT, START, *(f"<|{language}|>" for language in LANGUAGES), TRANSLATE, TRANSCRIBE),
    *("<|startoflm|>", PREVIOUS, NO_SPEECH, NO_TIMESTAMPS),
)


def make_tokenizer() -> Tokenizer:
    """Text tokens, an empty one, the control tokens, the timestamps, in this order.

    CTranslate2 takes a Whisper for multilingual if its vocabulary has the empty string. The signs `-` and `'` after a space
    have tokens of their own, because faster-whisper forbids the first token of both: that must not be the bare space.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=5000, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    words = dict.fromkeys((*english_words(), *german_words(), "-", "'"))
    bpe.train_from_iterator([f" {word}" for word in words for _ in range(3)], trainer)
    whole = json.loads(bpe.to_str())
    vocabulary = whole["model"]["vocab"]
    vocabulary[""] = len(vocabulary)
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    control = enumerate((*_CONTROL, *TIMESTAMPS), start=len(vocabulary))
    whole["added_tokens"] = [{"id": number, "content": token, **plain} for number, token in control]
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    if any(len(tokenizer.encode(f" {word}").ids) != 1 for word in words):
        raise ValueError("a word of the grammar is more than one token")
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token; ValueError if the tokenizer has none."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"the tokenizer has no {token}")
    return int(number)

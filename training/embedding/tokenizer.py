"""The WordPiece tokenizer, learnt from the dictionary and the project's own pages: lower case, without accents."""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from training.embedding.pairs import pages
from training.embedding.wordnet import Place, Synset

VOCABULARY = 10_240
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNKNOWN, BEGIN, END, MASK = range(5)
_ALPHABET = 120
"""Characters: letters, digits and marks of English."""


def corpus(synsets: dict[Place, Synset], root: Path) -> Iterator[str]:
    """Every text, common meanings several times."""
    for synset in synsets.values():
        for _ in range(1 + min(8, synset.count // 4)):
            yield from synset.words
        yield synset.definition
        yield from synset.examples
    for paragraph in pages(root):
        yield from paragraph


def train_tokenizer(synsets: dict[Place, Synset], root: Path) -> Tokenizer:
    """A tokenizer of VOCABULARY tokens, the special ones first."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL), limit_alphabet=_ALPHABET, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(synsets, root), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", BEGIN), ("[SEP]", END)]
    )
    return tokenizer

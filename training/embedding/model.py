"""The model's shape: a BERT of one layer whose answer is the mean over all tokens, without positions.

A model this small learns what words mean, and little about their order. Without positions it reads a page as it reads a
sentence, although it was trained on short texts alone.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

HIDDEN, FEED_FORWARD, LAYERS, HEADS = 256, 512, 1, 4
CONTEXT = 2048
NORM_EPSILON = 1e-12


class Layer(nn.Module):
    """One layer, with the norms after the sums as BERT has them."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.up, self.down = nn.Linear(HIDDEN, FEED_FORWARD), nn.Linear(FEED_FORWARD, HIDDEN)
        self.attended, self.fed = nn.LayerNorm(HIDDEN, NORM_EPSILON), nn.LayerNorm(HIDDEN, NORM_EPSILON)
        for part in (self.out, self.down):  # at first the model is the mean of its tokens' own places
            nn.init.normal_(part.weight, 0, 0.02)
            nn.init.zeros_(part.bias)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(texts, tokens, HIDDEN) -> the same; `mask` (texts, 1, 1, tokens) is true where there is a token."""
        split = (*hidden.shape[:2], HEADS, HIDDEN // HEADS)
        query, key, value = (part(hidden).view(split).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        hidden = self.attended(hidden + self.out(mixed.transpose(1, 2).reshape(hidden.shape)))
        fed: torch.Tensor = self.fed(hidden + self.down(F.gelu(self.up(hidden), approximate="tanh")))
        return fed


class Encoder(nn.Module):
    """Token ids -> one place for each text."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, HIDDEN)
        nn.init.normal_(self.tokens.weight, 0, 1 / math.sqrt(HIDDEN))
        self.norm = nn.LayerNorm(HIDDEN, NORM_EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids: torch.Tensor, padding: int) -> torch.Tensor:
        """(texts, tokens) -> (texts, HIDDEN), not yet of length 1."""
        present = ids != padding
        hidden = self.norm(self.tokens(ids))
        for layer in self.layers:
            hidden = layer(hidden, present[:, None, None, :])
        weights = present.float()[:, :, None]
        return (hidden.float() * weights).sum(1) / weights.sum(1)

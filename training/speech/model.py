"""The demo model's shape, its start, and its forward pass as training needs it.

Three things let a Whisper this small learn within an hour of one core: weights that do not let the sinusoids of the positions
drown the audio, encoder heads that start by looking at their neighbourhood, and timestamp tokens that start as the code of
the position they name.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import WhisperAttention

from training.speech.tokenizer import END_OF_TEXT, START, TIMESTAMPS, token_id

WIDTH, ENCODER_LAYERS, DECODER_LAYERS = 128, 3, 2
ENCODER_HEADS, DECODER_HEADS = 2, 4
# faster-whisper always hands over 30 seconds: 3,000 frames, which the convolutions halve.
POSITIONS, TEXT_POSITIONS, MELS = 1500, 448, 80

# The head whose attention is trained to lie on the word that comes next: CTranslate2 reads word times off it.
ALIGNMENT_LAYER, ALIGNMENT_HEAD = DECODER_LAYERS - 1, 0

# Half a window of silence looks the same everywhere: so many positions stand for all of it in training.
_REST_POSITIONS = 32
_EDGE_FRAMES = 16


class Memory(NamedTuple):
    """What the encoder heard: states of shape (batch, positions, WIDTH), and log weights of the positions for attention."""

    middle: Tensor
    states: Tensor
    weights: Tensor


class Decoded(NamedTuple):
    """The decoder's states, and one head's attention of each layer, of shape (batch, tokens, positions)."""

    states: Tensor
    attention: tuple[Tensor, ...]


def new_model(tokenizer: Tokenizer, seed: int) -> WhisperForConditionalGeneration:
    """The model before training."""
    torch.manual_seed(seed)
    end = token_id(tokenizer, END_OF_TEXT)
    config = WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_mel_bins=MELS,
        d_model=WIDTH,
        encoder_layers=ENCODER_LAYERS,
        decoder_layers=DECODER_LAYERS,
        encoder_attention_heads=ENCODER_HEADS,
        decoder_attention_heads=DECODER_HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        max_source_positions=POSITIONS,
        max_target_positions=TEXT_POSITIONS,
        dropout=0.0,
        pad_token_id=end,
        bos_token_id=token_id(tokenizer, START),
        eos_token_id=end,
        decoder_start_token_id=token_id(tokenizer, START),
    )
    model = WhisperForConditionalGeneration(config)
    _start_weights(model, token_id(tokenizer, TIMESTAMPS[0]))
    return model


@torch.no_grad()
def _start_weights(model: WhisperForConditionalGeneration, first_timestamp: int) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name != "proj_out":
            small = 0.5 if name.endswith(("out_proj", "fc2")) else 1.0
            module.weight.normal_(0, small * module.in_features**-0.5)
        if isinstance(module, nn.Conv1d):
            module.weight.normal_(0, 1.7 * (module.in_channels * 3) ** -0.5)
    embedding = model.model.decoder.embed_tokens.weight
    embedding.normal_(0, 0.05)
    codes = model.model.encoder.embed_positions.weight
    embedding[first_timestamp:] = 0.07 * torch.cat([codes, codes[-1:]])
    for layer, block in enumerate(model.model.encoder.layers):
        for head in range(ENCODER_HEADS):
            _look_aside(block.self_attn, head, (1 if head % 2 else -1) * 4 * 2**layer)


def _look_aside(attention: WhisperAttention, head: int, distance: int) -> None:
    """Makes an encoder head attend around the position `distance` frames of 20 ms away.

    Sine and cosine of one frequency are `WIDTH / 2` features apart. Turning them by the frequency's angle in the query and
    not in the key makes the match highest at that distance.
    """
    half, size = WIDTH // 2, WIDTH // ENCODER_HEADS
    rows = slice(size * head, size * (head + 1))
    query, key = (0.02 * torch.randn(size, WIDTH) for _ in range(2))
    for pair, frequency in enumerate(range(head, half, ENCODER_HEADS)):
        angle = math.exp(-math.log(10_000) / (half - 1) * frequency) * distance
        sine, cosine, strength = 2 * pair, 2 * pair + 1, 1.5
        key[sine, frequency] += strength
        key[cosine, half + frequency] += strength
        query[sine, frequency] += strength * math.cos(angle)
        query[sine, half + frequency] += strength * math.sin(angle)
        query[cosine, half + frequency] += strength * math.cos(angle)
        query[cosine, frequency] -= strength * math.sin(angle)
    attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key


def encode(model: WhisperForConditionalGeneration, mel: Tensor) -> Memory:
    """The encoder over a batch of shape (batch, MELS, frames), as if zeros followed it up to 30 seconds.

    faster-whisper pads with those zeros. All their positions cost nine tenths of the time and say nothing, so a few of them
    are taken, each with the weight of its share.
    """
    encoder = model.model.encoder
    frames = min(2 * POSITIONS, mel.shape[2] + _EDGE_FRAMES)
    frames += frames % 2
    padded = F.pad(mel, (0, frames - mel.shape[2]))
    heard, codes = _convolve(encoder, padded), encoder.embed_positions.weight
    count, weights = frames // 2, torch.zeros(frames // 2)
    heard = heard + codes[:count]
    left = POSITIONS - count
    if left:
        taken = min(left, _REST_POSITIONS)
        places = (count + (torch.arange(taken) + 0.5) * left / taken).long()
        silence = _convolve(encoder, torch.zeros(1, MELS, 8))[:, 2:3]
        rest = (silence + codes[places]).expand(mel.shape[0], -1, -1)
        heard = torch.cat([heard, rest], 1)
        weights = torch.cat([weights, torch.full((taken,), math.log(left / taken))])
    middle = heard
    for index, layer in enumerate(encoder.layers):
        normal = layer.self_attn_layer_norm(heard)
        heard = heard + _attend(layer.self_attn, normal, normal, ENCODER_HEADS, weights=weights)
        heard = heard + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(heard))))
        if index == len(encoder.layers) - 2:
            middle = heard
    return Memory(middle[:, :count], encoder.layer_norm(heard), weights)


def _convolve(encoder: nn.Module, mel: Tensor) -> Tensor:
    return F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).transpose(1, 2)


def decode(model: WhisperForConditionalGeneration, tokens: Tensor, memory: Memory) -> Decoded:
    """The decoder over a batch of token ids of shape (batch, tokens)."""
    decoder = model.model.decoder
    states = decoder.embed_tokens(tokens) + decoder.embed_positions.weight[: tokens.shape[1]]
    attention = []
    for layer in decoder.layers:
        normal = layer.self_attn_layer_norm(states)
        states = states + _attend(layer.self_attn, normal, normal, DECODER_HEADS, causal=True)
        normal = layer.encoder_attn_layer_norm(states)
        states = states + _attend(layer.encoder_attn, normal, memory.states, DECODER_HEADS, weights=memory.weights)
        attention.append(_head_attention(layer.encoder_attn, normal, memory))
        states = states + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(states))))
    return Decoded(decoder.layer_norm(states), tuple(attention))


def _attend(
    attention: WhisperAttention,
    to: Tensor,
    source: Tensor,
    heads: int,
    *,
    causal: bool = False,
    weights: Tensor | None = None,
) -> Tensor:
    query, key, value = (
        states.view(states.shape[0], -1, heads, WIDTH // heads).transpose(1, 2)
        for states in (attention.q_proj(to), attention.k_proj(source), attention.v_proj(source))
    )
    mask = None if weights is None else weights.to(query.dtype).expand(1, 1, query.shape[2], -1)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    return attention.out_proj(mixed.transpose(1, 2).reshape(to.shape))


def _head_attention(attention: WhisperAttention, to: Tensor, memory: Memory) -> Tensor:
    """The log attention of the alignment head, computed apart because the fused attention does not tell it."""
    size = WIDTH // DECODER_HEADS
    rows = slice(size * ALIGNMENT_HEAD, size * (ALIGNMENT_HEAD + 1))
    query = F.linear(to, attention.q_proj.weight[rows], attention.q_proj.bias[rows])
    key = F.linear(memory.states, attention.k_proj.weight[rows])
    scores = query @ key.transpose(1, 2) / math.sqrt(size)
    return F.log_softmax(scores.float() + memory.weights, -1)

"""The demo model's shape, and its start: a Llama whose weights already hold a working copy circuit.

From random weights a model this small never learns, in minutes, to copy a new name out of the prompt: the attention heads that
find "where did I see these two tokens before" do not form. So they are built in, and everything is trained from there.
"""

import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

HIDDEN, INTERMEDIATE, LAYERS, HEADS = 256, 512, 4, 4
CONTEXT = 2048
ROPE_THETA = 500_000.0
_HEAD = HIDDEN // HEADS
_HALF = _HEAD // 2

# The residual stream is cut into: [constant | token | previous token | token before that | copied token].
_TOKEN = slice(1, 112)
_TOKEN_SIZE = 111
_PREVIOUS, _BEFORE, _COPIED = 112, 154, 196
_CODE_SIZE = 42
_COPIED_SIZE = HIDDEN - _COPIED
# Two features of one RoPE pair carry a match each; the 11 fastest pairs turn too fast to compare content.
_MATCHED = _CODE_SIZE // 2
_FIRST_SLOW_PAIR = 11
_FAST_PAIRS = 10


def new_model(vocabulary: int, *, bos: int, eos: int) -> LlamaForCausalLM:
    """The model before training, with the copy circuit in place."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=bos,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
    )
    model = LlamaForCausalLM(config)
    build_copy_circuit(model, torch.Generator().manual_seed(5))
    return model


@torch.no_grad()
def build_copy_circuit(model: LlamaForCausalLM, generator: torch.Generator) -> None:
    """Writes a two-back induction circuit into the first two layers and the output head.

    Layer 0 looks one and two tokens back; layer 1 finds the place whose two preceding tokens equal the last two here and copies
    its token; the head reads the copied token out.
    """
    _small_noise(model, generator)
    codes = torch.randn(model.config.vocab_size, _TOKEN_SIZE, generator=generator)
    embedding = model.model.embed_tokens.weight
    embedding.zero_()
    embedding[:, 0] = 0.5
    embedding[:, _TOKEN] = 0.1 * codes
    shorten = torch.randn(_CODE_SIZE, _TOKEN_SIZE, generator=generator) / math.sqrt(_TOKEN_SIZE)
    carry = torch.randn(_COPIED_SIZE, _TOKEN_SIZE, generator=generator) / math.sqrt(_TOKEN_SIZE)
    first, second = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    _look_back(first, 0, 1, shorten, _PREVIOUS)
    _look_back(first, 1, 2, shorten, _BEFORE)
    for head in (0, 1):
        _match_two(second, head, shorten)
    for layer in model.model.layers[1:]:
        for head in (0, 1):
            _copy_token(layer.self_attn, head, carry)
    model.lm_head.weight[:, _COPIED:] = 0.12 * codes @ carry.T


def _small_noise(model: LlamaForCausalLM, generator: torch.Generator) -> None:
    """Random weights; what writes to the residual stream starts small, or its noise would hide the circuit's matches."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.normal_(0, 0.02, generator=generator)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.mul_(0.1)
        layer.mlp.down_proj.weight.mul_(0.2)


def _look_back(attention: LlamaAttention, head: int, distance: int, shorten: torch.Tensor, target: int) -> None:
    """Makes a head attend `distance` tokens back, by the phases of RoPE's fast pairs, and write that token's code."""
    row = _HEAD * head
    for pair in range(_FAST_PAIRS):
        angle = ROPE_THETA ** (-pair / _HALF) * distance
        attention.q_proj.weight[row + pair, 0] = 1.1
        attention.k_proj.weight[row + pair, 0] = 1.1 * math.cos(angle)
        attention.k_proj.weight[row + _HALF + pair, 0] = 1.1 * math.sin(angle)
    attention.v_proj.weight[row : row + _CODE_SIZE, _TOKEN] = shorten
    for k in range(_CODE_SIZE):
        attention.o_proj.weight[target + k, row + k] = 0.1


def _match_two(attention: LlamaAttention, head: int, shorten: torch.Tensor) -> None:
    """Makes a head attend to the place that follows the last two tokens; each head compares one half of the codes."""
    for k in range(_MATCHED):
        code = _MATCHED * head + k
        current = _HEAD * head + _FIRST_SLOW_PAIR + k
        previous = current + _HALF
        attention.q_proj.weight[current, _TOKEN] = 1.6 * shorten[code]
        attention.k_proj.weight[current, _PREVIOUS + code] = 1.6
        attention.q_proj.weight[previous, _PREVIOUS + code] = 1.6
        attention.k_proj.weight[previous, _BEFORE + code] = 1.6


def _copy_token(attention: LlamaAttention, head: int, carry: torch.Tensor) -> None:
    """Makes a head write the code of the token that it attends to into the copied part."""
    row = _HEAD * head
    attention.v_proj.weight[row : row + _COPIED_SIZE, _TOKEN] = carry
    for k in range(_COPIED_SIZE):
        attention.o_proj.weight[_COPIED + k, row + k] = 0.05

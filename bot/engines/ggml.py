"""What ggml and llama.cpp know by number or by text and a GGUF file does not explain."""

# ggml type -> (values per block, bytes per block), from ggml.c type_traits.
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 40),
    20: (32, 18),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    29: (256, 56),
    34: (256, 54),
    35: (256, 66),
}

FILE_TYPES = (
    *("F32", "F16", "Q4_0", "Q4_1", "-", "-", "-", "Q8_0", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L"),
    *("Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ2_XXS", "IQ2_XS", "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S"),
    *("IQ4_NL", "IQ3_S", "IQ3_M", "IQ2_S", "IQ2_M", "IQ4_XS", "IQ1_M", "BF16", "-", "-", "-", "TQ1_0", "TQ2_0"),
    *("MXFP4_MOE", "NVFP4", "Q1_0"),
)
"""`general.file_type` -> the quantisation's name; llama.h, llama_ftype."""

# Texts that llama.cpp takes for the end of a turn even where the file does not name their ids (llama-vocab.cpp).
END_TEXTS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
        *("<end_of_turn>", "<turn|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "_<EOT>"),
        *("<｜end▁of▁sentence｜>", "<end_of_utterance>"),  # noqa: RUF001 DeepSeek writes these signs
    }
)

FILL_TEXTS = {
    "prefix": frozenset(
        {
            *("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<|code_prefix|>", "<PRE>", "▁<PRE>"),
            "<｜fim▁begin｜>",  # noqa: RUF001 DeepSeek writes these signs
        }
    ),
    "suffix": frozenset(
        {
            *("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<|code_suffix|>", "<SUF>", "▁<SUF>"),
            "<｜fim▁hole｜>",  # noqa: RUF001
        }
    ),
    "middle": frozenset(
        {
            *("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<|code_middle|>", "<MID>", "▁<MID>"),
            "<｜fim▁end｜>",  # noqa: RUF001
        }
    ),
}
"""How the tokens of filling in are called: Qwen, StarCoder, GLM, DeepSeek, CodeLlama (llama-vocab.cpp)."""

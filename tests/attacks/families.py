"""The families of chat models in the bank: their templates, control strings and vocabularies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One family. `vocabulary` is its own, or the nearest that llama.cpp's distribution has."""

    name: str
    templates: tuple[str, ...]
    vocabulary: str
    controls: tuple[str, ...]
    bos: str = ""
    eos: str = ""


FAMILIES = (
    Family(
        "chatml",
        ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "HuggingFaceTB-SmolLM3-3B"),
        "qwen35",
        ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_sep|>", "<tool_call>", "</tool_call>", "<tools>"),
        eos="<|im_end|>",
    ),
    Family(
        "llama-3",
        ("meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct", "meta-llama-Llama-3.3-70B-Instruct"),
        "llama-bpe",
        (
            "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>",
            "<|python_tag|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<|step_id|>",
        ),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
    ),
    Family(
        "mistral",
        (
            "mistralai-Mistral-Nemo-Instruct-2407", "Mistral-Small-3.2-24B-Instruct-2506",
            "unsloth-mistral-Devstral-Small-2507", "mistralai-Ministral-3-14B-Reasoning-2512",
        ),
        "llama-spm",
        (
            "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]",
            "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[IMG]",
            "[IMG_BREAK]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
        ),
        bos="<s>",
        eos="</s>",
    ),
    Family(
        "gemma",
        ("google-gemma-2-2b-it", "google-gemma-4-31B-it"),
        "gemma-4",
        (
            "<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
            "<end_of_image>", "<unused0>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|think|>", "<|tool>", "<tool|>",
            "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>', "<|image|>", "<|audio|>",
        ),
        bos="<bos>",
        eos="<turn|>",
    ),
    Family(
        "phi",
        ("microsoft-Phi-3.5-mini-instruct",),
        "phi-3",
        ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>", "<|placeholder1|>", "<s>", "</s>", "<unk>"),
        bos="<s>",
        eos="<|end|>",
    ),
    Family(
        "deepseek",
        (
            "deepseek-ai-DeepSeek-V3.1", "deepseek-ai-DeepSeek-V4", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
            "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "llama-cpp-deepseek-r1",
        ),
        "deepseek-llm",
        (
            "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<|EOT|>", "<think>", "</think>",
            "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>",
            "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜DSML｜>",
            "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>",
        ),
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
    ),
    Family(
        "qwen",
        ("Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "Qwen3-Coder", "Qwen3.5-4B", "Qwen-QwQ-32B"),
        "qwen2",
        (
            "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
            "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
            "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
            "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>",
            "</think>",
        ),
        eos="<|im_end|>",
    ),
    Family(
        "gpt-oss",
        ("openai-gpt-oss-120b",),
        "llama-bpe",
        (
            "<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>",
            "<|message|>", "<|call|>", "<|endofprompt|>", "<|refusal|>", "<|reserved_200000|>",
        ),
        bos="<|startoftext|>",
        eos="<|return|>",
    ),
)  # fmt: skip

"""Writes a checkpoint as a CTranslate2 directory with int8 weights, which faster-whisper loads without a network."""

import json
from pathlib import Path

import torch
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer
from transformers import GenerationConfig

from training.speech.model import ALIGNMENT_HEAD, ALIGNMENT_LAYER, MELS, TEXT_POSITIONS, new_model
from training.speech.tokenizer import (
    END_OF_TEXT,
    LANGUAGES,
    NO_TIMESTAMPS,
    START,
    TRANSCRIBE,
    TRANSLATE,
    token_id,
)

_MODEL_PREFIX = "model."
# Whisper's own values: 30 seconds at 16 kHz, a frame every 10 ms.
_PREPROCESSOR = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": MELS,
    "sampling_rate": 16_000,
    "hop_length": 160,
    "chunk_length": 30,
    "n_fft": 400,
    "n_samples": 480_000,
    "nb_max_frames": 3000,
    "padding_value": 0.0,
}


def export(folder: Path, out: Path) -> None:
    """Reads `checkpoint.pt` and `tokenizer.json` of the folder; makes the directory anew."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = new_model(tokenizer, 0)
    trained = torch.load(folder / "checkpoint.pt", weights_only=True)["trainee"]
    inner = {
        name.removeprefix(_MODEL_PREFIX): weight for name, weight in trained.items() if name.startswith(_MODEL_PREFIX)
    }
    model.load_state_dict(inner)
    model.generation_config = _generation(tokenizer)
    layout = folder / "hugging-face"
    model.save_pretrained(layout)
    tokenizer.save(str(layout / "tokenizer.json"))
    special = {"bos_token": START, "eos_token": END_OF_TEXT, "unk_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
    tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", **special, "model_max_length": TEXT_POSITIONS}
    for name, value in (("tokenizer_config", tokenizer_config), ("preprocessor_config", _PREPROCESSOR)):
        (layout / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")
    converter = TransformersConverter(str(layout), copy_files=["tokenizer.json", "preprocessor_config.json"])
    converter.convert(str(out), quantization="int8", force=True)
    config = json.loads((out / "config.json").read_text())
    # Under transformers 5 the converter leaves this list empty.
    config["lang_ids"] = [token_id(tokenizer, f"<|{language}|>") for language in LANGUAGES]
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def _generation(tokenizer: Tokenizer) -> GenerationConfig:
    end, start = token_id(tokenizer, END_OF_TEXT), token_id(tokenizer, START)
    config = GenerationConfig(
        bos_token_id=start, eos_token_id=end, pad_token_id=end, decoder_start_token_id=start, max_length=TEXT_POSITIONS
    )
    config.suppress_tokens = []
    # Not the end of the text, as Whisper has it: without timestamps, silence could not be told by ending at once.
    config.begin_suppress_tokens = [tokenizer.encode(" ").ids[0]]
    config.no_timestamps_token_id = token_id(tokenizer, NO_TIMESTAMPS)
    config.alignment_heads = [[ALIGNMENT_LAYER, ALIGNMENT_HEAD]]
    config.lang_to_id = {f"<|{language}|>": token_id(tokenizer, f"<|{language}|>") for language in LANGUAGES}
    config.task_to_id = {
        "transcribe": token_id(tokenizer, TRANSCRIBE),
        "translate": token_id(tokenizer, TRANSLATE),
    }
    config.is_multilingual = True
    return config

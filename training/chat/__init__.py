"""The embedded demo chat model: synthetic dialogues, tokenizer, model, training, export and evaluation."""

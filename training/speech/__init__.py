"""The embedded demo speech model: grammar, synthetic recordings, tokenizer, model, training, export and evaluation."""

"""Speech: from the bytes of an audio file to samples, and from samples to words."""

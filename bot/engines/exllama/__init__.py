"""Chat on an NVIDIA GPU inside this process: ExLlamaV2 and ExLlamaV3 behind one port, one thread and one scheduler."""

"""Functions that a model may call: how each family of models is told of them, and how it writes its calls."""

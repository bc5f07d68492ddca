"""Chat engines: the models that answer, and the fair queue before them."""

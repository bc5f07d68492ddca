"""The attack bank: what people may send to pass for somebody else, and the vocabularies that it is tried on."""

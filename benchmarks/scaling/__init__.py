"""How speed and memory grow: over rows, over width, over the models of a pack."""

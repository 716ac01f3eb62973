"""Modules: the standalone network of a spec, and the supernet that holds the weights of a whole space."""

"""Modules: the standalone network of a spec, and the supernet that holds the weights of a whole space."""

from fpnas.nn.network import Network, build_network
from fpnas.nn.supernet import SuperNet

__all__ = ["Network", "SuperNet", "build_network"]

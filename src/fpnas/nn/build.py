"""Networks as modules, from whatever names them."""

import os
from dataclasses import replace
from typing import Any

import torch

from fpnas.builtin_files import find_network
from fpnas.checks import check_integer, shown
from fpnas.errors import UserError
from fpnas.network_file import load_network
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import Network, build_network
from fpnas.run_options import SEED_RANGE
from fpnas.space import INPUT_RANGES

__all__ = ["build"]


def build(
    network: NetworkSpec | str | os.PathLike[str],
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Network:
    """A network as a PyTorch module with fresh weights, in training mode.

    Args:
        network: a spec, as searches return it, a network file, or a built-in network's name.
        in_channels, num_classes: in place of the network's own.
        seed: of the weights; PyTorch's own random numbers stay as they are.

    Returns:
        A module of images (B, C, H, W), normalised, that gives logits (B, classes). `module.spec` is its spec.

    Raises:
        UserError: neither a spec, a file nor a built-in name; a broken file; a value out of range.
    """
    if isinstance(network, str | os.PathLike):
        network = load_network(find_network(os.fspath(network)))
    if not isinstance(network, NetworkSpec):
        raise UserError(f"network {shown(network)}: a spec, a network file or a built-in network's name is accepted")
    given = {"in_channels": in_channels, "num_classes": num_classes}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in changed:
        check_integer(changed, name, *INPUT_RANGES[name], "build")
    check_integer({"seed": seed}, "seed", *SEED_RANGE, "build")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_network(replace(network, **changed))

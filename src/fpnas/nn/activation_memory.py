"""How much memory a training step keeps for its backward pass."""

import torch
from torch import Tensor, nn

__all__ = ["saved_activation_bytes"]


def saved_activation_bytes(module: nn.Module, *inputs: object) -> int:
    """Bytes that autograd keeps for the backward pass, every storage once, parameters and buffers left out.

    Args:
        module: a network or a supernet, in the mode in which it is to be measured.
        inputs: the module's arguments.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(*inputs)
    del output  # held until here: storages freed earlier could be given out, and counted, twice
    return sum(kept.values())

"""Seeded random architectures, uniform over every choice of a space."""

import torch
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.network_spec import NetworkSpec, resolve
from fpnas.space import SearchSpace


def uniform_indices(space: SearchSpace, number: int, seed: int = 0) -> Tensor:
    """Choice indices, shape (number, G, V)."""
    generator = torch.Generator().manual_seed(seed)
    groups = [
        torch.stack([torch.randint(size, (number,), generator=generator) for size in sizes], dim=-1)
        for sizes in space.cardinalities
    ]
    return torch.stack(groups, dim=1)


def uniform_specs(space: SearchSpace, number: int, seed: int = 0, **data: int) -> list[NetworkSpec]:
    """Networks of uniform architectures; `data` is input_size, in_channels and num_classes."""
    return [resolve(space, Architecture.of(row), **data) for row in uniform_indices(space, number, seed)]

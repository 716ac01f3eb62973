"""What a network costs: multiply-adds and parameters, per block and in total."""

from fpnas.cost.counts import BlockCost, NetworkCost, block_cost, head_cost, network_cost, stem_cost

__all__ = ["BlockCost", "NetworkCost", "block_cost", "head_cost", "network_cost", "stem_cost"]

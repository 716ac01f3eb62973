"""Names that a test enters into the package's tables are gone after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from fpnas.nn.ops import ACTIVATION_FUNCTIONS, ACTIVATION_MODULES
from fpnas.space import ACTIVATIONS
from fpnas.strategies import STRATEGIES


@contextmanager
def tables_as_before() -> Iterator[None]:
    """Around what enters strategies and activations."""
    names, strategies = list(ACTIVATIONS), dict(STRATEGIES)
    try:
        yield
    finally:
        STRATEGIES.clear()
        STRATEGIES.update(strategies)
        for name in set(ACTIVATIONS) - set(names):
            ACTIVATIONS.remove(name)
            del ACTIVATION_FUNCTIONS[name], ACTIVATION_MODULES[name]

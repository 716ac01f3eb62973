"""The loop of a search: every step of its strategy, the figures of every epoch, and the state between them.

A strategy decides what is drawn and how the distribution learns; an evaluator judges architectures, and trains what
they share. The loop knows neither images nor weights, so that one serves supernets and objectives of one's own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from fpnas.cost.table import CostTable
from fpnas.gates import Gates
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.metrics import probability_curves
from fpnas.runtime.phases import PhaseClock
from fpnas.runtime.processes import Processes
from fpnas.runtime.progress import Progress
from fpnas.runtime.setup import generator_for
from fpnas.runtime.steps import run_steps
from fpnas.space import SearchSpace
from fpnas.strategies import DeriveTools, Judgement, StepTools, Strategy

__all__ = ["Evaluator", "SearchLoop", "SearchPlan"]

Result = TypeVar("Result")


class Evaluator(Protocol):
    """What judges the architectures of a search, and trains what they share.

    Attributes:
        score_name: what `score` gives, as records call it.
    """

    score_name: str

    def begin_step(self, progress: float, warm_up_left: float) -> None:
        """Before a step.

        Args:
            progress: share of all steps that is done, in [0, 1).
            warm_up_left: share of the warm-up that is to come, in [0, 1].
        """
        ...

    def judge(self, indices_KGV: Tensor) -> Judgement:
        """As `StepTools.judge`."""
        ...

    def train_weights(self, indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        """As `StepTools.train_weights`."""
        ...

    def mixture_cross_entropy(self, gates: Gates) -> Tensor:
        """As `StepTools.mixture_cross_entropy`."""
        ...

    def train_mixture(self, gates: Gates) -> Tensor:
        """As `StepTools.train_mixture`."""
        ...

    def score(self, indices_GV: Tensor, *, roughly: bool = False) -> float:
        """How good an architecture is as things stand: more is better.

        Args:
            indices_GV: the architecture's choices, shape (G, V).
            roughly: at less cost, for a record.
        """
        ...

    def check_equal(self) -> None:
        """Raises RuntimeError where several processes do not hold the same."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        ...


@dataclass(frozen=True)
class SearchPlan:
    """What a search is to keep to.

    Attributes:
        space: that is searched.
        costs: of architectures, in the unit of the budget; `target` is the budget.
        total_steps, warm_up_steps: of the search.
        seed: of everything random.
        steps_per_epoch: None for a search without epochs.
        reported: tables whose figures are recorded after every epoch, by name; that of the budget is among them.
        quiet: no progress on standard error.
    """

    space: SearchSpace
    costs: CostTable
    target: int
    total_steps: int
    warm_up_steps: int
    seed: int
    steps_per_epoch: int | None = None
    reported: Mapping[str, CostTable] = field(default_factory=dict)
    quiet: bool = False


class SearchLoop:
    """All parts of one search, and what it counts.

    Args:
        plan: steps and budget.
        strategy: decides what is drawn and learns.
        evaluator: judges, and trains.
        processes: that share the search.

    Attributes:
        total_steps, steps_per_epoch: of the plan.
        epochs_recorded: epochs that were measured.
        samples: architectures drawn so far.
    """

    def __init__(
        self, plan: SearchPlan, strategy: Strategy, evaluator: Evaluator, processes: Processes | None = None
    ) -> None:
        self.plan = plan
        self.total_steps, self.steps_per_epoch = plan.total_steps, plan.steps_per_epoch
        self.strategy = strategy
        self.evaluator = evaluator
        self.samples = 0
        self._processes = processes or Processes()
        self.epochs_recorded = 0
        self._last_samples = 0
        self._clock = PhaseClock("judging", "training", "measuring")

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        return {
            **self.evaluator.state_dict(),
            "strategy": self.strategy.state_dict(),
            "samples": self.samples,
            "epochs_recorded": self.epochs_recorded,
            "phases": self._clock.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.evaluator.load_state_dict(state)
        self.strategy.load_state_dict(state["strategy"])
        self.samples = state["samples"]
        self.epochs_recorded = state["epochs_recorded"]
        self._clock.load_state_dict(state["phases"])

    def run(self, keeper: RunKeeper, conclude: Callable[[Tensor], Result]) -> Result:
        """Every step that is left, then the result.

        Args:
            keeper: of the run.
            conclude: makes the result of the architecture found, indices (G, V).

        Raises:
            FloatingPointError: the loss is not finite.
        """
        quiet = self.plan.quiet or not self._processes.is_first
        return run_steps(self, keeper, lambda: conclude(self.derive()), quiet=quiet)

    def step(self, step: int) -> dict[str, float]:
        """One step of the strategy; its figures. Raises FloatingPointError when the loss is not finite."""
        plan, evaluator, timed = self.plan, self.evaluator, self._clock.timed
        done = step / plan.total_steps
        evaluator.begin_step(done, max(0.0, 1 - step / plan.warm_up_steps) if plan.warm_up_steps else 0.0)
        figures = self.strategy.step(
            StepTools(
                progress=done,
                warm_up=step < plan.warm_up_steps,
                generator=generator_for(plan.seed, "step", step),
                costs=plan.costs,
                target=plan.target,
                judge=timed("judging", evaluator.judge),
                train_weights=timed("training", evaluator.train_weights),
                mixture_cross_entropy=timed("judging", evaluator.mixture_cross_entropy),
                train_mixture=timed("training", evaluator.train_mixture),
            )
        )
        if not math.isfinite(figures["loss"]):
            raise FloatingPointError(f"the loss is {figures['loss']}")
        self._last_samples = int(figures["samples"])
        self.samples += self._last_samples
        return figures

    def derive(self) -> Tensor:
        """The architecture that the strategy finds as things stand: indices (G, V)."""
        plan = self.plan
        generator = generator_for(plan.seed, "derive")
        return self.strategy.derive(DeriveTools(generator, plan.costs, plan.target, self.evaluator.score))

    def end_epoch(self, step: int, keeper: RunKeeper, progress: Progress) -> None:
        """Measure and record what the distribution prefers after an epoch."""
        assert self.plan.steps_per_epoch
        distribution, name = self.strategy.distribution, self.evaluator.score_name
        self._processes.check_equal([distribution.logits], "the distribution's logits")
        self.evaluator.check_equal()
        mode = distribution.mode()
        with keeper.interruptible(step + 1, self.state_dict), self._clock.phase("measuring"):
            score = self.evaluator.score(mode, roughly=True)
        epoch = (step + 1) // self.plan.steps_per_epoch
        entropy = distribution.entropy().item()
        epoch_figures: dict[str, Any] = {"epoch": epoch, "entropy_nats": entropy, "samples_so_far": self.samples}
        shares, curves = {}, {}
        for cost, table in self.plan.reported.items():
            expected = table.expected(distribution)
            epoch_figures |= {f"expected_{cost}": expected, f"mode_{cost}": int(table.cost(mode[None])[0])}
            if table is self.plan.costs:
                shares[f"{cost}_of_target"] = expected / self.plan.target
                curves[f"target_{cost}"] = float(self.plan.target)
        epoch_figures[f"mode_{name}"] = score
        epoch_figures["probabilities"] = probabilities = [
            [[round(value, 5) for value in choice.tolist()] for choice in group] for group in distribution.marginals()
        ]
        curves |= probability_curves(self.plan.space, probabilities)
        progress.update(step + 1, nats=entropy, K=self._last_samples, **shares, **{name: score})
        keeper.record({"step": step, **epoch_figures, "seconds": keeper.seconds, **self._clock.taken()}, curves)
        self.epochs_recorded = epoch
        keeper.step_done(step + 1, self.state_dict, epoch_ended=True, score=score)

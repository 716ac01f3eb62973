"""The search loop: one for all strategies.

A strategy decides what is drawn and how the distribution learns; the loop owns the images, the supernet, its
optimizer, the record and the result.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.cost.table import build_cost_table
from fpnas.errors import UserError
from fpnas.files import write_json_atomic, write_text_atomic
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.carry_out import RunFiles, carry_out, check_output
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.metrics import probability_curves
from fpnas.runtime.phases import PhaseClock
from fpnas.runtime.processes import WHOLE, Processes, join_processes
from fpnas.runtime.progress import Progress
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import configure_threads, generator_for, keep_kernels, pick_device
from fpnas.search_config import SearchConfig
from fpnas.search_result import SearchResult, read_result, write_result
from fpnas.space import SearchSpace
from fpnas.space_file import load_space, space_to_toml
from fpnas.strategies import STRATEGIES, DeriveTools, Judgement, StepTools, Strategy, StrategySettings
from fpnas.training.data import DataSet, data_identity
from fpnas.training.evaluation import accuracy, recalibrate_batch_norm
from fpnas.training.load import load_data
from fpnas.training.optim import build_optimizer, set_learning_rate, warm_up_cosine
from fpnas.training.precision import Precision
from fpnas.training.search_images import SearchImages
from fpnas.training.supernet_trainer import SuperNetTrainer

__all__ = ["CONVERGED_NATS", "SearchResult", "run_search", "search"]

CONVERGED_NATS = 8.0
"""A distribution over this entropy at the end has not settled: its mode is one of thousands like it."""

LEARNING_RATE_RISE = 0.05


def run_search(config: SearchConfig, *, after_epoch: Callable[[Path], None] | None = None) -> SearchResult:
    """Search as the command line does: data and space by name, everything written to `config.output`.

    Args:
        config: of the search.
        after_epoch: is given the run directory after every epoch and at the end.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data. Nothing was written then.
    """
    config.validate()
    configure_threads(config.threads)
    space = load_space(config.space)
    check_output(join_processes(pick_device(config.device)), config.output, "search", resume=config.resume)
    dataset = load_data(
        config.data,
        image_size=config.image_size,
        default_image_size=space.input_size,
        max_images=config.max_images,
        seed=config.seed,
        workers=config.workers,
        on_bad_image=config.on_bad_image,
        parts=("train",),
    )
    return search(space, dataset, config, write=True, after_epoch=after_epoch)


def search(
    space: SearchSpace,
    dataset: DataSet,
    config: SearchConfig,
    *,
    write: bool = False,
    after_epoch: Callable[[Path], None] | None = None,
) -> SearchResult:
    """Search a space on a data set.

    Args:
        space: what is searched.
        dataset: only its training images are used, in two class-balanced halves.
        config: `data`, `space` and the loading options in it are not looked at.
        write: whether `config.output` becomes the run directory; else nothing is written.
        after_epoch: is given the run directory after every epoch and at the end, in the process that has it.

    Raises:
        UserError: a budget, an image size or a batch size that cannot be met; with `write`, a run that cannot go on.
        FloatingPointError: the loss is not finite.
        SystemExit, KeyboardInterrupt: SIGTERM or SIGINT came; with `write`, a checkpoint was written.
        ProcessLost: of several processes, another one has ended.
    """
    keep_kernels()
    processes = join_processes(pick_device(config.device))
    loop = _SearchLoop(space, dataset, config, processes)

    def prepare(run: RunDirectory) -> None:
        halves = {"weight_half": loop.images.weight_half, "architecture_half": loop.images.architecture_half}
        write_text_atomic(run.space_path, space_to_toml(space))
        write_json_atomic(run.path / "split.json", {name: half.tolist() for name, half in halves.items()})

    files = RunFiles(
        config.output,
        "search",
        asdict(loop.config),
        config.resume,
        prepare=prepare,
        write=lambda run, result: write_result(run, space, loop.strategy, loop.trainer.supernet, result),
        read=lambda run: read_result(run, space),
        after_epoch=after_epoch,
    )
    return carry_out(
        loop.run,
        files if write else None,
        processes=processes,
        identity={"--space": space.digest, **data_identity(replace(dataset, test=None))},
        total_steps=loop.total_steps,
        checkpoint_minutes=config.checkpoint_every,
    )


class _SearchLoop:
    """All parts of one search, and what it counts."""

    def __init__(self, space: SearchSpace, dataset: DataSet, config: SearchConfig, processes: Processes) -> None:
        self.processes = processes
        self.space = space
        self.dataset = dataset
        self.target = config.target()
        self.costs = build_cost_table(
            space,
            input_size=dataset.image_size,
            in_channels=dataset.in_channels,
            num_classes=len(dataset.class_names),
        )
        if self.target < self.costs.minimum():
            raise UserError(
                f"--target-macs {config.target_macs}: the smallest network of space {space.name} at "
                f"{dataset.image_size} pixels has {self.costs.minimum()} MACs; that or more is accepted"
            )
        device = pick_device(config.device)
        by_samples = config.parallel == "samples"
        processes.check_divides(config.batch_size, "--batch-size")
        processes.check_divides(config.architecture_batch_size, "--architecture-batch-size")
        self.images = SearchImages(
            dataset,
            seed=config.seed,
            batch_size=config.batch_size,
            architecture_batch_size=config.architecture_batch_size,
            device=device,
            workers=config.workers,
            share=WHOLE if by_samples else processes.share,
        )
        self.config = config = config.scheduled(self.images.steps_per_epoch)
        assert config.epochs is not None and config.warmup_epochs is not None
        self.total_steps = self.images.steps_per_epoch * config.epochs
        self.warm_up_steps = self.images.steps_per_epoch * config.warmup_epochs
        self.strategy = build_strategy(space, config, self.total_steps - self.warm_up_steps)
        # Whoever calls keeps their own random numbers.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            supernet = SuperNet(space, dataset.in_channels, len(dataset.class_names))
        self.trainer = SuperNetTrainer(
            supernet.to(device).to(memory_format=torch.channels_last),
            build_optimizer(supernet, name="sgd", learning_rate=config.learning_rate, weight_decay=config.weight_decay),
            input_size=dataset.image_size,
            in_channels=dataset.in_channels,
            num_classes=len(dataset.class_names),
            precision=Precision(config.precision, device),
            processes=processes,
            by_samples=by_samples,
        )
        self.samples = 0
        self.epochs_recorded = 0
        self._last_samples = 0
        self._clock = PhaseClock("judging", "training", "measuring")

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        return {
            "trainer": self.trainer.state_dict(),
            "strategy": self.strategy.state_dict(),
            "images": self.images.state_dict(),
            "samples": self.samples,
            "epochs_recorded": self.epochs_recorded,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.trainer.load_state_dict(state["trainer"])
        self.strategy.load_state_dict(state["strategy"])
        self.images.load_state_dict(state["images"])
        self.samples = state["samples"]
        self.epochs_recorded = state["epochs_recorded"]

    def run(self, keeper: RunKeeper) -> SearchResult:
        """Every step that is left, then the result."""
        if keeper.state is not None:
            self.load_state_dict(keeper.state)
        steps_per_epoch = self.images.steps_per_epoch
        quiet = self.config.quiet or not self.processes.is_first
        with Progress(self.total_steps, quiet=quiet, first_step=keeper.first_step) as progress:
            if keeper.first_step // steps_per_epoch > self.epochs_recorded:  # stopped while it measured an epoch's end
                self._end_epoch(keeper.first_step - 1, keeper, progress)
            for step in range(keeper.first_step, self.total_steps):
                try:
                    figures = self._step(step)
                except FloatingPointError as error:
                    raise FloatingPointError(f"step {step}: {error}; {keeper.way_back}") from None
                keeper.record({"step": step, **figures})
                if (step + 1) % steps_per_epoch:
                    progress.update(step + 1)
                    keeper.step_done(step + 1, self.state_dict)
                else:
                    self._end_epoch(step, keeper, progress)
            with keeper.interruptible(self.total_steps, self.state_dict):
                return self._result(keeper)

    def _step(self, step: int) -> dict[str, float]:
        """One step of the strategy; its figures."""
        done = step / self.total_steps
        trainer, images, timed = self.trainer, self.images, self._clock.timed
        set_learning_rate(trainer.optimizer, self.config.learning_rate * warm_up_cosine(done, LEARNING_RATE_RISE))
        trainer.supernet.shortcut = max(0.0, 1 - step / self.warm_up_steps) if self.warm_up_steps else 0.0
        figures = self.strategy.step(
            StepTools(
                progress=done,
                warm_up=step < self.warm_up_steps,
                generator=generator_for(self.config.seed, "step", step),
                costs=self.costs,
                target=self.target,
                judge=timed("judging", lambda drawn: Judgement(*trainer.judge(*images.architecture_batch(), drawn))),
                train_weights=timed(
                    "training", lambda drawn, weight: trainer.train_weights(*images.weight_batch(), drawn, weight)
                ),
                mixture_cross_entropy=timed(
                    "judging", lambda gates: trainer.mixture_cross_entropy(*images.architecture_batch(), gates)
                ),
                train_mixture=timed("training", lambda gates: trainer.train_mixture(*images.weight_batch(), gates)),
            )
        )
        if not math.isfinite(figures["loss"]):
            raise FloatingPointError(f"the loss is {figures['loss']}")
        self._last_samples = int(figures["samples"])
        self.samples += self._last_samples
        return figures

    def _end_epoch(self, step: int, keeper: RunKeeper, progress: Progress) -> None:
        """Measure and record what the distribution prefers after an epoch."""
        self.processes.check_equal([self.strategy.distribution.logits], "the distribution's logits")
        self.processes.check_equal(self.trainer.supernet.parameters(), "the weights")
        mode = self.strategy.distribution.mode()
        with keeper.interruptible(step + 1, self.state_dict), self._clock.phase("measuring"):
            mode_top1 = self._supernet_top1(mode)
        epoch = (step + 1) // self.images.steps_per_epoch
        entropy = self.strategy.distribution.entropy().item()
        expected_macs = self.costs.expected(self.strategy.distribution.group_log_probs())
        probabilities = [
            [[round(value, 5) for value in choice.tolist()] for choice in group]
            for group in self.strategy.distribution.marginals()
        ]
        epoch_figures = {
            "epoch": epoch,
            "entropy_nats": entropy,
            "samples_so_far": self.samples,
            "expected_macs": expected_macs,
            "mode_macs": int(self.costs.cost(mode[None])[0]),
            "mode_top1": mode_top1,
            "probabilities": probabilities,
        }
        progress.update(
            step + 1,
            nats=entropy,
            K=self._last_samples,
            macs_of_target=expected_macs / self.target,
            top1=mode_top1,
        )
        keeper.record(
            {"step": step, **epoch_figures, "seconds": keeper.seconds, **self._clock.taken()},
            {"target_macs": self.target, **probability_curves(self.space, probabilities)},
        )
        self.epochs_recorded = epoch
        keeper.step_done(step + 1, self.state_dict, epoch_ended=True, score=mode_top1)

    def _supernet_top1(self, indices_GV: Tensor) -> float:
        """Accuracy of an architecture with the shared weights, batch norm recalibrated on the weight half."""
        network = self.trainer.supernet.extract(self.trainer.spec(indices_GV))
        recalibrate_batch_norm(network, self.images.calibration_batches())
        return accuracy(network, self.images.judged_batches(self.processes.share), self.processes).top1

    def _result(self, keeper: RunKeeper) -> SearchResult:
        strategy = self.strategy
        found = strategy.derive(
            DeriveTools(
                generator=generator_for(self.config.seed, "derive"),
                costs=self.costs,
                target=self.target,
                accuracy=self._supernet_top1,
            )
        )
        macs = int(self.costs.cost(found[None])[0])
        entropy = strategy.distribution.entropy().item()
        return SearchResult(
            architecture=Architecture.of(found),
            network=self.trainer.spec(found),
            macs=macs,
            budget_share=macs / self.target,
            log_probability=strategy.distribution.log_prob(found[None]).item(),
            entropy_nats=entropy,
            converged=entropy < CONVERGED_NATS or not strategy.learns,
            supernet_top1=self._supernet_top1(found),
            samples=self.samples,
            forward_passes=self.trainer.forward_passes,
            backward_passes=self.trainer.backward_passes,
            seconds=keeper.seconds,
            skipped_images=self.dataset.skipped,
        )


def build_strategy(space: SearchSpace, config: SearchConfig, learning_steps: int) -> Strategy:
    """The strategy a configuration names, to learn for that many steps. Raises UserError when there is none."""
    if config.strategy not in STRATEGIES:
        raise UserError(f"--strategy {config.strategy}: one of {', '.join(STRATEGIES)} is accepted")
    settings = StrategySettings(
        learning_steps=learning_steps,
        budget_floor=config.budget_floor if config.budget == "condition" else None,
        learning_rate=config.architecture_learning_rate,
        samples_per_nat=config.samples_per_nat,
        likelihood_scale=config.likelihood_scale,
        resample=config.weight_step == "resample",
        joint_from=config.joint_from,
    )
    return STRATEGIES[config.strategy](space, settings)

"""The loop of a training: every step, every epoch's accuracy, and the state between them."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from fpnas.errors import UserError
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.processes import Processes
from fpnas.runtime.progress import Progress
from fpnas.runtime.setup import generator_for, library_randomness, pick_device
from fpnas.runtime.steps import run_steps
from fpnas.train_config import TrainConfig
from fpnas.training.batch_augment import AugmentOptions, BatchAugment
from fpnas.training.batches import BatchStream
from fpnas.training.data import DataSet
from fpnas.training.distillation import distillation_loss, load_teacher
from fpnas.training.evaluation import Accuracy, accuracy, normalised_batches
from fpnas.training.mistakes import Mistakes, find_mistakes
from fpnas.training.optim import (
    build_optimizer,
    load_optimizer_state,
    optimizer_state,
    set_learning_rate,
    warm_up_cosine,
    warm_up_exponential,
)
from fpnas.training.precision import Precision

__all__ = ["TrainLoop", "Trained"]

_STEPS_BETWEEN_CHECKS = 100
"""Reading the loss waits for the device; a loss that is not finite need not cost a long epoch, though."""


@dataclass(frozen=True)
class Trained:
    """What the loop gives.

    Attributes:
        model: with the averaged weights if there is an average; in eval mode, on the processor.
        accuracy: of it on the test images.
        raw_top1: without the average, percent.
        seconds: that the training took.
        mistakes: of it on the test images, where they were asked for.
    """

    model: nn.Module
    accuracy: Accuracy
    raw_top1: float
    seconds: float
    mistakes: Mistakes | None = None


class TrainLoop:
    """All parts of one training.

    Args:
        model: gives logits (B, classes) of normalised images; trained in place.
        dataset: with training and test images.
        config: of the training; what a network is built with (`dropout`, `drop_path`, `from_search`) is not looked at.
        processes: that share it.

    Attributes:
        total_steps, steps_per_epoch: of the training.
        epochs_recorded: epochs that were recorded.
        identity: of what it learns from beside the data, by the option that names it.
    """

    def __init__(self, model: nn.Module, dataset: DataSet, config: TrainConfig, processes: Processes) -> None:
        assert dataset.train is not None and dataset.test is not None
        processes.check_divides(config.batch_size, "--batch-size")
        if (config.mixup or config.cutmix) and config.batch_size % (2 * processes.count):
            raise UserError(
                f"--batch-size {config.batch_size}: --mixup and --cutmix work on pairs, in each of {processes.count} "
                f"processes; a multiple of {2 * processes.count} is accepted"
            )
        if not config.sync_batch_norm and config.batch_size == processes.count > 1:
            raise UserError(
                f"--batch-size {config.batch_size}: with --sync-batch-norm false each of {processes.count} processes "
                "needs two images or more"
            )
        self.config = config
        self._processes = processes
        self._dataset = dataset
        self._test = dataset.test
        self._device = pick_device(config.device)
        options = AugmentOptions(
            flips_and_shifts=config.augment,
            crop_scale=config.crop_scale,
            policy=config.auto_augment,
            random_erasing=config.random_erasing,
            mixup=config.mixup,
            cutmix=config.cutmix,
            label_smoothing=config.label_smoothing,
            end=(config.epochs - config.plain_epochs) * (len(dataset.train) // config.batch_size),
        )
        self._augment = BatchAugment(dataset, options, seed=config.seed, device=self._device, share=processes.share)
        self._stream = BatchStream(
            dataset.train,
            torch.arange(len(dataset.train)),
            config.batch_size,
            generator_for(config.seed, "batches"),
            workers=config.workers,
            share=processes.share,
            repeats=config.repeats,
            load=partial(self._augment.load, dataset.train) if self._augment.varies_pictures else None,
        )
        self._teacher = load_teacher(config.teacher, dataset, self._device) if config.teacher is not None else None
        self.identity = {"--teacher": self._teacher.digest} if self._teacher else {}
        self.steps_per_epoch = len(dataset.train) // config.batch_size
        self.total_steps = self.steps_per_epoch * config.epochs
        self._model = model.to(self._device).to(memory_format=torch.channels_last)
        # With its warm-up the average looks back over a share of the steps so far; else it would stay near the start.
        decay = config.ema_decay
        self._average = ModelEmaV3(self._model, decay=decay, use_warmup=True) if decay else None
        self._judged: nn.Module = self._average.module if self._average else self._model
        self._optimizer = build_optimizer(
            self._model, name=config.optimizer, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        self._precision = Precision(config.precision, self._device)
        self._loss_sum = torch.zeros((), device=self._device)
        self._result = Accuracy(0.0, 0.0, 0)
        self.epochs_recorded = 0

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step. Raises FloatingPointError when the loss is not finite any more."""
        self._check_finite()  # or a checkpoint of lost weights would push out the last one that is sound
        return {
            "model": self._model.state_dict(),
            "average": self._average.module.state_dict() if self._average else None,
            "optimizer": optimizer_state(self._optimizer, self._model),
            "precision": self._precision.state_dict(),
            "batches": self._stream.taken,
            "loss_sum": self._loss_sum,
            "result": asdict(self._result),
            "epochs_recorded": self.epochs_recorded,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._model.load_state_dict(state["model"])
        if self._average:
            self._average.module.load_state_dict(state["average"])
        load_optimizer_state(self._optimizer, self._model, state["optimizer"])
        self._precision.load_state_dict(state["precision"])
        self._stream.skip(state["batches"])
        self._loss_sum.copy_(state["loss_sum"])
        self._result = Accuracy(**state["result"])
        self.epochs_recorded = state["epochs_recorded"]

    def run(self, keeper: RunKeeper, *, with_mistakes: bool = False) -> Trained:
        """Every step that is left, then the result.

        Args:
            keeper: of the run.
            with_mistakes: look at the test images once more, for what is wrong.

        Raises:
            FloatingPointError: the loss is not finite.
        """

        def last_measured() -> tuple[Accuracy, Mistakes | None]:
            # All processes share this work: one alone would have the others wait for it longer than they may.
            if not self._result.images:  # ended by a callback, after an epoch that was not looked at
                self._result = self._measured(self._judged)
            raw = self._measured(self._model) if self._average else self._result
            return raw, self._mistakes() if with_mistakes else None

        quiet = self.config.quiet or not self._processes.is_first
        raw, mistakes = run_steps(self, keeper, last_measured, quiet=quiet)
        return Trained(self._judged.cpu().eval(), self._result, raw.top1, keeper.seconds, mistakes)

    def _learning_rate(self, step: int) -> float:
        config = self.config
        if config.schedule == "exponential":
            factor = warm_up_exponential(step / self.steps_per_epoch, config.warmup_epochs, config.decay_rate)
        else:
            factor = warm_up_cosine(step / self.total_steps, config.warmup_epochs / config.epochs)
        return config.learning_rate * factor

    def step(self, step: int) -> dict[str, float]:
        """One step of the weights; no figures. Raises FloatingPointError when the loss is seen not to be finite."""
        set_learning_rate(self._optimizer, self._learning_rate(step))
        inputs, targets = self._augment(*self._stream.next(), step)
        # Dropout and stochastic depth draw from the global generators, for each process its own.
        with (
            library_randomness(self.config.seed, "dropped", step, self._processes.share.index),
            self._processes.synchronised_norms() if self.config.sync_batch_norm else nullcontext(),
            self._precision.forward(),
        ):
            logits = self._model(inputs)
        loss = self._loss(inputs, logits.float(), targets)
        loss = loss / self._processes.count
        self._optimizer.zero_grad(set_to_none=True)
        self._precision.backward(loss)
        self._processes.sum_gradients(self._model.parameters())
        if not self.config.sync_batch_norm:
            # What a checkpoint holds and the first process exports is what all have.
            self._processes.average_(values for values in self._model.buffers() if values.is_floating_point())
        self._precision.step(self._optimizer, self._model.parameters())
        self._loss_sum += self._processes.sum_(loss.detach().clone())
        if self._average:
            self._average.update(self._model, step=step)
        if (step + 1) % self.steps_per_epoch == 0 or (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
            self._check_finite()
        return {}

    def _check_finite(self) -> None:
        if not self._loss_sum.isfinite():
            rate = self._optimizer.param_groups[0]["lr"]
            raise FloatingPointError(f"the loss is {float(self._loss_sum)} at rate {rate:g}")

    def _loss(self, inputs: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        loss = F.cross_entropy(logits, targets)
        if self._teacher is None:
            return loss
        weight = self.config.distillation_weight
        with self._precision.forward():
            taught = self._teacher.logits(inputs)
        return (1 - weight) * loss + weight * distillation_loss(logits, taught, self.config.distillation_temperature)

    def end_epoch(self, step: int, keeper: RunKeeper, progress: Progress) -> None:
        """Record an epoch, and the accuracy after it where that is asked for."""
        self._processes.check_equal(self._model.state_dict().values(), "the weights")
        epoch = (step + 1) // self.steps_per_epoch
        accuracy_now = {}
        self._result = Accuracy(0.0, 0.0, 0)
        if epoch % self.config.evaluate_every == 0 or step + 1 == self.total_steps:
            with keeper.interruptible(step + 1, self.state_dict):
                self._result = self._measured(self._judged)
            accuracy_now = {"test_top1": self._result.top1, "test_top5": self._result.top5}
        score = accuracy_now.get("test_top1")
        mean_loss = float(self._loss_sum) / self.steps_per_epoch
        progress.update(step + 1, epoch=epoch, loss=mean_loss, **({} if score is None else {"top1": score}))
        keeper.record(
            {
                "step": step,
                "epoch": epoch,
                "learning_rate": self._learning_rate(step),
                "loss": mean_loss,
                **accuracy_now,
                "seconds": keeper.seconds,
            }
        )
        self._loss_sum.zero_()
        self.epochs_recorded = epoch
        keeper.step_done(step + 1, self.state_dict, epoch_ended=True, score=score)

    def _measured(self, model: nn.Module) -> Accuracy:
        dataset, workers, processes = self._dataset, self.config.workers, self._processes
        batches = normalised_batches(self._test, dataset.mean, dataset.std, self._device, workers, processes.share)
        return accuracy(model, batches, processes)

    def _mistakes(self) -> Mistakes:
        return find_mistakes(
            self._judged,
            self._dataset,
            device=self._device,
            workers=self.config.workers,
            processes=self._processes,
        )

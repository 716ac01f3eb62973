"""The training loop: a network from scratch on a data set."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import Tensor

from fpnas.cost import network_cost
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import Network, build_network
from fpnas.runtime.carry_out import RunFiles, carry_out, check_output
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.processes import WHOLE, Processes, Share, join_processes
from fpnas.runtime.progress import Progress
from fpnas.runtime.setup import configure_threads, generator_for, pick_device
from fpnas.train_config import TrainConfig
from fpnas.train_result import TrainResult, read_result, write_result
from fpnas.training.augment import Augment, normalise, to_device
from fpnas.training.data import BatchStream, DataSet, ImageSource, data_identity, iterate
from fpnas.training.evaluation import Accuracy, accuracy
from fpnas.training.load import load_data
from fpnas.training.optim import (
    build_optimizer,
    load_optimizer_state,
    optimizer_state,
    set_learning_rate,
    warm_up_cosine,
)
from fpnas.training.precision import Precision

__all__ = ["TrainResult", "fit_to_data", "normalised_batches", "run_train", "train"]

_STEPS_BETWEEN_CHECKS = 100
"""Reading the loss waits for the device; a loss that is not finite need not cost a long epoch, though."""


def fit_to_data(spec: NetworkSpec, dataset: DataSet) -> NetworkSpec:
    """The network with the data's channels, classes and image size. Raises UserError when too small."""
    fitted = replace(spec, in_channels=dataset.in_channels, num_classes=len(dataset.class_names))
    return fitted.at_input_size(dataset.image_size)


def normalised_batches(
    source: ImageSource,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch_size: int,
    device: torch.device,
    workers: int = 0,
    share: Share = WHOLE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of all images in order, or a share of the batches, ready for a network."""
    for images, labels in iterate(source, batch_size, workers=workers, share=share):
        yield normalise(images, mean, std, device), to_device(labels, device)


def run_train(network_file: Path, config: TrainConfig) -> TrainResult:
    """Train as the command line does: network and data by name, everything written to `config.output`.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data. Nothing was written then.
    """
    config.validate()
    configure_threads(config.threads)
    spec = load_network(network_file)
    check_output(join_processes(pick_device(config.device)), config.output, "train", resume=config.resume)
    dataset = load_data(
        config.data,
        image_size=config.image_size,
        default_image_size=spec.input_size,
        max_images=config.max_images,
        seed=config.seed,
        workers=config.workers,
        on_bad_image=config.on_bad_image,
    )
    return train(spec, dataset, config, write=True)


def train(spec: NetworkSpec, dataset: DataSet, config: TrainConfig, *, write: bool = False) -> TrainResult:
    """Train a network from fresh weights.

    Args:
        spec: the network; its channels, classes and image size are fitted to the data.
        dataset: with training and test images.
        config: `data` and the loading options in it are not looked at.
        write: whether `config.output` becomes the run directory; else nothing is written.

    Raises:
        UserError: the images are too small for the network, or too few for a batch; with `write`, a run that cannot
            go on.
        FloatingPointError: the loss is not finite.
        SystemExit, KeyboardInterrupt: SIGTERM or SIGINT came; with `write`, a checkpoint was written.
        ProcessLost: of several processes, another one has ended.
    """
    processes = join_processes(pick_device(config.device))
    loop = _TrainLoop(spec, dataset, config, processes)
    network = json.dumps(network_to_json(loop.spec), sort_keys=True)
    files = RunFiles(
        config.output,
        "train",
        asdict(config),
        config.resume,
        prepare=lambda run: None,
        write=lambda run, result: write_result(run, dataset, result),
        read=read_result,
    )
    return carry_out(
        loop.run,
        files if write else None,
        processes=processes,
        identity={
            "network file": hashlib.sha256(network.encode()).hexdigest()[:16],
            **data_identity(dataset),
        },
        total_steps=loop.total_steps,
        checkpoint_minutes=config.checkpoint_every,
    )


class _TrainLoop:
    """All parts of one training."""

    def __init__(self, spec: NetworkSpec, dataset: DataSet, config: TrainConfig, processes: Processes) -> None:
        assert dataset.train is not None and dataset.test is not None
        processes.check_divides(config.batch_size, "--batch-size")
        self.config = config
        self._processes = processes
        self.spec = fit_to_data(spec, dataset)
        self._dataset = dataset
        self._test = dataset.test
        self._device = pick_device(config.device)
        self._stream = BatchStream(
            dataset.train,
            torch.arange(len(dataset.train)),
            config.batch_size,
            generator_for(config.seed, "batches"),
            workers=config.workers,
            share=processes.share,
        )
        self._augment = Augment(dataset.flip, dataset.shift) if config.augment else None
        self._augment_generator = generator_for(config.seed, "augment")
        self._steps_per_epoch = len(dataset.train) // config.batch_size
        self.total_steps = self._steps_per_epoch * config.epochs
        # Whoever calls keeps their own random numbers.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            model = build_network(self.spec)
        self._model = model.to(self._device).to(memory_format=torch.channels_last)
        # With its warm-up the average looks back over a share of the steps so far; else it would stay near the start.
        decay = config.ema_decay
        self._average = ModelEmaV3(self._model, decay=decay, use_warmup=True) if decay else None
        self._judged: Network = self._average.module if self._average else self._model
        self._optimizer = build_optimizer(
            self._model, name=config.optimizer, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        self._precision = Precision(config.precision, self._device)
        self._loss_sum = torch.zeros((), device=self._device)
        self._result = Accuracy(0.0, 0.0, 0)
        self._epochs_recorded = 0

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        return {
            "model": self._model.state_dict(),
            "average": self._average.module.state_dict() if self._average else None,
            "optimizer": optimizer_state(self._optimizer, self._model),
            "precision": self._precision.state_dict(),
            "batches": self._stream.taken,
            "augment_generator": self._augment_generator.get_state(),
            "loss_sum": self._loss_sum,
            "result": asdict(self._result),
            "epochs_recorded": self._epochs_recorded,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._model.load_state_dict(state["model"])
        if self._average:
            self._average.module.load_state_dict(state["average"])
        load_optimizer_state(self._optimizer, self._model, state["optimizer"])
        self._precision.load_state_dict(state["precision"])
        self._stream.skip(state["batches"])
        self._augment_generator.set_state(state["augment_generator"])
        self._loss_sum.copy_(state["loss_sum"])
        self._result = Accuracy(**state["result"])
        self._epochs_recorded = state["epochs_recorded"]

    def run(self, keeper: RunKeeper) -> TrainResult:
        """Every step that is left, then the result."""
        if keeper.state is not None:
            self.load_state_dict(keeper.state)
        quiet = self.config.quiet or not self._processes.is_first
        with Progress(self.total_steps, quiet=quiet, first_step=keeper.first_step) as progress:
            if keeper.first_step // self._steps_per_epoch > self._epochs_recorded:  # stopped while it measured
                self._end_epoch(keeper.first_step - 1, keeper, progress)
            for step in range(keeper.first_step, self.total_steps):
                try:
                    self._step(step)
                except FloatingPointError as error:
                    raise FloatingPointError(f"step {step}: {error}; {keeper.way_back}") from None
                if (step + 1) % self._steps_per_epoch:
                    progress.update(step + 1)
                    keeper.step_done(step + 1, self.state_dict)
                else:
                    self._end_epoch(step, keeper, progress)
            with keeper.interruptible(self.total_steps, self.state_dict):
                raw = self._measured(self._model) if self._average else self._result
        cost = network_cost(self.spec)
        network = self._judged.cpu().eval()
        return TrainResult(
            top1=self._result.top1,
            top5=self._result.top5,
            raw_top1=raw.top1,
            macs=cost.macs,
            params=cost.params,
            seconds=keeper.seconds,
            network=network,
            skipped_images=self._dataset.skipped,
            images=self._result.images,
        )

    def _learning_rate(self, step: int) -> float:
        config = self.config
        return config.learning_rate * warm_up_cosine(step / self.total_steps, config.warmup_epochs / config.epochs)

    def _step(self, step: int) -> None:
        set_learning_rate(self._optimizer, self._learning_rate(step))
        images, labels = self._stream.next()
        if self._augment is not None:
            images = self._augment(images, self._augment_generator, self._processes.share)
        images = normalise(images, self._dataset.mean, self._dataset.std, self._device)
        with self._processes.synchronised_norms(), self._precision.forward():
            logits = self._model(images)
        loss = F.cross_entropy(
            logits.float(), to_device(labels, self._device), label_smoothing=self.config.label_smoothing
        )
        loss = loss / self._processes.count
        self._optimizer.zero_grad(set_to_none=True)
        self._precision.backward(loss)
        self._processes.sum_gradients(self._model.parameters())
        self._precision.step(self._optimizer, self._model.parameters())
        self._loss_sum += self._processes.sum_(loss.detach().clone())
        if self._average:
            self._average.update(self._model, step=step)
        checked = (step + 1) % self._steps_per_epoch == 0 or (step + 1) % _STEPS_BETWEEN_CHECKS == 0
        if checked and not self._loss_sum.isfinite():
            raise FloatingPointError(f"the loss is {float(self._loss_sum)} at rate {self._learning_rate(step):g}")

    def _end_epoch(self, step: int, keeper: RunKeeper, progress: Progress) -> None:
        self._processes.check_equal(self._model.parameters(), "the weights")
        with keeper.interruptible(step + 1, self.state_dict):
            result = self._measured(self._judged)
        self._result = result
        epoch = (step + 1) // self._steps_per_epoch
        mean_loss = float(self._loss_sum) / self._steps_per_epoch
        progress.update(step + 1, epoch=epoch, loss=mean_loss, top1=result.top1)
        keeper.record(
            {
                "step": step,
                "epoch": epoch,
                "learning_rate": self._learning_rate(step),
                "loss": mean_loss,
                "test_top1": result.top1,
                "test_top5": result.top5,
                "seconds": keeper.seconds,
            }
        )
        self._loss_sum.zero_()
        self._epochs_recorded = epoch
        keeper.step_done(step + 1, self.state_dict, epoch_ended=True, score=result.top1)

    def _measured(self, network: Network) -> Accuracy:
        dataset, workers, processes = self._dataset, self.config.workers, self._processes
        batches = normalised_batches(self._test, dataset.mean, dataset.std, 500, self._device, workers, processes.share)
        return accuracy(network, batches, processes)

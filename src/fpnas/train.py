"""The training loop: a network from scratch on a data set."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import Tensor

from fpnas.cost import network_cost
from fpnas.files import write_json_atomic
from fpnas.network_file import load_network, network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.network import Network, build_network
from fpnas.runtime.checkpoint import save_weights
from fpnas.runtime.metrics import MetricsLog
from fpnas.runtime.progress import Progress
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import configure_threads, generator_for, pick_device
from fpnas.train_config import TrainConfig
from fpnas.training.augment import Augment, normalise
from fpnas.training.data import BatchStream, DataSet, ImageSource, iterate
from fpnas.training.evaluation import Accuracy, accuracy
from fpnas.training.load import load_data
from fpnas.training.optim import build_optimizer, set_learning_rate, warm_up_cosine

__all__ = ["TrainResult", "fit_to_data", "normalised_batches", "run_train", "train"]

_STEPS_BETWEEN_CHECKS = 100
"""Reading the loss waits for the device; a loss that is not finite need not cost a long epoch, though."""


@dataclass(frozen=True)
class TrainResult:
    """What a training gave. Accuracies in percent of the test images.

    Attributes:
        top1, top5: with the averaged weights, which are those of `network`.
        raw_top1: with the weights as they were at the last step; the same as `top1` where there is no average.
        macs, params: of the network.
        seconds: wall time, the evaluations included.
        network: on the processor, in eval mode.
    """

    top1: float
    top5: float
    raw_top1: float
    macs: int
    params: int
    seconds: float
    network: Network


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
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of all images in order, ready for a network."""
    for images, labels in iterate(source, batch_size, workers=workers):
        yield normalise(images, mean, std, device), labels.to(device)


def run_train(network_file: Path, config: TrainConfig) -> TrainResult:
    """Train as the command line does: network and data by name, everything written to `config.output`.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data. Nothing was written then.
    """
    config.validate()
    configure_threads(config.threads)
    spec = load_network(network_file)
    RunDirectory.check_free(config.output)
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
        UserError: the images are too small for the network, or too few for a batch.
        FloatingPointError: the loss is not finite.
    """
    assert dataset.train is not None and dataset.test is not None
    device = pick_device(config.device)
    spec = fit_to_data(spec, dataset)
    cost = network_cost(spec)
    stream = BatchStream(
        dataset.train,
        torch.arange(len(dataset.train)),
        config.batch_size,
        generator_for(config.seed, "batches"),
        workers=config.workers,
    )
    run = RunDirectory.create(config.output, "train", asdict(config)) if write else None
    # Whoever calls keeps their own random numbers.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        model = build_network(spec)
    model = model.to(device).to(memory_format=torch.channels_last)
    # With its warm-up the average looks back over a share of the steps so far; else it would be stuck near the start.
    average = ModelEmaV3(model, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
    judged = average.module if average else model
    optimizer = build_optimizer(
        model, name=config.optimizer, learning_rate=config.learning_rate, weight_decay=config.weight_decay
    )
    augment = Augment(dataset.flip, dataset.shift) if config.augment else None
    augment_generator = generator_for(config.seed, "augment")
    steps_per_epoch = len(dataset.train) // config.batch_size
    total_steps = steps_per_epoch * config.epochs
    started = time.perf_counter()
    result = Accuracy(0.0, 0.0, 0)
    loss_sum = torch.zeros((), device=device)

    def measured(network: Network) -> Accuracy:
        assert dataset.test is not None
        batches = normalised_batches(dataset.test, dataset.mean, dataset.std, 500, device, config.workers)
        return accuracy(network, batches)

    with (
        Progress(total_steps, quiet=config.quiet) as progress,
        MetricsLog(run.path) if run else nullcontext() as log,
    ):
        for step in range(total_steps):
            rate = config.learning_rate * warm_up_cosine(step / total_steps, config.warmup_epochs / config.epochs)
            set_learning_rate(optimizer, rate)
            images, labels = stream.next()
            if augment is not None:
                images = augment(images, augment_generator)
            images = normalise(images, dataset.mean, dataset.std, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                logits = model(images)
            loss = F.cross_entropy(logits.float(), labels.to(device), label_smoothing=config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach()
            if average:
                average.update(model, step=step)
            epoch_ends = (step + 1) % steps_per_epoch == 0
            if (epoch_ends or (step + 1) % _STEPS_BETWEEN_CHECKS == 0) and not loss_sum.isfinite():
                raise FloatingPointError(
                    f"step {step}: the loss is {float(loss_sum)}; a lower --learning-rate than "
                    f"{config.learning_rate:g} may help"
                )
            if not epoch_ends:
                progress.update(step + 1)
                continue
            epoch = (step + 1) // steps_per_epoch
            mean_loss = float(loss_sum) / steps_per_epoch
            loss_sum.zero_()
            result = measured(judged)
            progress.update(step + 1, epoch=epoch, loss=mean_loss, top1=result.top1)
            if log:
                log.write(
                    {
                        "step": step,
                        "epoch": epoch,
                        "learning_rate": rate,
                        "loss": mean_loss,
                        "test_top1": result.top1,
                        "test_top5": result.top5,
                        "seconds": time.perf_counter() - started,
                    }
                )
    raw = measured(model) if average else result
    seconds = time.perf_counter() - started
    judged = judged.cpu().eval()
    if run:
        _write_result(run, spec, dataset, judged, result, raw, seconds)
    return TrainResult(result.top1, result.top5, raw.top1, cost.macs, cost.params, seconds, judged)


def _write_result(
    run: RunDirectory,
    spec: NetworkSpec,
    dataset: DataSet,
    model: Network,
    result: Accuracy,
    raw: Accuracy,
    seconds: float,
) -> None:
    cost = network_cost(spec)
    write_json_atomic(run.network_path, network_to_json(spec))
    write_json_atomic(
        run.preprocessing_path,
        {
            "image_size": dataset.image_size,
            "in_channels": dataset.in_channels,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
            "class_names": list(dataset.class_names),
        },
    )
    save_weights(run.weights_path, model.state_dict(), {"content": "network"})
    write_json_atomic(
        run.result_path,
        {
            "top1": result.top1,
            "top5": result.top5,
            "images": result.images,
            "raw_top1": raw.top1,
            "macs": cost.macs,
            "params": cost.params,
            "seconds": seconds,
        },
    )

"""The search loop: one for all strategies.

A strategy decides what is drawn and how the distribution learns; the loop owns the images, the supernet, its
optimizer, the record and the result.
"""

import math
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from fpnas.architecture import Architecture, architecture_to_json
from fpnas.cost.table import build_cost_table
from fpnas.errors import UserError
from fpnas.files import write_json_atomic, write_text_atomic
from fpnas.network_file import network_to_json
from fpnas.network_spec import NetworkSpec
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.checkpoint import save_weights
from fpnas.runtime.metrics import MetricsLog
from fpnas.runtime.progress import Progress
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import configure_threads, generator_for, pick_device
from fpnas.search_config import SearchConfig
from fpnas.space import SearchSpace
from fpnas.space_file import load_space, space_to_toml
from fpnas.strategies import STRATEGIES, DeriveTools, Judgement, StepTools, Strategy, StrategySettings
from fpnas.training.data import DataSet
from fpnas.training.evaluation import accuracy, recalibrate_batch_norm
from fpnas.training.load import load_data
from fpnas.training.optim import build_optimizer, set_learning_rate, warm_up_cosine
from fpnas.training.search_images import SearchImages
from fpnas.training.supernet_trainer import SuperNetTrainer

__all__ = ["CONVERGED_NATS", "SearchResult", "run_search", "search"]

CONVERGED_NATS = 8.0
"""A distribution over this entropy at the end has not settled: its mode is one of thousands like it."""

LEARNING_RATE_RISE = 0.05


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and what it took.

    Attributes:
        architecture: what the strategy found: as a rule the most probable architecture within the budget.
        network: the same, as a network for the data.
        macs: its multiply-adds; `budget_share` is their share of the target.
        log_probability: of the architecture, nats.
        entropy_nats: of the distribution at the end; `converged` when it is under `CONVERGED_NATS`, or does not learn.
        supernet_top1: accuracy with the supernet's weights on the architecture half, percent.
        samples: architectures drawn in all.
        forward_passes, backward_passes: architectures evaluated and trained, a batch each.
        seconds: wall time of the search.
    """

    architecture: Architecture
    network: NetworkSpec
    macs: int
    budget_share: float
    log_probability: float
    entropy_nats: float
    converged: bool
    supernet_top1: float
    samples: int
    forward_passes: int
    backward_passes: int
    seconds: float


def run_search(config: SearchConfig) -> SearchResult:
    """Search as the command line does: data and space by name, everything written to `config.output`.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data. Nothing was written then.
    """
    config.validate()
    configure_threads(config.threads)
    space = load_space(config.space)
    RunDirectory.check_free(config.output)
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
    return search(space, dataset, config, write=True)


def search(space: SearchSpace, dataset: DataSet, config: SearchConfig, *, write: bool = False) -> SearchResult:
    """Search a space on a data set.

    Args:
        space: what is searched.
        dataset: only its training images are used, in two class-balanced halves.
        config: `data`, `space` and the loading options in it are not looked at.
        write: whether `config.output` becomes the run directory; else nothing is written.

    Raises:
        UserError: a budget, an image size or a batch size that cannot be met.
        FloatingPointError: the loss is not finite.
    """
    target = config.target()
    costs = build_cost_table(
        space,
        input_size=dataset.image_size,
        in_channels=dataset.in_channels,
        num_classes=len(dataset.class_names),
    )
    if target < costs.minimum():
        raise UserError(
            f"--target-macs {config.target_macs}: the smallest network of space {space.name} at "
            f"{dataset.image_size} pixels has {costs.minimum()} MACs; that or more is accepted"
        )
    device = pick_device(config.device)
    images = SearchImages(
        dataset,
        seed=config.seed,
        batch_size=config.batch_size,
        architecture_batch_size=config.architecture_batch_size,
        device=device,
        workers=config.workers,
    )
    steps_per_epoch = images.steps_per_epoch
    config = config.scheduled(steps_per_epoch)
    assert config.epochs is not None and config.warmup_epochs is not None
    total_steps, warm_up_steps = (steps_per_epoch * epochs for epochs in (config.epochs, config.warmup_epochs))
    strategy = build_strategy(space, config, total_steps - warm_up_steps)
    torch.manual_seed(config.seed)
    supernet = SuperNet(space, dataset.in_channels, len(dataset.class_names))
    trainer = SuperNetTrainer(
        supernet.to(device).to(memory_format=torch.channels_last),
        build_optimizer(supernet, name="sgd", learning_rate=config.learning_rate, weight_decay=config.weight_decay),
        input_size=dataset.image_size,
        in_channels=dataset.in_channels,
        num_classes=len(dataset.class_names),
    )

    def supernet_top1(indices_GV: Tensor) -> float:
        """Accuracy of an architecture with the shared weights, batch norm recalibrated on the weight half."""
        network = supernet.extract(trainer.spec(indices_GV))
        recalibrate_batch_norm(network, images.calibration_batches())
        return accuracy(network, images.judged_batches()).top1

    run = RunDirectory.create(config.output, "search", asdict(config)) if write else None
    if run:
        write_text_atomic(run.space_path, space_to_toml(space))
        write_json_atomic(
            run.path / "split.json",
            {
                "weight_half": images.weight_half.tolist(),
                "architecture_half": images.architecture_half.tolist(),
            },
        )
    log = MetricsLog(run.path) if run else None
    started = time.perf_counter()
    samples = 0
    with Progress(total_steps, quiet=config.quiet) as progress:
        for step in range(total_steps):
            done = step / total_steps
            set_learning_rate(trainer.optimizer, config.learning_rate * warm_up_cosine(done, LEARNING_RATE_RISE))
            supernet.shortcut = max(0.0, 1 - step / warm_up_steps) if warm_up_steps else 0.0
            figures = strategy.step(
                StepTools(
                    progress=done,
                    warm_up=step < warm_up_steps,
                    generator=generator_for(config.seed, "step", step),
                    costs=costs,
                    target=target,
                    judge=lambda indices: Judgement(*trainer.judge(*images.architecture_batch(), indices)),
                    train_weights=lambda indices, weight: trainer.train_weights(
                        *images.weight_batch(), indices, weight
                    ),
                    mixture_cross_entropy=lambda gates: trainer.mixture_cross_entropy(
                        *images.architecture_batch(), gates
                    ),
                    train_mixture=lambda gates: trainer.train_mixture(*images.weight_batch(), gates),
                )
            )
            samples += int(figures["samples"])
            if not math.isfinite(figures["loss"]):
                raise FloatingPointError(
                    f"step {step}: the loss is {figures['loss']}; a lower --learning-rate may help"
                )
            if log:
                log.write({"step": step, **figures})
            if (step + 1) % steps_per_epoch:
                progress.update(step + 1)
                continue
            entropy = strategy.distribution.entropy().item()
            mode = strategy.distribution.mode()
            epoch_figures = {
                "epoch": (step + 1) // steps_per_epoch,
                "entropy_nats": entropy,
                "samples_so_far": samples,
                "expected_macs": costs.expected(strategy.distribution.group_log_probs()),
                "mode_macs": int(costs.cost(mode[None])[0]),
                "mode_top1": supernet_top1(mode),
            }
            progress.update(
                step + 1,
                nats=entropy,
                K=int(figures["samples"]),
                macs_of_target=epoch_figures["expected_macs"] / target,
                top1=epoch_figures["mode_top1"],
            )
            if log:
                seconds = time.perf_counter() - started
                log.write({"step": step, **epoch_figures, "seconds": seconds})
    found = strategy.derive(
        DeriveTools(generator=generator_for(config.seed, "derive"), costs=costs, target=target, accuracy=supernet_top1)
    )
    macs = int(costs.cost(found[None])[0])
    entropy = strategy.distribution.entropy().item()
    result = SearchResult(
        architecture=Architecture.of(found),
        network=trainer.spec(found),
        macs=macs,
        budget_share=macs / target,
        log_probability=strategy.distribution.log_prob(found[None]).item(),
        entropy_nats=entropy,
        converged=entropy < CONVERGED_NATS or not strategy.learns,
        supernet_top1=supernet_top1(found),
        samples=samples,
        forward_passes=trainer.forward_passes,
        backward_passes=trainer.backward_passes,
        seconds=time.perf_counter() - started,
    )
    if run and log:
        log.close()
        write_result(run, space, strategy, supernet, result)
    return result


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


def write_result(
    run: RunDirectory, space: SearchSpace, strategy: Strategy, supernet: SuperNet, result: SearchResult
) -> None:
    """Write what a search found, and what a later derivation needs."""
    weights = {f"supernet.{name}": tensor for name, tensor in supernet.state_dict().items()}
    distribution = strategy.distribution
    save_weights(
        run.search_state_path,
        weights | {"distribution.logits": distribution.logits},
        {"distribution": distribution.kind, "space": space.digest, "learned": str(strategy.learns)},
    )
    write_json_atomic(run.architecture_path, architecture_to_json(space, result.architecture))
    write_json_atomic(run.network_path, network_to_json(result.network))
    plain = asdict(result)
    del plain["architecture"], plain["network"]
    write_json_atomic(run.result_path, plain)

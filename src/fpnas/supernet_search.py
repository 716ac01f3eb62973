"""Searches by a supernet: a space, images and a budget in, the network found out."""

import os
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.checks import check_keywords, shown
from fpnas.cost import MACS, Cost
from fpnas.cost.budget import budget_table, find_cost, table_digest
from fpnas.cost.table import build_cost_table
from fpnas.errors import UserError
from fpnas.files import write_json_atomic, write_text_atomic
from fpnas.nn.supernet import SHARED_HEAD
from fpnas.quantities import parse_quantity
from fpnas.runtime.callbacks import Callback, check_callbacks
from fpnas.runtime.carry_out import RunFiles, carry_out, check_output, defaults_of
from fpnas.runtime.keeper import RunKeeper
from fpnas.runtime.processes import WHOLE, join_processes
from fpnas.runtime.run_directory import RunDirectory
from fpnas.runtime.setup import configure_threads, keep_kernels, pick_device
from fpnas.search_config import SearchConfig
from fpnas.search_loop import SearchLoop, SearchPlan
from fpnas.search_result import SearchResult, read_result, result_figures, settled_below, write_result
from fpnas.space import SearchSpace
from fpnas.space_file import load_space, parse_space, space_to_toml
from fpnas.strategies import STRATEGIES, Strategy, StrategySettings, check_searchable
from fpnas.supernet_evaluator import SupernetEvaluator
from fpnas.training.data import DataSet, check_data_set, data_identity
from fpnas.training.load import load_data
from fpnas.training.precision import Precision
from fpnas.training.search_images import SearchImages

__all__ = ["SearchResult", "build_strategy", "run_search", "search", "search_supernet"]

_NAMED = {"data", "space", "target_macs", "output"}
_LOADING = {"image_size", "max_images", "on_bad_image"}


def search(
    space: SearchSpace | str | os.PathLike[str],
    data: DataSet | str | os.PathLike[str],
    *,
    target_macs: str | int | float | None = None,
    cost: Cost | str | None = None,
    target: str | int | float | None = None,
    output: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> SearchResult:
    """Search a space for the best network for images within a budget.

    Args:
        space: a space, its name, or its TOML file.
        data: a data set, or what `--data` takes: `digits`, `fashion-mnist`, a folder, a name of timm.
        target_macs: the budget in multiply-adds, e.g. "2.5M".
        cost: what the budget counts in place of multiply-adds: `"params"`, `"weights"` or a `Cost` of one's own.
            `target` is the budget then, in the unit of the cost.
        target: with `cost`.
        output: the run directory to create; nothing is written when left out.
        callbacks: are shown the search after every step, every epoch and at the end, and may end it.
        settings: any other field of `fpnas.search_config.SearchConfig`, by its name. Messages about their values call
            them as the command line does: `--batch-size` for `batch_size`.

    Raises:
        UserError: an unknown name, a value out of range, a budget that no network meets, unusable data, or an output
            that is not free. Nothing was written then.
        FloatingPointError: the loss is not finite.
    """
    check_callbacks(callbacks)
    check_keywords(SearchConfig, settings, {field.name for field in fields(SearchConfig)} - _NAMED)
    if cost is None and (target_macs is None or target is not None):
        raise UserError("search: a budget is needed: target_macs, or cost and target")
    if cost is not None and (target is None or target_macs is not None):
        raise UserError("search: cost and target belong together, and to no target_macs")
    if cost is not None and find_cost(cost) is MACS:
        target_macs, cost, target = target, None, None
    if not isinstance(space, SearchSpace | str | os.PathLike):
        raise UserError(f"space {shown(space)}: a space, its name or its TOML file is accepted")
    if not isinstance(data, DataSet | str | os.PathLike):
        raise UserError(f"data {shown(data)}: a data set, its name or its folder is accepted")
    if isinstance(data, DataSet):
        check_data_set(data)
        if late := settings.keys() & _LOADING:
            raise UserError(f"{', '.join(sorted(late))}: the images of data {data.name} are loaded already")
    if output is None and settings.get("resume"):
        raise UserError("search: resume = True: an output is needed with it")
    config = SearchConfig(
        data=data.name if isinstance(data, DataSet) else os.fspath(data),
        space=space.name if isinstance(space, SearchSpace) else os.fspath(space),
        target_macs=None if target_macs is None else str(target_macs),
        output=Path(output or "."),
        **settings,
    )
    return run_search(
        config,
        space=space if isinstance(space, SearchSpace) else None,
        dataset=data if isinstance(data, DataSet) else None,
        cost=MACS if cost is None else find_cost(cost),
        target=None if target is None else parse_quantity(target, "target"),
        write=output is not None,
        callbacks=callbacks,
    )


def run_search(
    config: SearchConfig,
    *,
    space: SearchSpace | None = None,
    dataset: DataSet | None = None,
    cost: Cost = MACS,
    target: int | None = None,
    write: bool = True,
    callbacks: Sequence[Callback] = (),
) -> SearchResult:
    """Search as the command line does: data and space by name, everything written to `config.output`.

    Args:
        config: of the search.
        space, dataset: in place of those that the configuration names.
        cost, target: what the budget counts where that is not multiply-adds, and the budget.
        write: whether anything is written.
        callbacks: are shown the run after every step, every epoch and at the end, and may end it.

    Raises:
        UserError: whatever is wrong with the configuration, the files or the data. Nothing was written then.
    """
    config.validate()
    configure_threads(config.threads)
    space = space or load_space(config.space)
    _check_before_loading(space, config)
    if write:
        check_output(join_processes(pick_device(config.device)), config.output, "search", resume=config.resume)
    dataset = dataset or load_data(
        config.data,
        image_size=config.image_size,
        default_image_size=space.input_size,
        max_images=config.max_images,
        seed=config.seed,
        workers=config.workers,
        on_bad_image=config.on_bad_image,
        parts=("train",),
    )
    return search_supernet(space, dataset, config, cost=cost, target=target, write=write, callbacks=callbacks)


def search_supernet(
    space: SearchSpace,
    dataset: DataSet,
    config: SearchConfig,
    *,
    cost: Cost = MACS,
    target: int | None = None,
    write: bool = False,
    callbacks: Sequence[Callback] = (),
) -> SearchResult:
    """Search a space on a data set.

    Args:
        space: what is searched.
        dataset: only its training images are used, in two class-balanced halves.
        config: `data`, `space` and the loading options in it are not looked at.
        cost: what the budget counts; `target` is the budget then, and `config.target_macs` is not looked at.
        write: whether `config.output` becomes the run directory; else nothing is written.
        callbacks: are shown the run after every step, every epoch and at the end, and may end it.

    Raises:
        UserError: a budget, an image size or a batch size that cannot be met; with `write`, a run that cannot go on.
        FloatingPointError: the loss is not finite.
        SystemExit, KeyboardInterrupt: SIGTERM or SIGINT came; with `write`, a checkpoint was written, unless the step
            under way took more than 7 s after SIGTERM.
        ProcessLost: of several processes, another one has ended.
    """
    _check_before_loading(space, config)
    keep_kernels()
    device = pick_device(config.device)
    processes = join_processes(device)
    data: dict[str, Any] = {
        "input_size": dataset.image_size,
        "in_channels": dataset.in_channels,
        "num_classes": len(dataset.class_names),
    }
    own = cost is not MACS
    assert own == (target is not None), "a cost of its own and a target come together"
    budget = config.target() if target is None else target
    given = f"target {target}" if own else f"--target-macs {config.target_macs}"
    costs = budget_table(space, budget, given=given, cost=cost, **data)
    macs = build_cost_table(space, **data) if own else costs
    processes.check_divides(config.batch_size, "--batch-size")
    processes.check_divides(config.architecture_batch_size, "--architecture-batch-size")
    images = SearchImages(
        dataset,
        seed=config.seed,
        batch_size=config.batch_size,
        architecture_batch_size=config.architecture_batch_size,
        device=device,
        workers=config.workers,
        share=WHOLE if config.parallel == "samples" else processes.share,
    )
    config = config.scheduled(images.steps_per_epoch)
    assert config.epochs is not None and config.warmup_epochs is not None
    plan = SearchPlan(
        space=space,
        costs=costs,
        target=budget,
        total_steps=images.steps_per_epoch * config.epochs,
        warm_up_steps=images.steps_per_epoch * config.warmup_epochs,
        steps_per_epoch=images.steps_per_epoch,
        seed=config.seed,
        reported={"macs": macs} | ({"cost": costs} if own else {}),
        quiet=config.quiet,
    )
    strategy = build_strategy(space, config, plan.total_steps - plan.warm_up_steps)
    evaluator = SupernetEvaluator(space, dataset, images, config, device, processes)
    loop = SearchLoop(plan, strategy, evaluator, processes)
    trainer = evaluator.trainer

    def result_of(found: Tensor, keeper: RunKeeper) -> SearchResult:
        entropy = strategy.distribution.entropy().item()
        return SearchResult(
            architecture=Architecture.of(found),
            network=trainer.spec(found),
            macs=int(macs.cost(found[None])[0]),
            budget_share=int(costs.cost(found[None])[0]) / budget,
            log_probability=strategy.distribution.log_prob(found[None]).item(),
            entropy_nats=entropy,
            converged=entropy < settled_below(space) or not strategy.learns,
            supernet_top1=evaluator.score(found),
            steps=keeper.steps_done,
            samples=loop.samples,
            forward_passes=trainer.forward_passes,
            backward_passes=trainer.backward_passes,
            seconds=keeper.seconds,
            skipped_images=dataset.skipped,
        )

    def prepare(run: RunDirectory) -> None:
        halves = {"weight_half": images.weight_half, "architecture_half": images.architecture_half}
        write_text_atomic(run.space_path, space_to_toml(space))
        write_json_atomic(run.split_path, {name: half.tolist() for name, half in halves.items()})

    files = RunFiles(
        config.output,
        "search",
        asdict(config) | ({"cost": cost.name, "target": budget} if own else {}),
        defaults_of(SearchConfig),
        config.resume,
        prepare=prepare,
        write=lambda run, result: write_result(run, space, strategy, trainer.supernet, result),
        read=lambda run: read_result(run, space),
    )
    return carry_out(
        lambda keeper: loop.run(keeper, lambda found: result_of(found, keeper)),
        files if write else None,
        processes=processes,
        identity={
            "--space": space.digest,
            **data_identity(replace(dataset, test=None)),
            **({f"cost {cost.name}": table_digest(costs)} if own else {}),
        },
        total_steps=plan.total_steps,
        checkpoint_minutes=config.checkpoint_every,
        callbacks=callbacks,
        distribution=lambda: strategy.distribution,
        figures=result_figures,
    )


def _check_before_loading(space: SearchSpace, config: SearchConfig) -> None:
    """Raises UserError for what can be known to fail before images are loaded."""
    check_searchable(space, config.strategy, f"--strategy {config.strategy}")
    # Of a space that was made in Python: what the run keeps of it has to be the same space.
    if parse_space(space_to_toml(space), f"space {space.name}").digest != space.digest:
        raise UserError(
            f"space {space.name}: its space file would stand for another space; with share = 'block' every "
            "group is of one block"
        )
    if space.head.kind != SHARED_HEAD:
        raise UserError(f"space {space.name}: head kind {space.head.kind}: {SHARED_HEAD} is accepted in a search")
    Precision(config.precision, pick_device(config.device))  # refuses what the device cannot do


def build_strategy(space: SearchSpace, config: SearchConfig, learning_steps: int) -> Strategy:
    """The strategy a configuration names, to learn for that many steps."""
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

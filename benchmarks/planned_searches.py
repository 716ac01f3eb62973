"""The searches of every experiment: what each is called, its seeds, and the settings that are not the default."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fpnas.sampling import AdaptiveSamples, FixedSamples
from fpnas.space import SearchSpace
from fpnas.strategies import STRATEGIES, Strategy, StrategySettings, fp_nas, fp_nas_paper, parsec
from fpnas.training.supernet_trainer import SuperNetTrainer

SEEDS = (0, 1, 2)
DEFAULT_SEEDS = range(5)

FINE = "fbnetv2-f-32-fine"

# As many steps as a search of the usual length has, at a quarter of its batch: so that what the strategies that train
# every sample, or compute every choice, cost can be paid for whole runs. Samples are judged on half of a batch, as
# they are by default.
SMALL_STEPS: dict[str, Any] = {
    "batch_size": 32,
    "architecture_batch_size": 16,
    "max_images": 11_232,
    "epochs": 20,
}


@dataclass(frozen=True)
class Plan:
    """One search: what it is called, its seed, and the settings that are not the default."""

    experiment: str
    variant: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)


def _with_samples(
    build: Callable[[SearchSpace, StrategySettings], Any], number_of_samples: Callable[[float], int]
) -> Callable[[SearchSpace, StrategySettings], Strategy]:
    """A strategy of the paper's form with another number of samples."""

    def built(space: SearchSpace, settings: StrategySettings) -> Strategy:
        strategy = build(space, settings)
        strategy.number_of_samples = number_of_samples
        return strategy

    return built


FIXED = {f"parsec-{samples}": _with_samples(parsec.build, FixedSamples(samples)) for samples in (4, 8)}
ADAPTIVE = {
    f"fp-nas-paper-1/{part}": _with_samples(fp_nas_paper.build, AdaptiveSamples(1 / part)) for part in (16, 8, 2)
}


def _parsec_as_published(space: SearchSpace, settings: StrategySettings) -> Strategy:
    """PARSEC without what this project gives it: what it draws twice in a step is computed twice.

    For the rest of the process: every search has one of its own.
    """

    def every_one(indices_nGV: Tensor) -> tuple[Tensor, Tensor]:
        return indices_nGV, torch.arange(len(indices_nGV))

    SuperNetTrainer._different = staticmethod(every_one)  # type: ignore[method-assign]
    return parsec.build(space, settings)


def _blocks_from_the_start(space: SearchSpace, settings: StrategySettings) -> Strategy:
    """The default strategy as it was until 2026-11-28: no row chooses for its blocks at first."""
    return fp_nas.build(replace(space, share="group"), settings)


OTHERS = {"fp-nas-blocks": _blocks_from_the_start, "parsec-as-published": _parsec_as_published}


def _every(experiment: str, variants: dict[str, dict[str, Any]], seeds: Iterable[int] = SEEDS) -> list[Plan]:
    """Seeds in the outer loop: after each round all variants have been searched equally often."""
    return [Plan(experiment, variant, seed, settings) for seed in seeds for variant, settings in variants.items()]


def plans() -> dict[str, list[Plan]]:
    """The searches of every experiment."""
    # How much is judged: the defaults as they were, and on the way to those of today.
    judged = {
        f"{name} fifths, 1/{part}": SMALL_STEPS
        | {"warmup_epochs": epochs, "samples_per_nat": 1 / part, "joint_from": 0.5}
        for name, epochs, part in (("two", 8, 4), ("three", 12, 4), ("three", 12, 8))
    }
    # At the default's size, as it was until 2026-11-25, and the same on the code of 2026-11-27.
    judged_more = {"warmup_epochs": 6, "samples_per_nat": 0.25, "joint_from": 0.5}
    # TuNAS judges its one sample on four times the training batch; it has as many steps as take the default's seconds.
    tunas = SMALL_STEPS | {"architecture_batch_size": 4 * SMALL_STEPS["batch_size"], "epochs": 11}
    settings = dict.fromkeys(STRATEGIES, SMALL_STEPS) | {"tunas": tunas}
    # As the paper's own strategies warm up by default.
    paper = SMALL_STEPS | {"warmup_epochs": 3}
    # The dear ones last.
    order = ("fp-nas", "tunas", "random", "evolution", "fp-nas-paper", "fbnetv2", "parsec")
    return {
        "default": _every(
            "default",
            {
                "fp-nas": {},
                "fine": {"space": FINE, "strategy": "fp-nas-blocks"},
                "fine, rows first": {"space": FINE},
            }
            | dict.fromkeys(("two fifths, 1/4", "two fifths, 1/4, anew"), judged_more),
            DEFAULT_SEEDS,
        ),
        "judgements": _every("judgements", judged, DEFAULT_SEEDS),
        "strategies": [
            plan
            for plan in _every(
                "strategies", {name: settings[name] | {"strategy": name} for name in order}, DEFAULT_SEEDS
            )
            if plan.seed in SEEDS or plan.variant == "fp-nas"  # the table of networks asks for five of the default
        ],
        # Fresh seeds of the two that three to five seeds did not tell apart; `tunas` with the seconds of `fp-nas` on a
        # processor with AVX-512, too, where 11 epochs take less.
        "fresh seeds": [
            plan
            for plan in _every(
                "fresh seeds",
                {name: settings[name] | {"strategy": name} for name in ("fp-nas", "tunas")}
                | {"tunas, 13 epochs": tunas | {"strategy": "tunas", "epochs": 13}},
                range(5, 20),
            )
            if plan.seed < {"fp-nas": 20, "tunas": 10, "tunas, 13 epochs": 17}[plan.variant]
        ],
        # The paper's form in seven tenths of the steps, a seventh of them warm-up, as the paper has it.
        "shorter": [
            plan
            for plan in _every(
                "shorter",
                {
                    name: paper | {"strategy": name, "epochs": 14, "warmup_epochs": 2}
                    for name in ("fp-nas-paper", "parsec", "parsec-as-published")
                }
                | {
                    f"{name}, 17 epochs": paper | {"strategy": name, "epochs": 17, "warmup_epochs": 2}
                    for name in ("fp-nas-paper", "parsec")
                },
            )
            if plan.seed == 0 or plan.settings["epochs"] == 14  # one search showed that a length between is no better
        ],
        "samples": _every("samples", {name: paper | {"strategy": name} for name in (*FIXED, *ADAPTIVE)}, (0,)),
        "fine": _every("fine", {"fine": SMALL_STEPS | {"space": FINE, "strategy": "fp-nas-blocks"}})
        + _every("fine", {"rows first": SMALL_STEPS | {"space": FINE}}, range(10)),
        "distribution": [
            plan
            for plan in _every(
                "distribution",
                {
                    name: SMALL_STEPS | {"joint_from": share}
                    for name, share in {
                        "joint": 0.0,
                        "switch at 0.7": 0.7,
                        "switch at 0.9": 0.9,
                        "factorized": 1.0,
                    }.items()
                },
                range(4),
            )
            if plan.seed in SEEDS or plan.variant == "switch at 0.9"  # two fresh seeds of what two made look best
        ],
        "spaces": _every(
            "spaces",
            {
                "widths alone": SMALL_STEPS | {"space": "spaces/fbnetv2-f-32-widths.toml"},
                "split attention": SMALL_STEPS | {"space": "fbnetv2-fpp-32"},
            },
            (0,),
        ),
        # What nats cost: four spaces of the same rows, searched one after another on one machine.
        "nats": _every(
            "nats",
            {
                Path(space).stem: SMALL_STEPS | {"space": space}
                for space in (
                    "spaces/fbnetv2-f-32-widths.toml",
                    "fbnetv2-f-32",
                    "fbnetv2-fpp-32",
                    FINE,
                )
            },
            (0,),
        ),
        "budgets": _every(
            "budgets",
            {name: settings[name] | {"strategy": name, "target_macs": "5M"} for name in ("fp-nas", "fbnetv2")},
            (0,),
        ),
    }


def space_path(name: str) -> str:
    """A space's name, or the path of a file in a folder beside this one."""
    return str(Path(__file__).parent / name) if name.endswith(".toml") else name

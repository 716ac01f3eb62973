"""Configuration of a search: every field is an option of `fpnas search` and a line of its YAML file."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from fpnas.checks import check_choices, check_ranges
from fpnas.quantities import parse_quantity
from fpnas.run_options import RUN_CHOICES, RUN_RANGES

__all__ = ["SearchConfig"]

USUAL_STEPS = 3500
WARM_UP_SHARES = {"fp-nas": 0.6, "fp-nas-paper": 1 / 7, "parsec": 1 / 7, "tunas": 0.25}
"""Of the epochs, in which the weights alone learn; 45 of 315 in the paper, a quarter in TuNAS."""
USUAL_WARM_UP_SHARE = 0.4
FEWEST_EPOCHS = 5
MOST_EPOCHS = 100


@dataclass
class SearchConfig:
    """What a search is given. Shares are of all steps of the search, so that one default serves any length.

    Attributes:
        data: `digits`, `fashion-mnist`, a folder with train/ and val/ class folders, or a timm data set name.
        space: a built-in search space or a TOML file.
        target_macs: the budget, multiply-adds per image, e.g. 2.5M.
        output: the run directory to create.
        strategy: `fp-nas`, `fp-nas-paper`, `parsec`, `fbnetv2`, `tunas`, `random` or `evolution`.
        seed: of everything random.
        epochs: passes over the half of the training images that the weights learn from; when left out, those that make
            about 3,500 steps, but from 5 to 100.
        warmup_epochs: epochs at the start in which only the weights learn; when left out, of all epochs three fifths
            for `fp-nas`, a seventh for `fp-nas-paper` and `parsec`, a quarter for `tunas`, two fifths for others.
        batch_size: images of a weight step.
        architecture_batch_size: images every sampled architecture is judged by in an architecture step.
        learning_rate: peak rate of the weights (SGD with Nesterov momentum 0.9, cosine).
        weight_decay: of convolution and linear weights.
        architecture_learning_rate: Adam's rate for the distribution; fitted to the number of steps when left out.
        samples_per_nat: lambda: architectures drawn per nat of entropy, at least 2. This and what follows down to
            `joint_from` is for `fp-nas`; others have their own form, but for `random` and `evolution` in the budget.
        likelihood_scale: factor on the mean cross-entropy in the log-likelihood by which samples are weighed.
        budget: `condition` draws only architectures from `budget_floor` to 1 times the target; `hinge` draws any and
            subtracts the cost over the target from their weights, as the paper's Eq. 7 does (`random` and `evolution`,
            which have no weights, draw any up to the target).
        budget_floor: share of the target that an architecture costs at least to be drawn; 0 for no floor.
        weight_step: `resample` trains one architecture drawn by its weight, `all` trains every sampled one.
        joint_from: share of the search after which the factorized distribution becomes the joint one.
        max_images: size of a class-balanced subset of the training images; all when left out.
        image_size: side of the images, pixels; the data's own, or the space's for folders, when left out.
        workers: threads that load images which are not in memory.
        threads: of the processor; all that this process may use when left out.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, or `bf16` or `fp16` for forward passes under autocast; fp16 needs a CUDA device.
        parallel: what processes that `torchrun` starts split: `data`, the images of a batch (and architectures, where
            enough are judged), or `samples`, the architectures in every step that has several.
        on_bad_image: `error` stops at an unreadable image, `skip` leaves it out.
        resume: go on with the run that is in `output`, if there is one.
        checkpoint_every: minutes between checkpoints within an epoch; each epoch ends with one anyway.
        quiet: no progress on standard error, and no table of the result.
    """

    data: str
    space: str
    target_macs: str | None
    output: Path
    strategy: str = "fp-nas"
    seed: int = 0
    epochs: int | None = None
    warmup_epochs: int | None = None
    batch_size: int = 128
    architecture_batch_size: int = 64
    learning_rate: float = 0.3
    weight_decay: float = 2e-5
    architecture_learning_rate: float | None = None
    samples_per_nat: float = 0.125
    likelihood_scale: float = 32.0
    budget: str = "condition"
    budget_floor: float = 0.95
    weight_step: str = "resample"
    joint_from: float = 0.8
    max_images: int | None = None
    image_size: int | None = None
    workers: int = 2
    threads: int | None = None
    device: str = "auto"
    precision: str = "fp32"
    parallel: str = "data"
    on_bad_image: str = "error"
    resume: bool = False
    checkpoint_every: float = 10.0
    quiet: bool = False

    def target(self) -> int:
        """The budget in multiply-adds. Raises UserError when it is not a quantity."""
        return parse_quantity(str(self.target_macs), "--target-macs")

    def scheduled(self, steps_per_epoch: int) -> "SearchConfig":
        """The same with `epochs` and `warmup_epochs` filled in. Raises UserError if they don't fit each other."""
        wanted = math.ceil(USUAL_STEPS / steps_per_epoch)
        epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, wanted)) if self.epochs is None else self.epochs
        share = WARM_UP_SHARES.get(self.strategy, USUAL_WARM_UP_SHARE)
        usual = min(epochs - 1, round(share * epochs))
        warmup_epochs = usual if self.warmup_epochs is None else self.warmup_epochs
        scheduled = replace(self, epochs=epochs, warmup_epochs=warmup_epochs)
        check_ranges(scheduled, warmup_epochs=(0, epochs - 1))
        return scheduled

    def validate(self) -> None:
        """Raises UserError for a value that no search can work with: option, value, what is accepted."""
        if self.target_macs is not None:
            self.target()
        check_ranges(
            self,
            epochs=(1, 10**6),
            warmup_epochs=(0, 10**6),
            batch_size=(2, 10**6),
            architecture_batch_size=(2, 10**6),
            learning_rate=(1e-9, 1e3),
            weight_decay=(0, 1),
            architecture_learning_rate=(1e-9, 1e3),
            samples_per_nat=(1e-3, 100),
            likelihood_scale=(1e-6, 1e9),
            budget_floor=(0, 1),
            joint_from=(0, 1),
            **RUN_RANGES,
        )
        check_choices(
            self,
            budget=("condition", "hinge"),
            weight_step=("resample", "all"),
            parallel=("data", "samples"),
            **RUN_CHOICES,
        )

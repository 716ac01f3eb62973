"""Configuration of a selection: that of a short training on one half of the training images."""

from dataclasses import dataclass

from fpnas.checks import check_ranges
from fpnas.train_config import TrainConfig

__all__ = ["SelectConfig"]


@dataclass
class SelectConfig(TrainConfig):
    """What the trainings of a selection are given: as `TrainConfig`, with defaults of its own.

    Attributes:
        output: the directory to create; every candidate has its run in it.
        epochs: passes over the images that are not held out.
        hold_out: share of the training images that candidates are judged by; test images are not looked at.
        resume: go on with the selection that is in `output`, if there is one.
    """

    epochs: int = 4
    warmup_epochs: float = 0.6
    hold_out: float = 0.5

    def validate(self) -> None:
        """Raises UserError as `TrainConfig.validate` does, and where nothing is held out to judge by."""
        super().validate()
        check_ranges(self, hold_out=(0.01, 0.99))

"""Judges architectures by a supernet on one half of the training images, and trains its weights on the other."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fpnas.gates import Gates
from fpnas.nn.supernet import SuperNet
from fpnas.runtime.processes import Processes
from fpnas.search_config import SearchConfig
from fpnas.space import SearchSpace
from fpnas.strategies import Judgement
from fpnas.training.data import DataSet
from fpnas.training.evaluation import accuracy, recalibrate_batch_norm
from fpnas.training.optim import build_optimizer, set_learning_rate, warm_up_cosine
from fpnas.training.precision import Precision
from fpnas.training.search_images import SearchImages
from fpnas.training.supernet_trainer import SuperNetTrainer

__all__ = ["LEARNING_RATE_RISE", "SupernetEvaluator"]

LEARNING_RATE_RISE = 0.05


class SupernetEvaluator:
    """A supernet with fresh weights, and the images of a search.

    Args:
        space: what is searched.
        dataset: of the images.
        images: both halves of them, on the device.
        config: of the search.
        device: the supernet's.
        processes: that share the search.

    Attributes:
        trainer: of the supernet.
    """

    score_name = "top1"

    def __init__(
        self,
        space: SearchSpace,
        dataset: DataSet,
        images: SearchImages,
        config: SearchConfig,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self._images = images
        self._processes = processes
        self._learning_rate = config.learning_rate
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
            by_samples=config.parallel == "samples",
        )

    def begin_step(self, progress: float, warm_up_left: float) -> None:
        """Set the weights' rate, and how much of the shortcuts is left."""
        set_learning_rate(self.trainer.optimizer, self._learning_rate * warm_up_cosine(progress, LEARNING_RATE_RISE))
        self.trainer.supernet.shortcut = warm_up_left

    def judge(self, indices_KGV: Tensor) -> Judgement:
        """On the next batch of the architecture half."""
        return Judgement(*self.trainer.judge(*self._images.architecture_batch(), indices_KGV))

    def train_weights(self, indices_nGV: Tensor, weight_n: Tensor) -> Tensor:
        """On the next batch of the weight half."""
        return self.trainer.train_weights(*self._images.weight_batch(), indices_nGV, weight_n)

    def mixture_cross_entropy(self, gates: Gates) -> Tensor:
        """On the next batch of the architecture half."""
        return self.trainer.mixture_cross_entropy(*self._images.architecture_batch(), gates)

    def train_mixture(self, gates: Gates) -> Tensor:
        """On the next batch of the weight half."""
        return self.trainer.train_mixture(*self._images.weight_batch(), gates)

    def score(self, indices_GV: Tensor, *, roughly: bool = False) -> float:
        """Accuracy with the shared weights, percent: batch norm recalibrated on the weight half, on the other half.

        Args:
            indices_GV: the architecture's choices, shape (G, V).
            roughly: on fewer images.
        """
        network = self.trainer.supernet.extract(self.trainer.spec(indices_GV))
        recalibrate_batch_norm(network, self._images.calibration_batches(few=roughly))
        batches = self._images.judged_batches(self._processes.share, few=roughly)
        return accuracy(network, batches, self._processes).top1

    def check_equal(self) -> None:
        """Raises RuntimeError where several processes do not hold the same weights."""
        self._processes.check_equal(self.trainer.supernet.parameters(), "the weights")

    def state_dict(self) -> dict[str, Any]:
        """Weights, and how far the images are."""
        return {"trainer": self.trainer.state_dict(), "images": self._images.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.trainer.load_state_dict(state["trainer"])
        self._images.load_state_dict(state["images"])

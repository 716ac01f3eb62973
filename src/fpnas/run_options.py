"""What options accept that more than one place checks; free of PyTorch, which commands import late."""

from typing import Any

from fpnas.space import INPUT_RANGES

__all__ = ["EXPORT_FORMATS", "OPTIMIZERS", "RUN_CHOICES", "RUN_RANGES", "SEED_RANGE"]

SEED_RANGE = (0, 2**31 - 1)

RUN_RANGES: dict[str, tuple[float, float]] = {
    "seed": SEED_RANGE,
    "max_images": (1, 10**12),
    "image_size": INPUT_RANGES["input_size"],
    "workers": (0, 256),
    "threads": (1, 1024),
    "checkpoint_every": (0, 1e6),
}

RUN_CHOICES = {
    "device": ("auto", "cpu", "cuda"),
    "precision": ("fp32", "bf16", "fp16"),
    "on_bad_image": ("error", "skip"),
}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"opt": "sgd", "momentum": 0.9, "nesterov": True},
    # TensorFlow's form of RMSProp, as the paper's recipe and EfficientNet's use it.
    "rmsprop": {"opt": "rmsproptf", "momentum": 0.9, "eps": 1e-3},
    "adamw": {"opt": "adamw"},
}
"""By name, what timm's `create_optimizer_v2` is given."""

EXPORT_FORMATS = ("onnx", "onnx-int8", "torch", "folder")

"""Configuration of a training: every field is an option of `fpnas train` and a line of its YAML file."""

from dataclasses import dataclass
from pathlib import Path

from fpnas.checks import check_choices, check_ranges
from fpnas.errors import UserError
from fpnas.run_options import OPTIMIZERS, RUN_CHOICES, RUN_RANGES

__all__ = ["TrainConfig"]


@dataclass
class TrainConfig:
    """What a training is given.

    Attributes:
        data: `digits`, `fashion-mnist`, a folder with train/ and val/ class folders, or a timm data set name.
        output: the run directory to create.
        seed: of everything random.
        epochs: passes over the training images.
        warmup_epochs: epochs at the start over which the learning rate rises.
        batch_size: images of a step.
        optimizer: `sgd` (Nesterov momentum 0.9), `rmsprop` (TensorFlow's form, momentum 0.9) or `adamw`.
        learning_rate: peak rate.
        schedule: what leads from the peak: `cosine` to 0, or `exponential`, times `decay_rate` after every epoch.
        decay_rate: factor per epoch of the exponential schedule.
        weight_decay: of convolution and linear weights.
        label_smoothing: share of the label that is spread over all classes.
        ema_decay: of the moving average of the weights, whose accuracy is the result; 0 for none.
        augment: flips and shifts where the data allow them; crops take the place of shifts.
        crop_scale: smallest share of an image's area that a random crop shows; 1 for no crops. Images in memory are
            central squares already; streamed ones are cropped as they are in their files.
        auto_augment: timm's policy: `original` (AutoAugment), `rand-m9-mstd0.5` (RandAugment), `augmix-m5-w4-d2`; empty
            for none.
        random_erasing: probability that a rectangle of a training image is overwritten.
        mixup: alpha of the Beta distribution by which two images are blended; 0 for none.
        cutmix: alpha of the one by which a rectangle of another image is pasted; 0 for none.
        plain_epochs: epochs at the end that see the training images as test images are seen, varied by none of these: a
            network with too little capacity for all variants ends on what it is judged by.
        repeats: times that an image is in its batch, each time varied anew (repeated augmentation).
        dropout: share of the classifier's inputs that are left out.
        drop_path: probability that the last block is left out (stochastic depth), less for earlier ones.
        teacher: a larger trained network to learn from: a model folder, or a model of timm that has weights.
        distillation_weight: share of the loss that is the teacher's; the labels have the rest.
        distillation_temperature: by which the teacher's and the network's logits are divided.
        from_search: start from the weights that this search shared, cut to the network.
        license: for the model card.
        max_images: size of a class-balanced subset of the training images; all when left out.
        hold_out: share of the training images that are held out of the training and take the place of the test images,
            which are not looked at then: to compare recipes and networks by. None for 0; the seed decides which. What a
            teacher, a model or a search that the training starts from has seen of them is not known here.
        image_size: side of the images, pixels; when left out that of `digits` and `fashion-mnist` themselves, and for
            other data the network's.
        workers: threads that load images which are not in memory, and that crop and vary images one by one.
        threads: of the processor; all that this process may use when left out.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, or `bf16` or `fp16` for forward passes under autocast; evaluation is in fp32.
        parallel: what processes that `torchrun` starts split: the images of a batch, by `data` and, as there is one
            network alone, by `samples`, too.
        sync_batch_norm: whether batch norm goes by the images of all processes. Else each goes by its own, which spares
            small networks most of the exchange; it is another training then, that depends on the number of processes.
        on_bad_image: `error` stops at an unreadable image, `skip` leaves it out.
        resume: go on with the run that is in `output`, if there is one.
        evaluate_every: epochs from one look at the test images, or those held out, to the next. After the last epoch
            there always is one.
        checkpoint_every: minutes between checkpoints within an epoch; each epoch ends with one anyway.
        quiet: no progress on standard error, and no table of the result.
    """

    data: str
    output: Path
    seed: int = 0
    epochs: int = 20
    warmup_epochs: float = 1.0
    batch_size: int = 64
    optimizer: str = "sgd"
    learning_rate: float = 0.2
    schedule: str = "cosine"
    decay_rate: float = 0.9875
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    ema_decay: float = 0.995
    augment: bool = True
    crop_scale: float = 1.0
    auto_augment: str = ""
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    plain_epochs: int = 0
    repeats: int = 1
    dropout: float = 0.0
    drop_path: float = 0.0
    teacher: str | None = None
    distillation_weight: float = 0.5
    distillation_temperature: float = 2.0
    from_search: Path | None = None
    license: str = "unknown"
    max_images: int | None = None
    hold_out: float = 0.0
    image_size: int | None = None
    workers: int = 2
    threads: int | None = None
    device: str = "auto"
    precision: str = "fp32"
    parallel: str = "data"
    sync_batch_norm: bool = True
    on_bad_image: str = "error"
    resume: bool = False
    evaluate_every: int = 1
    checkpoint_every: float = 10.0
    quiet: bool = False

    def validate(self) -> None:
        """Raises UserError for a value that no training can work with: option, value, what is accepted."""
        check_ranges(
            self,
            epochs=(1, 10**6),
            warmup_epochs=(0, self.epochs),
            batch_size=(2, 10**6),
            learning_rate=(1e-9, 1e3),
            weight_decay=(0, 1),
            label_smoothing=(0, 0.999),
            ema_decay=(0, 0.999999),
            decay_rate=(0.1, 1),
            crop_scale=(0.01, 1),
            random_erasing=(0, 1),
            mixup=(0, 100),
            cutmix=(0, 100),
            plain_epochs=(0, self.epochs),
            repeats=(1, 16),
            dropout=(0, 0.99),
            drop_path=(0, 0.99),
            hold_out=(0, 0.99),
            distillation_weight=(0, 1),
            distillation_temperature=(0.01, 1000),
            evaluate_every=(1, 10**6),
            **RUN_RANGES,
        )
        check_choices(
            self,
            optimizer=tuple(OPTIMIZERS),
            schedule=("cosine", "exponential"),
            parallel=("data", "samples"),
            **RUN_CHOICES,
        )
        if (self.mixup or self.cutmix) and self.batch_size % 2:
            raise UserError(
                f"--batch-size {self.batch_size}: --mixup and --cutmix work on pairs; an even one is accepted"
            )
        if self.batch_size % self.repeats:
            raise UserError(f"--batch-size {self.batch_size}: is not a multiple of --repeats {self.repeats}")

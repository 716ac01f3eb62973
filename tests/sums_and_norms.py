"""Run by `torchrun`: what processes compute together against one process that has all images, in float64."""

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpnas.builtin_files import find_network
from fpnas.errors import UserError
from fpnas.network_file import load_network
from fpnas.nn.network import build_network
from fpnas.runtime.processes import Processes, Share, join_processes
from fpnas.train_config import TrainConfig
from fpnas.train_loop import TrainLoop
from fpnas.training.data import DataSet, ImagesInMemory
from fpnas.training.mistakes import find_mistakes
from fpnas.training.optim import build_optimizer


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_norm(processes: Processes) -> None:
    """Outputs, running statistics and all gradients are those of the whole batch, far from zero mean too."""
    for shape in ((6, 5, 4, 3), (2, 3, 1, 1)):
        images = (3 + drawn(*shape)).requires_grad_()
        weight, bias = (drawn(shape[1], seed=seed).requires_grad_() for seed in (1, 2))
        factors = drawn(*shape, seed=3)
        running = [torch.zeros(shape[1]).double(), torch.ones(shape[1]).double()]
        expected = F.batch_norm(images, *running, weight, bias, training=True)
        gradients = torch.autograd.grad((expected * factors).sum(), (images, weight, bias))

        part = processes.share.of(len(images))
        own_images = images.detach()[part].clone().requires_grad_()
        own_running = [torch.zeros(shape[1]).double(), torch.ones(shape[1]).double()]
        with processes.synchronised_norms():
            found = F.batch_norm(own_images, *own_running, weight, bias, training=True)
        own_gradients = torch.autograd.grad((found * factors[part]).sum(), (own_images, weight, bias))
        close: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
        torch.testing.assert_close(found, expected[part], **close)
        torch.testing.assert_close(own_running, running, **close)
        torch.testing.assert_close(own_gradients[0], gradients[0][part], **close)
        for own, whole in zip(own_gradients[1:], gradients[1:], strict=True):
            torch.testing.assert_close(processes.sum_(own.clone()), whole, **close)


def check_half_precision(processes: Processes) -> None:
    """Far from zero mean, images in 16 bits are normalised as exactly as by one process."""
    exact = (10 + drawn(16, 5, 4, 3)).bfloat16().float()
    factors = drawn(16, 5, 4, 3, seed=3).bfloat16()
    weight, bias = torch.ones(5), torch.zeros(5)
    images = exact.clone().requires_grad_()
    expected = F.batch_norm(images, None, None, weight, bias, training=True)
    (gradient,) = torch.autograd.grad((expected * factors).sum(), images)
    part = processes.share.of(len(exact))
    own = exact.bfloat16()[part].clone().requires_grad_()
    with processes.synchronised_norms():
        found = F.batch_norm(own, None, None, weight, bias, training=True)
    (own_gradient,) = torch.autograd.grad((found * factors[part]).sum(), own)
    assert found.dtype == own_gradient.dtype == torch.bfloat16
    for ours, whole in ((found, expected), (own_gradient, gradient)):
        assert float((ours.float() - whole[part]).norm() / whole[part].norm()) < 0.004


def check_network(processes: Processes) -> None:
    """A published network of 31 blocks: the loss and the gradients of the whole batch."""
    torch.manual_seed(0)
    model = build_network(load_network(find_network("fbnetv2-f1")).at_input_size(32)).double()
    images, labels = drawn(8, 3, 32, 32), torch.arange(8)
    loss = F.cross_entropy(model(images), labels)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    part = processes.share.of(len(images))
    with processes.synchronised_norms():
        own = F.cross_entropy(model(images[part]), labels[part]) / processes.count
    own.backward()
    processes.sum_gradients(model.parameters())
    torch.testing.assert_close(processes.sum_(own.detach().clone()), loss.detach(), rtol=1e-9, atol=0)
    for weight, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-6, atol=1e-9)


def check_gradients(processes: Processes) -> None:
    """Sums hold for what every process used, for what some used, and what none used keeps no gradient."""
    both, first_only, none = (nn.Parameter(torch.ones(size)) for size in (3, 2, 4))
    both.grad = torch.full((3,), 1.0 + processes.rank)
    if processes.is_first:
        first_only.grad = torch.full((2,), 5.0)
    processes.sum_gradients([none, both, first_only])
    assert none.grad is None
    assert both.grad.tolist() == [3.0] * 3
    assert first_only.grad is not None and first_only.grad.tolist() == [5.0] * 2


def check_shared(processes: Processes) -> None:
    """The gradient of a shared tensor is the one of the total over all processes."""
    values = drawn(4).requires_grad_()
    total = processes.total((processes.shared(values) * (1 + processes.rank)).square().sum())
    (gradient,) = torch.autograd.grad(total, values)
    torch.testing.assert_close(total, values.square().sum() * (1 + 4))
    torch.testing.assert_close(gradient, 2 * values.detach() * (1 + 4))


def check_agreement(processes: Processes) -> None:
    """A flag that one raises all see; what one refuses all leave by; what differs is noticed."""
    assert processes.any(processes.rank == 1, False) == (True, False)
    assert processes.from_first(lambda: processes.rank) == 0
    for whole in (drawn(4, 3, 2, 5).contiguous(memory_format=torch.channels_last), torch.arange(6)):
        gathered = processes.gather(whole[processes.share.of(len(whole))])
        assert torch.equal(gathered, whole) and gathered.stride() == whole.stride()

    def refuse() -> None:
        raise UserError("no")

    try:
        processes.from_first(refuse)
    except UserError as error:
        assert processes.is_first and str(error) == "no"
    except SystemExit as stop:
        assert not processes.is_first and stop.code == 2
    else:
        raise AssertionError("nothing was raised")
    processes.check_same_work({"--space": "a"})
    try:
        processes.check_same_work({"--space": "a", "--data": str(processes.rank)})
    except UserError as error:
        assert "--data: not the same in processes" in str(error)
    else:
        raise AssertionError("other data were not noticed")
    processes.check_equal([torch.ones(3)], "the logits")
    try:
        processes.check_equal([torch.ones(3) * processes.rank], "the logits")
    except RuntimeError as error:
        assert "the logits of process 1 are not those of the first" in str(error)
    else:
        raise AssertionError("a difference was not noticed")


def check_own_norms(processes: Processes) -> None:
    """Without `sync_batch_norm` a step is that of mean gradients and mean statistics of the shares, each by itself."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (8, 1, 6, 6), generator=generator).byte()
    images = ImagesInMemory(pixels, torch.arange(8) % 3)
    data = DataSet("noise", ("a", "b", "c"), 1, 6, (0.5,), (0.3,), False, 0, images, images)
    config = TrainConfig(
        "noise",
        Path("none"),
        epochs=1,
        warmup_epochs=0,
        batch_size=8,
        augment=False,
        ema_decay=0,
        sync_batch_norm=False,
    )
    torch.manual_seed(0)
    start = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))
    model, expected = copy.deepcopy(start), copy.deepcopy(start)
    TrainLoop(model, data, config, processes).step(0)

    alone = TrainLoop(copy.deepcopy(start), data, config, Processes())
    inputs, targets = alone._augment(*alone._stream.next(), 0)
    halves = [copy.deepcopy(start) for _ in range(2)]
    for index, half in enumerate(halves):
        part = Share(index, 2).of(8)
        F.cross_entropy(half(inputs[part]), targets[part]).backward()
    for weight, *others in zip(expected.parameters(), *(half.parameters() for half in halves), strict=True):
        weight.grad = torch.stack([other.grad for other in others if other.grad is not None]).mean(0)
    build_optimizer(
        expected, name=config.optimizer, learning_rate=config.learning_rate, weight_decay=config.weight_decay
    ).step()
    for name, found in model.state_dict().items():
        values = [half.state_dict()[name] for half in halves]
        wanted = torch.stack(values).float().mean(0) if "running" in name else expected.state_dict()[name]
        if "tracked" not in name:
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, msg=name)
    processes.check_equal(model.state_dict().values(), "the weights")


class Noted(ImagesInMemory):
    """Images that note in what batches they were asked for."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        super().__init__(images, labels)
        self.asked: list[int] = []

    def batch(self, indices: Tensor) -> Tensor:
        self.asked.append(len(indices))
        return super().batch(indices)


def check_mistakes(processes: Processes) -> None:
    """Each looks at its share of the test images; what is found is what one process finds, in every process."""
    pixels = torch.randint(256, (1130, 1, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    labels = torch.arange(1130) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        model[1].weight.copy_(drawn(3, 16))
    found = {}
    for name, who in (("alone", Processes()), ("shared", processes)):
        test = Noted(pixels, labels)
        data = DataSet("noise", ("a", "b", "c"), 1, 4, (0.5,), (0.3,), False, 0, None, test)
        found[name] = find_mistakes(model, data, processes=who)
        assert (
            sum(size for size in test.asked if size > 1) == {"alone": 1130, "shared": (630, 500)[processes.rank]}[name]
        )
    assert found["shared"] == found["alone"]
    assert len(found["shared"].worst) == 24 and sum(map(sum, found["shared"].confusion)) == 1130


def main() -> None:
    """All checks, in every process."""
    processes = join_processes(torch.device("cpu"))
    assert processes.count == 2
    for check in (
        check_norm,
        check_half_precision,
        check_network,
        check_gradients,
        check_shared,
        check_agreement,
        check_own_norms,
        check_mistakes,
    ):
        check(processes)
    if processes.is_first:
        print("sums and norms hold")


if __name__ == "__main__":
    main()

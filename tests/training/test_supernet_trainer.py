"""The trainer against cross-entropies and gradients taken by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from sampled import uniform_indices
from torch import Tensor

from fpnas.architecture import Architecture
from fpnas.network_spec import resolve
from fpnas.nn.supernet import SuperNet
from fpnas.space_file import load_space
from fpnas.training.optim import build_optimizer
from fpnas.training.supernet_trainer import SuperNetTrainer

SPACE = load_space("tiny")


class Counted(SuperNet):
    """Counts its forward passes."""

    calls = 0

    def forward(self, *arguments) -> Tensor:
        self.calls += 1
        return super().forward(*arguments)


def trainer(learning_rate: float = 0.1, **options: float) -> SuperNetTrainer:
    torch.manual_seed(0)
    supernet = Counted(SPACE, 1, 10)
    optimizer = build_optimizer(supernet, name="sgd", learning_rate=learning_rate, weight_decay=0.0)
    return SuperNetTrainer(supernet, optimizer, input_size=8, in_channels=1, num_classes=10, **options)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 1, 8, 8, generator=generator), torch.randint(10, (8,), generator=generator)


def drawn() -> Tensor:
    """Six architectures, of which four differ."""
    return uniform_indices(SPACE, 4, seed=2)[[0, 1, 0, 2, 3, 1]]


def by_hand(supernet: SuperNet, indices_KGV: Tensor) -> list[Tensor]:
    images, labels = batch()
    supernet.train()
    specs = [resolve(SPACE, Architecture.of(row), input_size=8) for row in indices_KGV]
    return [F.cross_entropy(supernet(images, spec), labels) for spec in specs]


def test_spec_is_that_of_the_data() -> None:
    subject = SuperNetTrainer(SuperNet(SPACE, 3, 7), None, input_size=12, in_channels=3, num_classes=7)
    spec = subject.spec(drawn()[0])
    assert (spec.input_size, spec.in_channels, spec.num_classes) == (12, 3, 7)
    assert spec == resolve(SPACE, Architecture.of(drawn()[0]), input_size=12, in_channels=3, num_classes=7)


def test_judging_leaves_no_trace() -> None:
    subject = trainer()
    before = {name: value.clone() for name, value in subject.supernet.state_dict().items()}
    found, _ = subject.judge(*batch(), drawn())
    assert all(torch.equal(value, before[name]) for name, value in subject.supernet.state_dict().items())
    # What it gives can be reckoned with, gradients of other things included.
    logits = torch.zeros(6, requires_grad=True)
    (found * logits).sum().backward()
    torch.testing.assert_close(logits.grad, found)


def test_judging_each_architecture_once() -> None:
    subject = trainer()
    expected = torch.stack(by_hand(copy.deepcopy(subject.supernet), drawn())).detach()
    subject.supernet.eval()
    found, accuracies = subject.judge(*batch(), drawn())
    assert (subject.supernet.calls, subject.forward_passes, subject.backward_passes) == (4, 4, 0)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert all(parameter.grad is None for parameter in subject.supernet.parameters())
    images, labels = batch()
    for row, accuracy in zip(drawn(), accuracies.tolist(), strict=True):
        with torch.no_grad():
            right = subject.supernet(images, subject.spec(row)).argmax(1) == labels
        assert accuracy == pytest.approx(right.double().mean().item())


def with_one_broken_kernel() -> tuple[SuperNetTrainer, Tensor, Tensor]:
    """A trainer where a kernel of the first block gives no numbers; architectures without and with it."""
    subject = trainer()
    indices_KGV = uniform_indices(SPACE, 64, seed=3)
    kernels = SPACE.groups[0].values("kernel")
    broken = indices_KGV[:, 0, 0] == len(kernels) - 1
    for name, parameter in subject.supernet.blocks[0].depthwise.named_parameters():
        if name.startswith(f"kernel{kernels[-1]}"):
            parameter.data.fill_(float("nan"))
    return subject, indices_KGV[~broken][:3], indices_KGV[broken][:2]


def test_what_has_no_finite_loss_is_infinitely_bad() -> None:
    subject, sound, broken = with_one_broken_kernel()
    found, _ = subject.judge(*batch(), torch.cat([broken[:1], sound, broken[1:]]))
    assert found[1:4].isfinite().all() and found[[0, 4]].tolist() == [float("inf")] * 2
    with pytest.raises(FloatingPointError, match="no sampled architecture has a finite loss"):
        subject.judge(*batch(), broken)


def test_a_loss_that_is_not_finite_trains_nothing() -> None:
    subject, sound, broken = with_one_broken_kernel()
    before = copy.deepcopy(subject.supernet.state_dict())
    with pytest.raises(FloatingPointError, match=r"the loss of architecture \[\[.*\]\] is nan"):
        subject.train_weights(*batch(), torch.cat([sound[:1], broken[:1]]), torch.tensor([0.5, 0.5]))
    after = subject.supernet.state_dict()
    weights = dict(subject.supernet.named_parameters())
    assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in weights)
    losses = subject.train_weights(*batch(), torch.cat([sound[:1], broken[:1]]), torch.tensor([1.0, 0.0]))
    assert losses[0] > 0 and losses[1] == 0 and subject.backward_passes == 1
    for mixture in (subject.mixture_cross_entropy, subject.train_mixture):
        with pytest.raises(FloatingPointError, match="the loss of all choices is nan"):
            mixture(*batch(), _gates())


def _gates() -> list[dict[str, torch.Tensor]]:
    return [
        {choice.name: torch.full((len(choice.values),), 1 / len(choice.values)) for choice in group.choices}
        for group in SPACE.groups
    ]


def test_a_mixture_is_judged_with_gradients_for_its_gates() -> None:
    subject, gates = trainer(), _gates()
    for row in gates:
        for gate in row.values():
            gate.requires_grad_()
    loss = subject.mixture_cross_entropy(*batch(), gates)
    several = [gate for row in gates for gate in row.values() if len(gate) > 1]
    gradients = torch.autograd.grad(loss, several)
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    assert all(parameter.grad is None for parameter in subject.supernet.parameters())


def test_training_a_mixture_lowers_its_loss() -> None:
    subject = trainer(learning_rate=0.05)
    losses = [subject.train_mixture(*batch(), _gates()).item() for _ in range(8)]
    assert losses[-1] < losses[0] and subject.backward_passes == 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_that_of_the_weighted_sum(dtype: torch.dtype) -> None:
    weights = torch.tensor([0.1, 0.25, 0.2, 0.15, 0.05, 0.25], dtype=dtype)
    subject = trainer(learning_rate=0.0, gradient_norm=1e9)
    supernet = copy.deepcopy(subject.supernet)
    losses = by_hand(supernet, drawn())
    sum(weight * loss for weight, loss in zip(weights.tolist(), losses, strict=True)).backward()
    found = subject.train_weights(*batch(), drawn(), weights)
    assert (subject.supernet.calls, subject.forward_passes, subject.backward_passes) == (4, 0, 4)
    torch.testing.assert_close(found, torch.stack(losses).detach(), rtol=1e-6, atol=1e-6)
    expected = dict(supernet.named_parameters())
    for name, parameter in subject.supernet.named_parameters():
        if expected[name].grad is None:
            assert parameter.grad is None, name
        else:
            torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-6)


def test_gradients_do_not_add_up_over_steps() -> None:
    subject = trainer(learning_rate=0.0, gradient_norm=1e9)
    gradients = []
    for _ in range(2):
        subject.train_weights(*batch(), drawn()[:1], torch.ones(1))
        gradients.append(subject.supernet.classifier.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_a_step_is_gradient_descent_along_the_clipped_gradient() -> None:
    plain, clipped = trainer(learning_rate=0.0, gradient_norm=1e9), trainer(learning_rate=0.1, gradient_norm=0.01)
    before = {name: value.detach().clone() for name, value in clipped.supernet.named_parameters()}
    for subject in (plain, clipped):
        subject.train_weights(*batch(), drawn()[:1], torch.ones(1))
    gradient = {name: p.grad for name, p in plain.supernet.named_parameters() if p.grad is not None}
    norm = torch.stack([value.norm() for value in gradient.values()]).norm()
    assert norm > 0.01
    for name, value in clipped.supernet.named_parameters():
        # Nesterov's first step is 1 + 0.9 times the gradient.
        step = 0.1 * 1.9 * 0.01 / norm * gradient[name] if name in gradient else torch.zeros_like(value)
        torch.testing.assert_close(before[name] - value.detach(), step, rtol=1e-3, atol=1e-6)


def test_weights_that_a_step_does_not_use_stay_as_they_are() -> None:
    subject = trainer()
    supernet = subject.supernet
    # Everything at its smallest: no kernel in the first three groups, 3x3 in the last, fewest channels.
    smallest = torch.zeros(1, len(SPACE.groups), 5, dtype=torch.int64)
    smallest[0, -1, 0] = 1
    # Momentum and decay of an earlier step on other weights must not move them either.
    subject.train_weights(*batch(), drawn()[3:4], torch.ones(1))
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    subject.train_weights(*batch(), smallest, torch.ones(1))
    used = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    parameters = dict(supernet.named_parameters())
    assert 0 < len(used) < len(parameters)
    for name in parameters:
        assert torch.equal(parameters[name], before[name]) != (name in used), name
    assert not any(".depthwise." in name for name in used if not name.startswith("blocks.4."))


def test_first_step_leaves_the_unused_channels_of_a_used_weight() -> None:
    subject = trainer()
    before = subject.supernet.blocks[0].bypass.conv.weight.detach().clone()
    smallest = torch.zeros(1, len(SPACE.groups), 5, dtype=torch.int64)
    subject.train_weights(*batch(), smallest, torch.ones(1))
    after = subject.supernet.blocks[0].bypass.conv.weight.detach()
    width = SPACE.groups[0].values("channels")[0]
    assert torch.equal(before[width:], after[width:]) and len(after) > width
    assert not torch.equal(before[:width], after[:width])

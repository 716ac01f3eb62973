"""Which weights decay, and the schedule's values."""

import math

import pytest
import torch
from timm.optim import RMSpropTF
from torch import nn

from fpnas.nn.supernet import SuperNet
from fpnas.run_options import OPTIMIZERS
from fpnas.space_file import load_space
from fpnas.training.optim import build_optimizer, set_learning_rate, warm_up_cosine, warm_up_exponential


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_batch_norm_and_biases_do_not_decay(name: str) -> None:
    model = SuperNet(load_space("tiny"), 1, 10)
    optimizer = build_optimizer(model, name=name, learning_rate=0.1, weight_decay=0.01)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    seen = 0
    for layer in model.modules():
        for own, parameter in layer.named_parameters(recurse=False):
            decays = own == "weight" and isinstance(layer, nn.Conv2d | nn.Linear)
            assert decay[id(parameter)] == (0.01 if decays else 0.0), (layer, own)
            seen += 1
    assert seen == len(decay) == len(list(model.parameters()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_without_gradient_is_the_decay_alone(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = build_optimizer(model, name=name, learning_rate=0.1, weight_decay=0.01)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"0.weight"}
    assert (model[0].weight.abs() < before["0.weight"].abs()).all()


def test_sgd_in_one_pass_has_the_values_of_the_plain_one() -> None:
    """Also for weights that get their first gradient late, and where some have none in a step."""
    torch.manual_seed(0)
    models = [nn.Sequential(*(nn.Linear(3, 3) for _ in range(3))).double() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    fused = build_optimizer(models[0], name="sgd", learning_rate=0.1, weight_decay=0.01)
    decayed = [
        [weight for weight in models[1].parameters() if (weight.dim() > 1) is matrix] for matrix in (True, False)
    ]
    plain = torch.optim.SGD(
        [{"params": decayed[0], "weight_decay": 0.01}, {"params": decayed[1]}],
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        foreach=False,
        fused=False,
    )
    for used in ([0], [0, 1], [2], [0, 1, 2]):
        for model, optimizer in zip(models, (fused, plain), strict=True):
            set_learning_rate(optimizer, 0.1 + 0.01 * len(used))
            optimizer.zero_grad(set_to_none=True)
            sum((model[index](torch.ones(2, 3).double()) ** 2).sum() for index in used).backward()
            optimizer.step()
        for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_the_optimizers_are_the_documented_ones() -> None:
    sgd = build_optimizer(nn.Linear(2, 2), name="sgd", learning_rate=0.1, weight_decay=0.01)
    assert isinstance(sgd, torch.optim.SGD)
    assert all(group["nesterov"] and group["momentum"] == 0.9 for group in sgd.param_groups)
    rmsprop = build_optimizer(nn.Linear(2, 2), name="rmsprop", learning_rate=0.1, weight_decay=0.01)
    assert isinstance(rmsprop, RMSpropTF) and all(group["eps"] == 1e-3 for group in rmsprop.param_groups)
    adamw = build_optimizer(nn.Linear(2, 2), name="adamw", learning_rate=0.1, weight_decay=0.01)
    assert isinstance(adamw, torch.optim.AdamW) and all(group["betas"] == (0.9, 0.999) for group in adamw.param_groups)
    with pytest.raises(KeyError):
        build_optimizer(nn.Linear(2, 2), name="none", learning_rate=0.1, weight_decay=0.01)


def test_schedule_rises_and_falls() -> None:
    assert [warm_up_cosine(progress, 0.2) for progress in (0.0, 0.05, 0.1)] == [0.0, 0.25, 0.5]
    for progress, factor in ((0.2, 1.0), (0.4, 0.5 + math.sqrt(0.125)), (0.6, 0.5), (1.0, 0.0)):
        assert warm_up_cosine(progress, 0.2) == pytest.approx(factor, abs=1e-12)
    assert warm_up_cosine(0.0, 0.0) == 1.0
    assert warm_up_cosine(0.75, 1.0) == 0.75


def test_the_first_step_of_adamw() -> None:
    layer = nn.Linear(3, 2)
    weight, bias = (value.detach().clone() for value in (layer.weight, layer.bias))
    optimizer = build_optimizer(layer, name="adamw", learning_rate=0.1, weight_decay=0.01)
    layer.weight.grad = torch.tensor([[1.0, -2.0, 3.0], [-0.5, 4.0, -1.0]])
    layer.bias.grad = torch.tensor([2.0, -2.0])
    optimizer.step()
    # Its averages are the gradient and its square: every weight moves by the rate, and decays beside that.
    torch.testing.assert_close(layer.weight.detach(), weight * (1 - 0.1 * 0.01) - 0.1 * layer.weight.grad.sign())
    torch.testing.assert_close(layer.bias.detach(), bias - 0.1 * layer.bias.grad.sign())


def test_exponential_schedule_rises_and_falls() -> None:
    # FP-NAS's final training: 0.9875 after every epoch, counted from the start.
    assert [warm_up_exponential(epoch, 5, 0.9875) for epoch in (0.0, 1.0, 2.5)] == [0.0, 0.2, 0.5]
    for epoch, decays in ((5.0, 5), (6.0, 6), (6.99, 6), (419.5, 419)):
        assert warm_up_exponential(epoch, 5, 0.9875) == pytest.approx(0.9875**decays)
    assert warm_up_exponential(0.0, 0, 0.5) == 1.0


def test_learning_rate_is_set_in_every_group() -> None:
    optimizer = build_optimizer(
        nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)), name="sgd", learning_rate=0.1, weight_decay=0.01
    )
    assert len(optimizer.param_groups) > 1
    set_learning_rate(optimizer, 0.025)
    assert {group["lr"] for group in optimizer.param_groups} == {0.025}

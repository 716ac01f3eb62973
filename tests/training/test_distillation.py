"""The teacher's logits and loss against direct computations."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import fpnas
from fpnas.errors import UserError
from fpnas.training.augment import normalise
from fpnas.training.data import DataSet
from fpnas.training.distillation import Teacher, distillation_loss, fuse_norms, load_teacher
from fpnas.training.load import load_data


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load_data("digits", max_images=100)


def test_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, taught = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    for temperature in (1.0, 3.0):
        p, q = ((values / temperature).softmax(1) for values in (taught, logits))
        expected = temperature**2 * (p * (p.log() - q.log())).sum(1).mean()
        torch.testing.assert_close(distillation_loss(logits, taught, temperature), expected)
    assert float(distillation_loss(logits, logits, 2.0)) == pytest.approx(0, abs=1e-9)


def test_the_temperature_leaves_gradients_their_size() -> None:
    logits = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    taught = torch.tensor([[0.3, 0.1, -0.1, -0.3]], dtype=torch.float64)
    distillation_loss(logits, taught, 1000.0).backward()
    # In the limit of a high temperature: the difference of centred logits over the number of classes.
    torch.testing.assert_close(logits.grad, -taught / 4, rtol=1e-3, atol=0)


def test_folded_norms_change_nothing(train_run: Path) -> None:
    network = fpnas.load(train_run).network
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    folded = fuse_norms(network)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_a_folder_teaches_as_it_predicts(train_run: Path, data: DataSet) -> None:
    model = fpnas.load(train_run)
    assert data.train is not None
    pixels = data.train.batch(torch.arange(20))
    with torch.no_grad():
        expected = model(normalise(pixels, model.preprocess.mean, model.preprocess.std))
    # Statistics of the student's data are others than the teacher's.
    student = replace(data, mean=(0.3,), std=(0.2,))
    for name in (str(train_run), str(train_run / "network.json")):
        logits = load_teacher(name, student).logits(normalise(pixels, student.mean, student.std))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
        assert not logits.requires_grad


class Seen(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


def test_channels_and_sizes_are_fitted_to_the_teacher(data: DataSet) -> None:
    teacher = Teacher(Seen(), (0.1, 0.2, 0.3), (0.5, 0.5, 1.0), 3, 4, data)
    pixels = torch.full((2, 1, 8, 8), 51, dtype=torch.uint8)
    seen = teacher.logits(normalise(pixels, data.mean, data.std))
    assert seen.shape == (2, 3, 4, 4)
    torch.testing.assert_close(seen[0, :, 0, 0], torch.tensor([0.2, 0.0, -0.1]), rtol=1e-4, atol=1e-5)


def test_teachers_of_timm(data: DataSet, train_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_teacher(f"local-dir:{train_run}", data).logits(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name, num_classes=10))
    assert load_teacher("test_efficientnet", data).logits(torch.randn(2, 1, 32, 32)).shape == (2, 10)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name))
    with pytest.raises(UserError, match="has 1000 classes; the data have 10"):
        load_teacher("test_efficientnet", data)


def test_teachers_that_cannot_teach(
    data: DataSet, train_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="--teacher no_such_model: no model folder and no model of timm"):
        load_teacher("no_such_model", data)
    with pytest.raises(UserError, match="is missing"):
        load_teacher(str(tmp_path), data)
    with pytest.raises(UserError, match="classes are not those"):
        load_teacher(str(train_run), replace(data, class_names=tuple("abcdefghij")))
    with pytest.raises(UserError, match="takes 1 channels; the data have 3"):
        load_teacher(str(train_run), replace(data, in_channels=3))

    def offline(name: str, pretrained: bool) -> nn.Module:
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match="timm cannot give it with weights: no network") as error:
        load_teacher("resnet18", data)
    assert "\n" not in str(error.value)

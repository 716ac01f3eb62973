"""Model folders: they load anywhere without the search, are refused when not whole, and are models of timm."""

import json
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from finished_runs import copied
from PIL import Image
from refusals import sound_network

import fpnas
from fpnas.builtin_files import find_network
from fpnas.derive import derive_run
from fpnas.errors import UserError
from fpnas.model_card import model_card
from fpnas.model_folder import save_model
from fpnas.network_file import load_network, network_from_json
from fpnas.runtime.weights import load_weights, save_weights
from fpnas.timm_models import TimmNetwork
from fpnas.train import origin_of

SEARCHING = (
    "fpnas.budget_sampling",
    "fpnas.constrained_paths",
    "fpnas.derivation",
    "fpnas.distribution",
    "fpnas.nn.masked",
    "fpnas.nn.sliced",
    "fpnas.nn.supernet",
    "fpnas.objective",
    "fpnas.sampling",
    "fpnas.search_",
    "fpnas.space_file",
    "fpnas.strategies",
    "fpnas.supernet_",
    "fpnas.training.search_images",
    "fpnas.training.supernet_trainer",
)


def images(count: int, channels: int = 1) -> torch.Tensor:
    return torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(count))


def test_loading_imports_nothing_of_the_search(train_run: Path) -> None:
    code = (
        "import sys, fpnas; assert 'torch' not in sys.modules; model = fpnas.load(sys.argv[1]); "
        "print(*sorted(name for name in sys.modules if name.startswith('fpnas')))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(train_run)], capture_output=True, text=True, check=True)
    modules = [module.name for module in pkgutil.walk_packages(fpnas.__path__, "fpnas.")]
    for name in SEARCHING:
        assert any(module.startswith(name) for module in modules), f"there is no module that begins with {name}"
    loaded = result.stdout.split()
    assert "fpnas.model_folder" in loaded
    assert [name for name in loaded if name.startswith(SEARCHING)] == []


def test_what_is_loaded_is_what_was_saved(train_run: Path, tmp_path: Path) -> None:
    model = fpnas.load(train_run)
    save_model(tmp_path, model)
    again = fpnas.load(str(tmp_path))
    assert not again.training and again.class_names == tuple("0123456789")
    assert again.preprocess == model.preprocess and again.network.spec == model.network.spec
    with torch.no_grad():
        assert torch.equal(again(images(7)), model(images(7)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "1", "CMYK"])
def test_images_of_every_kind_are_preprocessed(train_run: Path, tmp_path: Path, mode: str) -> None:
    preprocess = fpnas.load(train_run).preprocess
    white = Image.new("RGB", (31, 17), (255, 255, 255))
    picture = Image.new("I;16", (31, 17), 65535) if mode == "I;16" else white.convert(mode)
    if mode != "CMYK":
        picture.save(tmp_path / "picture.png")
        assert torch.equal(preprocess(tmp_path / "picture.png"), preprocess(picture))
    inputs = preprocess(picture)
    assert inputs.shape == (1, 1, 8, 8)
    expected = (1 - preprocess.mean[0]) / preprocess.std[0]
    torch.testing.assert_close(inputs, torch.full_like(inputs, expected), rtol=1e-2, atol=1e-2)


def test_an_altered_number_is_noticed_and_its_tensor_named(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    tensors, about = load_weights(run / "model.safetensors", "weights file")
    tensors["blocks.0.project.norm.bias"][0] += 1e-3
    tensors["stem.conv.weight"] = tensors["stem.conv.weight"].double()
    save_weights(run / "model.safetensors", tensors, about)
    with pytest.raises(UserError, match=r"altered .*: tensor blocks.0.project.norm.bias, stem.conv.weight$"):
        fpnas.load(run)


def test_numbers_of_16_bits_are_altered_ones(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    tensors, about = load_weights(run / "model.safetensors", "weights file")
    tensors["stem.conv.weight"] = tensors["stem.conv.weight"].bfloat16()
    save_weights(run / "model.safetensors", tensors, about)
    with pytest.raises(UserError, match=r"altered .*: tensor stem.conv.weight$"):
        fpnas.load(run)


def test_all_missing_tensors_are_named(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    save_weights(run / "model.safetensors", {"classifier.bias": torch.zeros(10)}, {})
    with pytest.raises(UserError, match=r"missing: tensors blocks\S+, .* and \d+ more"):
        fpnas.load(run)


def test_a_config_of_another_network(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    path = run / "config.json"
    whole = json.loads(path.read_text())
    whole["model_args"]["network"]["name"] = "another"
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"is not the one in network\.json"):
        fpnas.load(run)


def test_the_model_card(train_run: Path) -> None:
    _, front, body = (train_run / "README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(front)
    result = json.loads((train_run / "result.json").read_text())
    assert header["license"] == "unknown"
    (metric,) = header["model-index"][0]["results"][0]["metrics"]
    assert metric["value"] == round(result["top1"] / 100, 4)
    assert f"{result['top1']:.2f}%" in body and "`epochs`: 5" in body and "digits" in body


ABSENT = Path("/a/secret place")


def card(**changed: Any) -> str:
    """The card of a made-up training."""
    given: dict[str, Any] = {
        "data": str(ABSENT / "photos"),
        "class_names": ("cat", "dog"),
        "license": "unknown",
        "origin": "By hand.",
        "recipe": {},
    }
    figures = {"top1": 50.0, "top5": 100.0, "macs": 10**6, "params": 10, "images": 4}
    return model_card(network_from_json(sound_network(), "network"), figures, **given | changed)


def test_the_card_has_no_folders_of_whoever_trained() -> None:
    recipe = {"teacher": str(ABSENT / "large model"), "from_search": str(ABSENT / "search/"), "epochs": 7}
    text = card(recipe=recipe)
    assert "secret" not in text
    for line in ("- `teacher`: large model", "- `from_search`: search", "- `epochs`: 7", "images of photos"):
        assert line in text
    assert "- `teacher`: hf-hub:timm/resnet18" in card(recipe={"teacher": "hf-hub:timm/resnet18"})


def test_names_in_the_card_cannot_be_markup() -> None:
    names = ("a|b", "<script>", "# *c*", "d\n# e")
    body = card(class_names=names, data="x/[y](z)\n# w", recipe={"auto_augment": "`rand`\n\n# all"}).split("---\n", 2)[
        2
    ]
    assert "Classes: a\\|b, \\<script\\>, \\# \\*c\\*, d \\# e." in body
    headings = [line for line in body.splitlines() if line.startswith("# ")]
    assert len(headings) == 1 and "\\[y\\](z) \\# w" in body


ORIGINS = {
    "search": "By `fpnas search` with strategy `fp-nas` in space `tiny`, on the training images alone (seed 0)",
    "train": "A network file was given, `network.json`.",
    "elsewhere": "A network file was given, `mine.json`.",
    "beside": "A network file was given, `derived.json`.",
    "builtin": "The network `fbnetv2-f1` that comes with fpnas.",
    "folder": "Trained further from the weights of another model.",
}


@pytest.mark.parametrize("where", ORIGINS)
def test_the_card_says_what_is_known_of_the_origin(
    train_run: Path, search_run: Path, tmp_path: Path, where: str
) -> None:
    run = copied(search_run, tmp_path)
    shutil.copy(run / "network.json", tmp_path / "mine.json")
    shutil.copy(run / "network.json", run / "derived.json")
    source = {
        "search": run / "network.json",
        "train": train_run / "network.json",
        "elsewhere": tmp_path / "mine.json",
        "beside": run / "derived.json",
        "builtin": find_network("fbnetv2-f1"),
        "folder": train_run,
    }[where]
    spec = load_network(source / "network.json" if source.is_dir() else source)
    assert origin_of(source, spec).startswith(ORIGINS[where])


def test_the_origin_has_the_cost_of_the_network_that_is_there(search_run: Path, tmp_path: Path) -> None:
    run = copied(search_run, tmp_path)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("space: tiny", f"space: {ABSENT / 'my`own.toml'}"))
    derived = derive_run(run, target_macs="0.15M")
    text = origin_of(derived.network, load_network(derived.network))
    assert f"a network of {derived.macs / 1e6:.2f}M multiply-adds at 8 pixels" in text and "0.3M" not in text
    assert "space `my'own.toml`" in text and "secret" not in text


def test_timm_knows_the_model_in_either_order_of_imports(train_run: Path) -> None:
    looked_for = "importlib.util; importlib.util.find_spec('timm')"  # as some packages do to see what there is
    for first, second, third in (("fpnas", "timm", "sys"), ("timm", "fpnas", "sys"), ("fpnas", looked_for, "timm")):
        code = (
            f"import {first}; import {second}; import {third}; import sys\n"
            "model = timm.create_model('fpnas', network=sys.argv[1], pretrained=True)\n"
            "print(model.num_classes, any(name.startswith('fpnas.search_') for name in sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", code, str(train_run)], capture_output=True, text=True)
        assert result.stdout.split() == ["10", "False"], result.stderr


def test_as_a_model_of_timm(train_run: Path) -> None:
    own = fpnas.load(train_run)
    for model in (
        timm.create_model("fpnas", network=train_run, pretrained=True),
        timm.create_model(f"local-dir:{train_run}", pretrained=True),
    ):
        assert isinstance(model, TimmNetwork)
        model.eval()
        with torch.no_grad():
            torch.testing.assert_close(model(images(5)), own(images(5)), rtol=1e-4, atol=1e-4)
            features = model.forward_features(images(5))
            assert features.shape[1] == model.num_features
            assert torch.equal(model.forward_head(features), model(images(5)))
            pooled = model.forward_head(features, pre_logits=True)
        assert pooled.shape == (5, model.head_hidden_size)
        config = timm.data.resolve_data_config(model=model)
        assert tuple(config["input_size"]) == (1, 8, 8) and tuple(config["mean"]) == own.preprocess.mean


def saved_by_timm(model: torch.nn.Module, folder: Path) -> dict[str, Any]:
    timm.models.save_for_hf(model, folder)
    content: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return content


@pytest.mark.parametrize("named", ["path", "text", "spec"])
def test_what_timm_saves_needs_no_other_file(train_run: Path, tmp_path: Path, named: str) -> None:
    run = copied(train_run, tmp_path)
    spec = fpnas.load(run).network.spec
    network = {"path": run, "text": str(run), "spec": spec}[named]
    model = timm.create_model("fpnas", network=network, pretrained=named != "spec", in_chans=3).eval()
    model.reset_classifier(4)
    config = saved_by_timm(model, tmp_path / "saved")
    assert config["num_features"] == model.num_features
    shutil.rmtree(run)
    again = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(again(images(3, 3)), model(images(3, 3)))


def test_the_width_of_the_last_map(train_run: Path) -> None:
    # The published networks have another kind of head.
    for network in (train_run, "fbnetv2-f1"):
        if network == "fbnetv2-f1":
            spec = load_network(find_network(network))
            model, inputs = timm.create_model("fpnas", network=spec), torch.randn(2, 3, 64, 64)
        else:
            model, inputs = timm.create_model("fpnas", network=network), images(2)
        model.eval()
        with torch.no_grad():
            assert model.forward_features(inputs).shape[1] == model.num_features
            # What is behind the last block kept cannot stay, asked for or not.
            model.prune_intermediate_layers(1, prune_head=model.spec.input_size > 8)
            assert model.forward_features(inputs).shape[1] == model.num_features == model.head_hidden_size


ELSEWHERE = {
    "source": "hf-hub",
    "hf_hub_id": "someone/else",
    "url": "https://example.invalid/weights.pth",
    "file": "other.pth",
    "custom_load": True,
    "first_conv": "blocks.0",
}


@pytest.mark.parametrize("named", [True, False])
def test_timm_takes_the_folder_s_weights_whatever_its_config_names(
    train_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    def asked(*arguments: object, **options: object) -> None:
        raise AssertionError(f"something else was to be loaded: {arguments}")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", asked)
    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_url", asked)
    run = copied(train_run, tmp_path)
    content = json.loads((run / "config.json").read_text())
    content["pretrained_cfg"] |= ELSEWHERE if named else {"first_conv": "blocks.0"}
    (run / "config.json").write_text(json.dumps(content))
    model = timm.create_model("fpnas", network=run, pretrained=True, in_chans=3)
    own = fpnas.load(run).network
    assert torch.equal(model.classifier.weight, own.classifier.weight)
    torch.testing.assert_close(model.stem.conv.weight.sum(1), own.stem.conv.weight.sum(1))


def test_timm_is_refused_a_config_that_says_nothing_of_images(train_run: Path, tmp_path: Path) -> None:
    run = copied(train_run, tmp_path)
    content = json.loads((run / "config.json").read_text())
    del content["pretrained_cfg"]
    (run / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="pretrained_cfg: missing"):
        timm.create_model("fpnas", network=run)


def test_transfer_with_timm(train_run: Path) -> None:
    own = fpnas.load(train_run)
    model = timm.create_model("fpnas", network=train_run, pretrained=True, num_classes=3, in_chans=3)
    assert model(images(4, 3)).shape == (4, 3) and model.get_classifier().out_features == 3
    assert model.spec.num_classes == 3 and model.spec.in_channels == 3
    # What is not the stem or the classifier has been taken over.
    assert torch.equal(model.head.conv.weight, own.network.head.conv.weight)
    model.reset_classifier(7)
    assert model(images(4, 3)).shape == (4, 7) and model.spec.num_classes == 7
    bare = timm.create_model("fpnas", network=train_run / "network.json", num_classes=0)
    assert bare(images(4)).shape == (4, bare.head_hidden_size)
    unpooled = timm.create_model("fpnas", network=own.network.spec, num_classes=0, global_pool="")
    assert unpooled(images(4)).ndim == 4
    with pytest.raises(UserError, match="no model folder"):
        timm.create_model("fpnas", network=train_run / "network.json", pretrained=True)
    with pytest.raises(UserError, match="network = "):
        timm.create_model("fpnas")


def test_features_of_all_stages(train_run: Path) -> None:
    own = fpnas.load(train_run).network
    model = timm.create_model("fpnas", network=train_run, pretrained=True, features_only=True).eval()
    with torch.no_grad():
        maps = model(images(2))
        features = own.stem(images(2))
        expected = [features] if own.spec.blocks[0].stride > 1 else []
        for block, following in zip(own.blocks, [*own.spec.blocks[1:], None], strict=True):
            features = block(features)
            if following is None or following.stride > 1:
                expected.append(features)
    assert len(maps) == len(expected) > 1
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert model.feature_info.channels() == [each.shape[1] for each in expected]
    assert model.feature_info.reduction() == [8 // each.shape[2] for each in expected]
    first = timm.create_model("fpnas", network=train_run, features_only=True, out_indices=[0])
    assert len(first(images(2))) == 1
    assert sum(p.numel() for p in first.parameters()) < sum(p.numel() for p in model.parameters())


def test_gradient_checkpointing_of_maps_in_between(train_run: Path) -> None:
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    gradients, numbers = [], []
    for enabled in (False, True):
        model = timm.create_model("fpnas", network=train_run, pretrained=True).train()
        model.set_grad_checkpointing(enabled)
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            maps = model.forward_intermediates(images(6), intermediates_only=True)
        numbers.append(len(kept))
        torch.stack([each.square().sum() for each in maps]).sum().backward()
        gradients.append(model.stem.conv.weight.grad)
    torch.testing.assert_close(*gradients)
    assert numbers[1] < numbers[0]


def test_gradient_checkpointing_changes_no_gradient(train_run: Path) -> None:
    gradients = []
    for enabled in (False, True):
        model = timm.create_model("fpnas", network=train_run, pretrained=True).train()
        model.set_grad_checkpointing(enabled)
        model(images(6)).square().sum().backward()
        gradients.append(model.stem.conv.weight.grad)
    torch.testing.assert_close(*gradients)

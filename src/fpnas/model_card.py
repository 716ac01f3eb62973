"""The model card of a trained network, in the form of the Hugging Face hub."""

from collections.abc import Mapping
from typing import Any

import yaml

from fpnas.network_spec import NetworkSpec

__all__ = ["code", "last_part", "model_card"]

_PATHS = ("teacher", "from_search")
"""Settings that name a place."""


def model_card(
    spec: NetworkSpec,
    figures: Mapping[str, Any],
    *,
    data: str,
    class_names: tuple[str, ...],
    license: str,
    origin: str,
    recipe: Mapping[str, Any],
    held_out: bool = False,
) -> str:
    """The text of a README.md.

    Args:
        spec: the network.
        figures: `top1`, `top5` (percent), `macs`, `params`, `images` (that they are of).
        data: what `--data` was; of a path the last part is named, as of those in the recipe.
        class_names: by the index of the logit.
        license: for the hub's field.
        origin: how the network was found, a sentence in Markdown.
        recipe: settings of the training that are not the default, by name.
        held_out: whether the accuracies are of training images that were held out, not of test images.
    """
    data_name = last_part(data)
    judged_by = "held-out training images" if held_out else "test images"
    metric = {"type": "accuracy", "name": f"top-1, {judged_by}" if held_out else "top-1"}
    front = {
        "license": license,
        "library_name": "fpnas",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "neural-architecture-search", "fpnas", "timm"],
        "model-index": [
            {
                "name": spec.name,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": data_name, "type": data_name},
                        "metrics": [metric | {"value": round(figures["top1"] / 100, 4)}],
                    }
                ],
            }
        ],
    }
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    settings = "\n".join(f"- `{name}`: {_setting(name, value)}" for name, value in recipe.items()) or "- all defaults"
    shown = ", ".join(_plain(name) for name in class_names[:20])
    more = f" and {len(class_names) - 20} more" if len(class_names) > 20 else ""
    return f"""---
{header}---

# {_plain(spec.name)}

An image classifier of {figures["macs"] / 1e6:.2f}M multiply-adds and {figures["params"]:,} parameters, for images of
{spec.input_size} x {spec.input_size} pixels with {spec.in_channels} channel(s).

| measured on | top-1 | top-5 |
|---|---|---|
| {figures["images"]} {judged_by} of {_plain(data_name)} | {figures["top1"]:.2f}% | {figures["top5"]:.2f}% |

Classes: {shown}{more}.

## How it was found

{origin}

## How it was trained

On {_plain(data_name)}, by `fpnas train` with these settings:

{settings}

## Use

```
pip install ./FPNAS     # the folder of a copy of its repository: no package index has it
fpnas predict FOLDER IMAGE...
fpnas train FOLDER --data OTHER_IMAGES --learning-rate 0.02 --output RUN     # fine-tune
fpnas export FOLDER --format onnx --output model.onnx
```

```python
import fpnas

model = fpnas.load("FOLDER")
logits = model(model.preprocess("photo.jpg"))
print(model.class_names[int(logits.argmax())])
```

```python
import fpnas, timm

backbone = timm.create_model("local-dir:FOLDER", pretrained=True, features_only=True)
```
"""


def _setting(name: str, value: Any) -> str:
    return _plain(last_part(str(value)) if name in _PATHS else str(value))


def last_part(name: str) -> str:
    """A name without the folders before it, which are the business of whoever trained; a hub's names are whole."""
    if name.startswith(("hf-hub:", "hf_hub:")):
        return name
    return name.rstrip("/").rpartition("/")[2] or name


def code(text: str) -> str:
    """A name as code in Markdown, whatever is in it."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _plain(text: str) -> str:
    """A name as it can stand in Markdown, on one line."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in " ".join(text.split()))

"""Runs that a report has trouble with: hostile names, long records."""

import json
from pathlib import Path

import yaml
from finished_runs import copied

from fpnas.runtime.metrics import read_metrics

HOSTILE = "</script><img src=x onerror=alert(1)><svg onload='alert(2)'>\"`&amp;${alert(3)}"


def hostile_training(train_run: Path, place: Path, name: str = HOSTILE) -> Path:
    """A copy of a training with a name for its folder, its classes, its network, its data and its command."""
    run = copied(train_run, place).rename(place / name.replace("/", "-"))
    path = run / "mistakes.json"
    content = json.loads(path.read_text())
    content["class_names"] = [name] * len(content["class_names"])
    content["worst"] = [row | {"label": name, "taken_for": name} for row in content["worst"]]
    path.write_text(json.dumps(content))
    set_configuration(run, "data", name)
    network = json.loads((run / "network.json").read_text())
    (run / "network.json").write_text(json.dumps(network | {"name": name}))
    return run


def hostile_search(search_run: Path, place: Path, name: str = HOSTILE) -> Path:
    """A copy of a search with a name for its folder, a group of its space, its strategy and its command."""
    run = copied(search_run, place).rename(place / name.replace("/", "-"))
    text = (run / "space.toml").read_text()
    assert 'name = "down"' in text
    (run / "space.toml").write_text(text.replace('name = "down"', f"name = {json.dumps(name)}"))
    set_configuration(run, "strategy", name)
    return run


def set_configuration(run: Path, setting: str, value: str) -> None:
    """Give a setting a value, and the run a command."""
    path = run / "config.yaml"
    document = yaml.safe_load(path.read_text())
    assert setting in document["configuration"] and "environment" in document
    document["configuration"][setting] = document["environment"]["command"] = value
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def twenty_long_runs(search_run: Path, place: Path) -> list[Path]:
    """Copies of a search with records of 10,000 lines: what a search of a large space leaves in a day."""
    record = read_metrics(search_run / "metrics.jsonl")
    step, epoch = record[-3], record[-1]
    assert "entropy_nats" in step and "probabilities" in epoch
    lines = [json.dumps(step | {"step": number}) for number in range(9_700)]
    lines += [json.dumps(epoch | {"step": 32 * number, "epoch": number}) for number in range(1, 301)]
    paths = []
    for number in range(20):
        path = copied(search_run, place / str(number)).rename(place / f"run {number}")
        (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        paths.append(path)
    return paths

"""Threads, seeds and devices."""

import os
import random

import numpy as np
import pytest
import torch

from fpnas.errors import UserError
from fpnas.runtime.setup import configure_threads, generator_for, keep_kernels, library_randomness, pick_device


def draw(*arguments: int | str) -> list[float]:
    return torch.rand(4, generator=generator_for(*arguments)).tolist()  # type: ignore[arg-type]


def test_a_generator_depends_on_its_arguments_alone() -> None:
    first = draw(1, "samples", 7)
    with library_randomness(123):
        assert draw(1, "samples", 7) == first
    # A change of the derivation changes every result: it should not pass unseen.
    assert generator_for(0, "samples", 7).initial_seed() == 1900976482862081289


def test_generators_of_other_seeds_and_purposes_differ() -> None:
    arguments = [(0,), (1,), (0, "a"), (0, "a", "b"), (0, "ab"), (0, 1), (0, "1"), (0, "a", 1), (0, "a", 2)]
    draws = {tuple(draw(*each)) for each in arguments}
    assert len(draws) == len(arguments)


def test_libraries_draw_by_the_seed_and_leave_no_trace() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    def seeded(*purpose: str | int) -> tuple[float, float, float]:
        with library_randomness(*purpose):
            return drawn()

    assert seeded(5, "a") == seeded(5, "a")
    assert len({seeded(5, "a"), seeded(6, "a"), seeded(5, "b")}) == 3
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state()
    seeded(5)
    assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        configure_threads(2)
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        configure_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_more_kernels_are_kept_unless_the_user_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, "7")
    keep_kernels()
    assert os.environ[name] == "7"
    monkeypatch.delenv(name)
    keep_kernels()
    assert os.environ[name] == "4096"


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda"):
        pick_device("cuda")
    with pytest.raises(UserError, match="--device tpu"):
        pick_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 0)
    assert pick_device("cpu") == torch.device("cpu")
    for name, value in {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "a",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert pick_device("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="--device auto: 2 CUDA devices for 3 or more processes"):
        pick_device("auto")

"""Both distributions against exact enumeration in float64, on a ragged made-up space and on `tiny`."""

import math

import numpy as np
import pytest
import torch
from enumeration import RAGGED, all_indices, enumerated_probabilities, random_distribution, random_tied

from fpnas.distribution import Distribution, Factorized, Joint, Tied, from_state_dict
from fpnas.space_file import load_space

CARDINALITIES = {"ragged": RAGGED, "tiny": load_space("tiny").cardinalities}
KINDS = [Factorized, Joint]
ROWS = ((2, 1, 2), (3, 2, 2), (3, 2, 2), (3, 2, 2), (2, 1, 3), (2, 1, 3))
FIRST_OF = (0, 1, 1, 1, 4, 4)


@pytest.fixture(params=[*((kind, space) for kind in KINDS for space in CARDINALITIES), (Tied, "rows")], ids=str)
def distribution(request: pytest.FixtureRequest) -> Distribution:
    kind, space = request.param
    return random_tied(ROWS, FIRST_OF) if kind is Tied else random_distribution(kind, CARDINALITIES[space])


@pytest.fixture(params=[(kind, space) for kind in KINDS for space in CARDINALITIES], ids=str)
def untied(request: pytest.FixtureRequest) -> Distribution:
    kind, space = request.param
    return random_distribution(kind, CARDINALITIES[space])


def test_log_prob_equals_enumeration_and_sums_to_one(distribution: Distribution) -> None:
    expected = enumerated_probabilities(distribution)
    actual = distribution.log_prob(all_indices(distribution.cardinalities)).exp().detach().numpy()
    assert len(expected) <= 300_000
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert actual.sum() == pytest.approx(1.0, abs=1e-12)


def test_entropy_equals_enumeration(distribution: Distribution) -> None:
    probabilities = enumerated_probabilities(distribution)
    possible = probabilities[probabilities > 0]
    expected = -(possible * np.log(possible)).sum()
    assert distribution.entropy().item() == pytest.approx(expected, abs=1e-11)
    assert distribution.entropy_per_group().sum().item() == pytest.approx(expected, abs=1e-11)
    assert distribution.entropy_per_group().shape == (len(distribution.cardinalities),)


def test_mode_equals_enumeration(distribution: Distribution) -> None:
    best = int(enumerated_probabilities(distribution).argmax())
    assert torch.equal(distribution.mode(), all_indices(distribution.cardinalities)[best])


def test_group_log_probs_and_marginals_equal_enumeration(distribution: Distribution) -> None:
    probabilities = enumerated_probabilities(distribution)
    shape = [c for row in distribution.cardinalities for c in row]
    by_choice = probabilities.reshape(shape)
    axis = 0
    for group, row in enumerate(distribution.cardinalities):
        own = range(axis, axis + len(row))
        joint = by_choice.sum(axis=tuple(a for a in range(len(shape)) if a not in own)).ravel()
        log_prob = distribution.group_log_probs()[group].detach()
        np.testing.assert_allclose(log_prob.exp().numpy(), joint, rtol=1e-11)
        for variable in range(len(row)):
            others = tuple(a for a in range(len(shape)) if a != axis + variable)
            expected = by_choice.sum(axis=others)
            np.testing.assert_allclose(distribution.marginals()[group][variable].numpy(), expected, rtol=1e-11)
        axis += len(row)


@pytest.mark.parametrize("space", CARDINALITIES)
def test_conversion_changes_no_probability_no_entropy_no_mode(space: str) -> None:
    factorized = random_distribution(Factorized, CARDINALITIES[space])
    joint = factorized.to_joint()
    np.testing.assert_allclose(enumerated_probabilities(joint), enumerated_probabilities(factorized), rtol=1e-12)
    assert joint.entropy().item() == pytest.approx(factorized.entropy().item(), abs=1e-12)
    assert torch.equal(joint.mode(), factorized.mode())
    assert joint.to_joint() is joint
    assert joint.logits.is_leaf and joint.logits.requires_grad


def test_conversion_keeps_a_mode_that_leads_by_the_last_bit() -> None:
    # In sums of log-probabilities such a lead is rounded away, and the tie falls to another architecture.
    cardinalities = [(8, 8, 8)] * 20
    lead = random_distribution(Factorized, cardinalities).logits.detach()
    lead[..., 0] = lead[..., 1:].amax(-1)
    lead[..., 5] = lead[..., 0].nextafter(torch.tensor(math.inf, dtype=torch.float64))
    factorized = Factorized(cardinalities, lead)
    assert (factorized.mode() == 5).all()
    assert (factorized.to_joint().mode() == 5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_uniform_at_the_start(kind: type[Factorized] | type[Joint]) -> None:
    distribution = kind(RAGGED)
    architectures = math.prod(c for row in RAGGED for c in row)
    assert distribution.entropy().item() == pytest.approx(math.log(architectures), abs=1e-12)
    assert distribution.mode().tolist() == [[0] * 5] * 3
    expected = {Factorized: 12 + 9 + 8, Joint: 72 + 12 + 6}
    assert distribution.number_of_parameters == expected[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_mode_ties_go_to_the_lowest_index(kind: type[Factorized] | type[Joint]) -> None:
    logits = torch.zeros(kind([(2, 3)]).logits.shape)
    logits.view(-1)[[1, 4, 5]] = 1.0
    expected = {Factorized: [[1, 1]], Joint: [[0, 1]]}
    assert kind([(2, 3)], logits).mode().tolist() == expected[kind]


def test_gradient_of_log_prob_is_one_hot_minus_probability(untied: Distribution) -> None:
    distribution = untied
    indices = all_indices(distribution.cardinalities)[77:78]
    distribution.log_prob(indices).sum().backward()
    assert distribution.logits.grad is not None
    actual = distribution.logits.grad.numpy()
    for g, row in enumerate(distribution.cardinalities):
        if isinstance(distribution, Joint):
            probability = distribution.group_log_probs()[g].detach().exp().numpy()
            one_hot = np.zeros(row)
            one_hot[tuple(indices[0, g].tolist())] = 1.0
            np.testing.assert_allclose(actual[g, : math.prod(row)], one_hot.ravel() - probability, atol=1e-14)
            assert not actual[g, math.prod(row) :].any()
        else:
            for v, c in enumerate(row):
                expected = np.eye(c)[indices[0, g, v]] - distribution.marginals()[g][v].numpy()
                np.testing.assert_allclose(actual[g, v, :c], expected, atol=1e-14)
                assert not actual[g, v, c:].any()


def test_gradient_of_entropy_equals_central_differences_of_enumeration(untied: Distribution) -> None:
    distribution = untied
    distribution.entropy().backward()
    assert distribution.logits.grad is not None
    if len(all_indices(distribution.cardinalities)) > 20_000:
        # For the larger space in closed form: dH / dlogit_i = -p_i * (log p_i + H of its categorical).
        log_prob = distribution.logits.detach().masked_fill(~distribution.mask, -math.inf).log_softmax(-1)
        prob = log_prob.exp()
        log_prob = log_prob.masked_fill(~distribution.mask, 0.0)
        entropy = -(prob * log_prob).sum(-1, keepdim=True)
        torch.testing.assert_close(distribution.logits.grad, -prob * (log_prob + entropy))
        return
    step = 1e-5
    for position in torch.nonzero(distribution.mask).tolist()[::3]:
        entropies = []
        for sign in (1, -1):
            logits = distribution.logits.detach().clone()
            logits[tuple(position)] += sign * step
            moved = type(distribution)(distribution.cardinalities, logits)  # type: ignore[arg-type]
            probabilities = enumerated_probabilities(moved)
            entropies.append(-(probabilities * np.log(probabilities)).sum())
        expected = (entropies[0] - entropies[1]) / (2 * step)
        assert float(distribution.logits.grad[tuple(position)]) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_an_impossible_choice_and_padding_do_no_harm(kind: type[Factorized] | type[Joint]) -> None:
    logits = torch.zeros(kind([(3, 2), (1, 2)]).logits.shape, dtype=torch.float64)
    logits[0].view(-1)[0] = -math.inf
    logits[~kind([(3, 2), (1, 2)]).mask] = math.nan
    distribution = kind([(3, 2), (1, 2)], logits)
    remaining = {Factorized: 2 * 2, Joint: 5}[kind]
    entropy = distribution.entropy()
    assert entropy.item() == pytest.approx(math.log(remaining) + math.log(2), abs=1e-12)
    samples = distribution.sample(2_000, torch.Generator().manual_seed(0))
    (entropy + distribution.log_prob(samples).sum()).backward()
    assert distribution.logits.grad is not None
    assert torch.isfinite(distribution.logits.grad).all()
    assert not distribution.logits.grad[~distribution.mask].any()
    assert len(torch.unique(samples, dim=0)) == 2 * remaining


@pytest.mark.parametrize("kind", KINDS)
def test_certainty_has_no_entropy(kind: type[Factorized] | type[Joint]) -> None:
    shape = kind(RAGGED).logits.shape
    logits = torch.zeros(shape, dtype=torch.float64)
    logits[..., 0] = 2_000.0
    distribution = kind(RAGGED, logits)
    assert distribution.entropy().item() == 0.0
    distribution.entropy().backward()
    assert distribution.logits.grad is not None
    assert torch.isfinite(distribution.logits.grad).all()


def test_state_gives_an_equal_distribution(distribution: Distribution) -> None:
    state = distribution.state_dict()
    restored = from_state_dict(state)
    assert type(restored) is type(distribution)
    assert restored.cardinalities == distribution.cardinalities
    assert torch.equal(restored.logits, distribution.logits)
    with torch.no_grad():
        distribution.logits += 1.0
    assert not torch.equal(restored.logits, distribution.logits)
    assert torch.equal(restored.logits, state["logits"])


def test_from_tied_to_joint_every_marginal_stays() -> None:
    tied = random_tied(ROWS, FIRST_OF)
    joint = tied.to_joint()
    assert joint.first_of == tuple(range(len(ROWS)))
    for before, after in zip(tied.group_log_probs(), joint.group_log_probs(), strict=True):
        np.testing.assert_allclose(before.exp().detach().numpy(), after.exp().detach().numpy(), rtol=1e-11)
    counted = [1, 3, 3, 3, 2, 2]
    assert joint.entropy().item() == pytest.approx(
        sum(joint.entropy_per_group()[first].item() for first in FIRST_OF), abs=1e-11
    )
    assert tied.entropy().item() == pytest.approx(
        sum(nats.item() / times for nats, times in zip(joint.entropy_per_group(), counted, strict=True)), abs=1e-11
    )
    assert tied.number_of_parameters == 5 + 7 + 6


def test_gradients_of_a_tied_distribution_are_those_of_its_rows() -> None:
    tied = random_tied(ROWS, FIRST_OF)
    rows = [0, 1, 4]
    apart = Factorized([ROWS[row] for row in rows], tied.logits.detach()[rows])
    drawn = tied.sample(7, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, drawn[:, FIRST_OF])
    tied.log_prob(drawn).sum().backward()
    apart.log_prob(drawn[:, rows]).sum().backward()
    assert torch.equal(tied.logits.grad[rows], apart.logits.grad)
    tied.entropy().backward()
    apart.entropy().backward()
    torch.testing.assert_close(tied.logits.grad[rows], apart.logits.grad, rtol=1e-14, atol=1e-14)
    assert not tied.logits.grad[[2, 3, 5]].any()
    assert tied.log_prob(torch.tensor([[[0] * 3] * 6])).isfinite().all()
    assert tied.log_prob(torch.tensor([[[0] * 3] * 5 + [[1, 0, 0]]])).item() == -math.inf


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="cardinalities"):
        Factorized([(2, 3), (2,)])
    with pytest.raises(ValueError, match="cardinalities"):
        Joint([(2, 0)])
    with pytest.raises(ValueError, match=r"expected \(1, 6\)"):
        Joint([(2, 3)], torch.zeros(1, 5))
    with pytest.raises(ValueError, match="NaN"):
        Joint([(2, 3)], torch.full((1, 6), math.nan))
    with pytest.raises(ValueError, match="without any possible"):
        Factorized([(2, 3)], torch.full((1, 2, 3), -math.inf))
    for first_of in [(0, 0, 0), (0, 1, 0), (0, 2, 2), (1, 1, 1)]:
        with pytest.raises(ValueError, match="neighbours"):
            Tied([(2, 3), (2, 2), (2, 3)], first_of)
    with pytest.raises(ValueError, match="kind other"):
        from_state_dict({"kind": "other"})
    for kind in KINDS:
        distribution = kind([(2, 3), (1, 2)])
        with pytest.raises(ValueError, match="number of samples 0"):
            distribution.sample(0, torch.Generator())
        with pytest.raises(ValueError, match="beyond"):
            distribution.log_prob(torch.tensor([[[0, 0], [1, 0]]]))
        with pytest.raises(ValueError, match="negative"):
            distribution.log_prob(torch.tensor([[[0, -1], [0, 0]]]))
        with pytest.raises(ValueError, match=r"expected \(K, 2, 2\)"):
            distribution.log_prob(torch.tensor([[0, 0], [0, 0]]))


@pytest.mark.parametrize("kind", [Factorized, Joint])
def test_a_copy_is_equal_and_goes_its_own_way(kind: type[Factorized] | type[Joint]) -> None:
    first = random_distribution(kind, RAGGED)
    first.entropy().backward()
    second = first.copy()
    assert type(second) is kind and torch.equal(second.logits, first.logits) and second.logits.grad is None
    before = enumerated_probabilities(first)
    torch.optim.SGD(second.parameters(), lr=1.0).zero_grad()
    second.entropy().backward()
    with torch.no_grad():
        second.logits -= second.logits.grad
    second.mask.fill_(False)
    assert np.array_equal(enumerated_probabilities(first), before)
    assert not np.array_equal(enumerated_probabilities(second), before)

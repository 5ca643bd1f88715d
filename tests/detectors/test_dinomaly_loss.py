"""Hard-mined cosine loss: value by its formula, gradient by the hook the authors scale it with."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from muad.detectors.dinomaly import cosine_distance, hard_mined_cosine_loss


def features(batch: int = 4, points: int = 48, width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(11)
    encoded = torch.randn(batch, points, width, generator=draw, dtype=torch.float64).float()
    # Some points are reconstructed well, some badly, with norms that differ.
    noise = torch.rand(batch, points, 1, generator=draw) * 2
    decoded = (encoded + noise * torch.randn(batch, points, width, generator=draw)) * (0.5 + noise)
    return encoded, decoded.requires_grad_()


def gradient(loss: torch.Tensor, decoded: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, decoded)[0]


def loss_with_hook(encoded: torch.Tensor, decoded: torch.Tensor, p: float, factor: float) -> torch.Tensor:
    """The authors' way: an undamped loss, and a hook that shrinks the gradient of easy points on its way back."""
    distance = 1 - F.cosine_similarity(encoded, decoded.detach(), dim=2)
    threshold = distance.flatten().sort(descending=True).values[int(distance.numel() * (1 - p)) - 1]
    watched = decoded.clone()
    watched.register_hook(lambda grad: torch.where((distance < threshold)[..., None], grad * factor, grad))
    return (1 - F.cosine_similarity(encoded.flatten(1), watched.flatten(1))).mean()


@pytest.mark.parametrize(("p", "factor"), list(itertools.product([0.0, 0.1, 0.45, 0.9, 0.97], [0.0, 0.1, 0.7, 1.0])))
def test_gradient_is_that_of_the_authors_hook(p: float, factor: float) -> None:
    encoded, decoded = features()
    ours = hard_mined_cosine_loss(encoded, decoded, p, factor)
    theirs = loss_with_hook(encoded, decoded, p, factor)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert gradient(ours, decoded).allclose(gradient(theirs, decoded), rtol=1e-5, atol=1e-9)


def test_value_does_not_depend_on_mining() -> None:
    encoded, decoded = features()
    values = {hard_mined_cosine_loss(encoded, decoded, p, 0.1).item() for p in (0.0, 0.3, 0.9)}
    assert len(values) == 1


def test_value_and_gradient_of_an_example_small_enough_for_paper() -> None:
    """One image, two points of width two; encoded (1, 0), (0, 2), decoded (1, 1), (0, 2).

    Flattened: a = (1, 0, 0, 2), b = (1, 1, 0, 2), a.b = 5, |a|^2 = 5, |b|^2 = 6, so the loss is 1 - 5 / sqrt(30), and
    its gradient -(a - b a.b / |b|^2) / (|a| |b|) = -(1/6, -5/6, 0, 1/3) / sqrt(30). The second point is reconstructed
    perfectly: with half of the points easy, its gradient is a tenth.
    """
    encoded = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    decoded = torch.tensor([[[1.0, 1.0], [0.0, 2.0]]], requires_grad=True)
    loss = hard_mined_cosine_loss(encoded, decoded, 0.5, 0.1)
    assert loss.item() == pytest.approx(1 - 5 / 30**0.5, rel=1e-6)
    plain = torch.tensor([[[-1 / 6, 5 / 6], [0.0, -1 / 3]]]) / 30**0.5
    assert gradient(loss, decoded).allclose(plain * torch.tensor([[[1.0], [0.1]]]), atol=1e-7)


def test_one_cosine_per_image_over_all_points_weighs_large_tokens_more() -> None:
    encoded, decoded = features(batch=2)
    pairs = zip(encoded, decoded.detach(), strict=True)
    expected = [1 - float(a.flatten() @ b.flatten() / (a.norm() * b.norm())) for a, b in pairs]
    assert hard_mined_cosine_loss(encoded, decoded, 0.0, 0.1).item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    assert cosine_distance(encoded, decoded.detach()).mean().item() != pytest.approx(sum(expected) / 2, rel=1e-2)


def test_threshold_is_over_the_whole_batch_not_per_image() -> None:
    """One image is reconstructed badly, one well: with half of the points easy, those are the good image's."""
    encoded, _ = features(batch=2)
    draw = torch.Generator().manual_seed(1)
    scale = torch.tensor([0.1, 3.0])[:, None, None]
    decoded = (encoded + scale * torch.randn(encoded.shape, generator=draw)).requires_grad_()
    plain = gradient(hard_mined_cosine_loss(encoded, decoded, 0.0, 0.1), decoded)
    mined = gradient(hard_mined_cosine_loss(encoded, decoded, 0.5, 0.1), decoded)
    damped = (mined / plain).mean(dim=-1)
    assert damped[0].mean() < 0.2
    assert damped[1].mean() > 0.9


def test_no_gradient_reaches_the_encoder() -> None:
    encoded, decoded = features()
    encoded.requires_grad_()
    hard_mined_cosine_loss(encoded, decoded, 0.5, 0.1).backward()
    assert encoded.grad is None
    assert decoded.grad is not None


@pytest.mark.parametrize("points", [1, 3, 9])
def test_fewer_than_ten_points_keep_one_hard_point(points: int) -> None:
    encoded, decoded = features(batch=1, points=points)
    loss = hard_mined_cosine_loss(encoded, decoded, 0.9, 0.0)
    reached = gradient(loss, decoded).abs().sum(dim=-1) > 0
    assert loss.isfinite()
    assert reached.sum() == 1
    assert reached.flatten()[cosine_distance(encoded, decoded.detach()).argmax()]


def test_reduced_precision_features_are_compared_in_float32() -> None:
    encoded, decoded = features()
    rough = hard_mined_cosine_loss(encoded.bfloat16(), decoded.bfloat16(), 0.5, 0.1)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(hard_mined_cosine_loss(encoded, decoded, 0.5, 0.1).item(), abs=2e-3)


def test_easy_share_rises_from_zero_to_its_end(make_detector, make_batch) -> None:
    """At step 0 nothing is damped, so mining on and off agree; then they differ; after the ramp nothing changes."""

    def gradients(step: int, **changes: object) -> torch.Tensor:
        detector = make_detector(dropout_rate=0.0, easy_ramp_steps=10, **changes)
        detector(make_batch(), step).total.backward()
        return detector.bottleneck.fc1.weight.grad

    assert torch.equal(gradients(0), gradients(0, hard_mining=False))
    assert not gradients(5).allclose(gradients(5, hard_mining=False), rtol=1e-3)
    assert not gradients(5).allclose(gradients(10), rtol=1e-3)
    assert torch.equal(gradients(10), gradients(500))
    assert torch.equal(gradients(10, easy_weight=1.0), gradients(10, hard_mining=False))
    assert torch.equal(gradients(5), gradients(10, easy_fraction=0.45))

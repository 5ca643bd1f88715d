import pytest
import torch

from muad.nn.segmenter import Segmenter, from_official_names


def test_shape_is_kept_and_output_is_a_logit() -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(width=4).eval()
    with torch.no_grad():
        logits = segmenter(torch.randn(2, 6, 64, 96))
    assert logits.shape == (2, 1, 64, 96)
    assert logits.min() < 0 or logits.max() > 1


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(width=4)
    segmenter(torch.randn(2, 6, 64, 64)).square().mean().backward()
    for name, parameter in segmenter.named_parameters():
        assert parameter.grad is not None, name


def test_official_names_cover_every_tensor_once() -> None:
    """Unknown names stay, so that they are reported rather than lost."""
    parts = [f"encoder_segment.block{n}.0.weight" for n in range(1, 7)]
    parts += [f"decoder_segment.{kind}{n}.1.weight" for kind in ("up", "db") for n in ("_b", 1, 2, 3, 4)]
    renamed = from_official_names(dict.fromkeys([*parts, "decoder_segment.fin_out.0.bias", "odd"], torch.zeros(1)))
    assert len(renamed) == len(parts) + 2
    assert {"encoder.0.0.weight", "enlarge.0.1.weight", "decoder.4.1.weight", "head.bias", "odd"} <= set(renamed)


@pytest.mark.parametrize("width", [8, 64])
def test_first_and_deepest_stage_are_as_wide_as_published(width: int) -> None:
    with torch.device("meta"):
        segmenter = Segmenter(width)
    assert segmenter.encoder[0][0].weight.shape == (width, 6, 3, 3)
    assert segmenter.encoder[5][3].weight.shape == (8 * width, 8 * width, 3, 3)

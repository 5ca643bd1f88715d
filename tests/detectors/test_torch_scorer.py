"""Views become the images an encoder takes."""

import numpy as np
import pytest
import torch

from muad.detectors.torch_scorer import normalised
from muad.images.preprocessing import Preprocessing


@pytest.mark.parametrize("channels", [3, 6])
def test_views_are_normalised_on_the_device_to_the_bit_as_on_the_host(channels: int) -> None:
    preprocessing = Preprocessing(resize_px=(14, 28), crop_px=(14, 28))
    views = np.random.default_rng(0).integers(0, 256, (5, 14, 28, channels), np.uint8)
    views[0].flat[:256] = np.arange(256)
    found = normalised(preprocessing, views, torch.device("cpu"))
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.numpy(), preprocessing.normalise(views))

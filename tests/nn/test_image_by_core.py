"""Images of a batch, one to a core."""

import threading

import pytest
import torch

from muad.nn.image_by_core import image_by_core


@pytest.fixture(autouse=True)
def two_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_image_is_computed_alone_and_all_come_back_in_order() -> None:
    images, weights = torch.rand(5, 3, 8, 8), torch.rand(4, 3, 3, 3, requires_grad=True)
    sizes, names = [], set()

    def network(image: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(len(image))
        names.add(threading.current_thread().name)
        return [torch.nn.functional.conv2d(image, weights), image.mean((2, 3))]

    maps, means = image_by_core(network, images)
    assert sizes == [1] * 5
    assert threading.current_thread().name not in names
    assert not maps.requires_grad
    assert torch.equal(means, images.mean((2, 3)))
    torch.testing.assert_close(maps, torch.nn.functional.conv2d(images, weights))


def test_the_number_of_threads_is_as_before_though_one_image_fails() -> None:
    def network(image: torch.Tensor) -> list[torch.Tensor]:
        if image.sum() > 0:
            raise ValueError("this one")
        return [image]

    with pytest.raises(ValueError, match="this one"):
        image_by_core(network, torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2))
    assert torch.get_num_threads() == 2

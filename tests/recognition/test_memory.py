"""What is remembered of a product, and distances to it."""

from collections.abc import Callable

import numpy as np
import pytest

from muad.recognition import Appearance, Memory

Cloud = Callable[..., Appearance]


def _by_hand(one: Appearance, others: Appearance) -> float:
    """The distance of one photograph to some, as the module's docstring says it."""
    whole = np.sort(np.linalg.norm(others.whole - one.whole, axis=1))[:3].mean()
    patches = [np.linalg.norm(others.patches - patch, axis=-1).min() for patch in one.patches[0]]
    colours = [np.linalg.norm(others.colours - place, axis=-1).min() for place in one.colours[0]]
    parts = (whole, np.quantile(patches, 0.9), np.quantile(colours, 0.5) + 0.02)
    return float(np.prod([max(part, 0.02) for part in parts]) ** (1 / 3))


def test_distances_are_those_of_the_definition(cloud: Cloud) -> None:
    seen, others = cloud(0, 20, 1), cloud(1, 40, 2)
    memory = Memory.of(seen, 1)
    for place, distance in enumerate(memory.distances(others)):
        assert distance == pytest.approx(_by_hand(others[place : place + 1], seen), rel=2e-3)  # half precision
    for place, distance in enumerate(memory.own_distances(seen)):
        rest = np.delete(np.arange(20), place)
        assert distance == pytest.approx(_by_hand(seen[place : place + 1], seen[rest]), rel=5e-3)


def test_a_part_that_differs_in_few_places_stays_near_and_one_that_differs_everywhere_does_not(cloud: Cloud) -> None:
    memory, good, other = Memory.of(cloud(0, 40, 1), 1), cloud(0, 1, 2), cloud(1, 1, 3)
    patches = good.patches.copy()
    patches[0, :1] = other.patches[0, :1]
    scratched = Appearance(good.whole, patches, good.colours)
    plain, bad, far = (memory.distances(seen)[0] for seen in (good, scratched, other))
    assert bad == pytest.approx(plain, rel=0.05)
    assert far > 3 * plain


def test_copies_make_changed_images_near(cloud: Cloud) -> None:
    images, turned = cloud(0, 40, 1), cloud(1, 40, 2)
    order = np.arange(80).reshape(2, 40).T.ravel()  # image, its copy, the next image, its copy
    copied = Memory.of(Appearance.joined([images, turned])[order], 2)
    plain, again = Memory.of(images, 1), cloud(1, 20, 3)
    assert copied.whole.shape == (40, 2, 32)
    assert (copied.distances(again) < 0.4 * plain.distances(again)).all()
    np.testing.assert_array_less(copied.own_distances(images), 0.4)


def test_two_images_are_enough_and_many_do_not_grow_the_memory(cloud: Cloud) -> None:
    few = Memory.of(cloud(0, 2, 1), 1)
    assert np.isfinite(few.own_distances(cloud(0, 2, 1))).all()
    many = Memory.of(cloud(0, 1024, 1), 1)
    assert many.patches.shape == (1024, 2, 32)
    assert many.colours.shape == (1024, 4, 4)

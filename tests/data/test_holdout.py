"""Which normal images are held out is decided by their names alone."""

from muad.data.holdout import held_out

NAMES = [f"good/image_{i:04}.png" for i in range(1000)]


def test_about_one_in_five_is_held_out() -> None:
    assert 160 <= len(held_out(NAMES)) <= 240


def test_order_does_not_matter() -> None:
    assert held_out(NAMES) == held_out(NAMES[::-1])


def test_new_images_do_not_move_the_old_ones() -> None:
    assert held_out(NAMES[:500]) == held_out(NAMES) & set(NAMES[:500])


def test_both_sides_keep_at_least_one_image() -> None:
    for count in range(2, 12):
        for start in range(50):
            names = NAMES[start : start + count]
            assert 1 <= len(held_out(names)) < count


def test_a_single_image_is_kept_for_training() -> None:
    assert held_out(NAMES[:1]) == frozenset()

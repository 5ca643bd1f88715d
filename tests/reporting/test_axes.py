"""Places and ticks of a drawing."""

import pytest

from muad.reporting.axes import Axes, round_ticks


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 28.35, 6, [0, 5, 10, 15, 20, 25]),
        (0.198, 0.302, 7, [0.2, 0.22, 0.24, 0.26, 0.28, 0.3]),
        (-1.3, 1.2, 6, [-1, -0.5, 0, 0.5, 1]),
        (0, 1.05, 6, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1e-9, 9e-9, 5, [2e-9, 4e-9, 6e-9, 8e-9]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, most: int, expected: list[float]) -> None:
    assert round_ticks(low, high, most) == pytest.approx(expected)


def test_data_are_put_where_they_belong_and_points_that_do_not_show_are_left_out() -> None:
    axes = Axes(left=10, top=20, width=100, height=50, x_range=(0, 1), y_range=(0, 2))
    assert (axes.x(0.25), axes.y(0), axes.y(2), axes.y(0.5)) == (35, 70, 20, 57.5)
    axes.line([(0, 0), (0.0001, 0.0001), (0.0002, 0), (1, 2)], "#000000", 1)
    assert '"M10 70L110 20"' in axes.drawn[0]


def test_names_are_escaped() -> None:
    axes = Axes(left=0, top=0, width=1, height=1, x_range=(0, 1), y_range=(0, 1))
    axes.frame("<script>", "&", (), ())
    assert "<script>" not in "".join(axes.drawn)

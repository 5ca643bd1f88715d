"""Numbers of images in the published data sets, to tell a complete copy from a partial or changed one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muad.types import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Images of one category or of a whole data set.

    Attributes:
        train: Normal training images.
        test: Test images, normal and anomalous.
        test_normal: Normal ones among them, or None where it is not known.
    """

    train: int
    test: int
    test_normal: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a data set holds as published.

    Attributes:
        layouts: Layouts it may be found in.
        categories: Names of all its categories.
        total: Images of the whole.
        per_category: Images of each category, where known.
    """

    layouts: frozenset[str]
    categories: frozenset[str]
    total: Counts
    per_category: Mapping[str, Counts] = field(default_factory=dict)


def _table(rows: str) -> dict[str, Counts]:
    """Lines of: category, train, test, test normal."""
    table = {}
    for row in rows.strip().splitlines():
        name, train, test, test_normal = row.split()
        table[name] = Counts(train=int(train), test=int(test), test_normal=int(test_normal))
    return table


_MVTEC_AD = _table("""
    bottle     209  83 20
    cable      224 150 58
    capsule    219 132 23
    carpet     280 117 28
    grid       264  78 21
    hazelnut   391 110 40
    leather    245 124 32
    metal_nut  220 115 22
    pill       267 167 26
    screw      320 160 41
    tile       230 117 33
    toothbrush  60  42 12
    transistor 213 100 60
    wood       247  79 19
    zipper     240 151 32
""")

_VISA = _table("""
    candle     900 200 100
    capsules   542 160  60
    cashew     450 150  50
    chewinggum 453 150  50
    fryum      450 150  50
    macaroni1  900 200 100
    macaroni2  900 200 100
    pcb1       904 200 100
    pcb2       901 200 100
    pcb3       905 201 101
    pcb4       904 201 101
    pipe_fryum 450 150  50
""")

_REAL_IAD = """
    audiojack bottle_cap button_battery end_cap eraser fire_hood mint mounts pcb phone_battery plastic_nut plastic_plug
    porcelain_doll regulator rolled_strip_base sim_card_set switch tape terminalblock toothbrush toy toy_brick
    transistor1 usb usb_adaptor u_block vcpill wooden_beads woodstick zipper
"""

_MPDD = "bracket_black bracket_brown bracket_white connector metal_plate tubes"

_MVTEC_LOCO = _table("""
    breakfast_box       351 275 102
    juice_bottle        335 330  94
    pushpins            372 310 138
    screw_bag           360 341 122
    splicing_connectors 354 312 119
""")

_MVTEC_3D = "bagel cable_gland carrot cookie dowel foam peach potato rope tire"

EXPECTED_COUNTS: dict[str, Published] = {
    "MVTec AD": Published(
        layouts=frozenset({"mvtec"}),
        categories=frozenset(_MVTEC_AD),
        total=Counts(train=3629, test=1725, test_normal=467),
        per_category=_MVTEC_AD,
    ),
    "VisA": Published(
        layouts=frozenset({"visa", "mvtec"}),
        categories=frozenset(_VISA),
        total=Counts(train=8659, test=2162, test_normal=962),
        per_category=_VISA,
    ),
    "Real-IAD": Published(
        layouts=frozenset({"real_iad"}),
        categories=frozenset(_REAL_IAD.split()),
        total=Counts(train=36465, test=114585, test_normal=63256),
    ),
    "MPDD": Published(
        layouts=frozenset({"mvtec"}),
        categories=frozenset(_MPDD.split()),
        total=Counts(train=888, test=458),
    ),
    "MVTec LOCO AD": Published(
        layouts=frozenset({"mvtec_loco"}),
        categories=frozenset(_MVTEC_LOCO),
        total=Counts(train=1772, test=1568, test_normal=575),
        per_category=_MVTEC_LOCO,
    ),
    "MVTec 3D-AD": Published(
        layouts=frozenset({"mvtec_3d"}),
        categories=frozenset(_MVTEC_3D.split()),
        total=Counts(train=2656, test=1197, test_normal=249),
    ),
}
"""Published data sets by name."""


def compare_with_published(catalog: Catalog) -> tuple[str, ...]:
    """Sentences on how a catalog agrees with the published data set whose categories it has, if there is one."""
    categories = set(catalog.categories)
    for name, published in EXPECTED_COUNTS.items():
        if catalog.layout in published.layouts and categories <= published.categories:
            return _compare(catalog, name, published)
    return ()


def _compare(catalog: Catalog, name: str, published: Published) -> tuple[str, ...]:
    differences = [
        f"{category}: {difference}, unlike the published {name}."
        for category in catalog.categories
        if category in published.per_category
        and (difference := _difference(catalog, category, published.per_category[category]))
    ]
    absent = sorted(published.categories - set(catalog.categories))
    if absent:
        differences.append(f"Not here of the {len(published.categories)} categories of {name}: {', '.join(absent)}.")
    elif total := _difference(catalog, None, published.total):
        differences.append(f"All categories together: {total}, unlike the published {name}.")
    if not differences:
        return (f"Matches the published {name}.",)
    matching = [
        category
        for category in catalog.categories
        if category in published.per_category and not _difference(catalog, category, published.per_category[category])
    ]
    agreeing = [f"Matches the published {name} in: {', '.join(matching)}."] if matching else []
    return (*agreeing, *differences)


def _difference(catalog: Catalog, category: str | None, expected: Counts) -> str:
    """What differs in a category or, with None, in the whole; empty if nothing does."""
    test = catalog.select(category=category, split="test")
    found = {
        "training images": (len(catalog.select(category=category, split="train")), expected.train),
        "test images": (len(test), expected.test),
        "normal test images": (sum(not record.is_anomalous for record in test), expected.test_normal),
    }
    return ", ".join(
        f"{here} {what} instead of {there}" for what, (here, there) in found.items() if there not in (None, here)
    )

"""Numbers with their nouns."""

import pytest

from muad.wording import counted


@pytest.mark.parametrize(
    ("count", "noun", "plural", "said"),
    [
        (1, "image", None, "1 image"),
        (0, "image", None, "0 images"),
        (2, "good image", None, "2 good images"),
        (1, "category", None, "1 category"),
        (3, "category", None, "3 categories"),
        (2, "day", None, "2 days"),
        (2, "such file", "files like it", "2 files like it"),
    ],
)
def test_a_number_and_its_noun_agree(count: int, noun: str, plural: str | None, said: str) -> None:
    assert counted(count, noun, plural) == said

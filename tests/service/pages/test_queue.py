"""The review queue asks about every part that needs a person, and with four eyes asks two of them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from muad.service.history import History, NewInspection, new_id, now
from muad.service.pages.queue import count_waiting, waiting_parts


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    memory = History(f"sqlite:///{tmp_path / 'history.sqlite'}")
    begin = now() - timedelta(hours=1)
    verdicts = ("pass", "review", "reject", "unknown product", "pass", "review")
    parts = []
    for number, verdict in enumerate(verdicts):
        at = begin + timedelta(minutes=number)
        parts.append(NewInspection(id=new_id(at), at=at, station="a", source="http", verdict=verdict))
    parts[4] = replace(parts[4], in_audit=True)
    memory.record(parts)
    yield memory
    memory.close()


def waiting(history: History, who: str = "Anna", *, four_eyes: bool = False) -> list[str]:
    return [part.verdict for part in waiting_parts(history, who, four_eyes, 10)]


def test_what_needs_a_person_waits_the_oldest_first(history: History) -> None:
    assert waiting(history) == ["review", "reject", "unknown product", "pass", "review"]
    assert count_waiting(history, four_eyes=False) == 5
    assert len(waiting_parts(history, "Anna", False, 2)) == 2


def test_a_word_takes_a_part_out_of_the_queue(history: History) -> None:
    first, *_ = waiting_parts(history, "Anna", False, 10)
    history.add_word(first.id, who="Anna", word="good")
    assert waiting(history) == ["reject", "unknown product", "pass", "review"]
    assert count_waiting(history, four_eyes=False) == 4


def test_with_four_eyes_a_part_waits_for_somebody_else_until_two_agree(history: History) -> None:
    first, *_ = waiting_parts(history, "Anna", True, 10)
    history.add_word(first.id, who="Anna", word="good")
    assert first.id not in {part.id for part in waiting_parts(history, "Anna", True, 10)}
    assert waiting_parts(history, "Jonas", True, 10)[0].id == first.id
    assert count_waiting(history, four_eyes=True) == 5
    history.add_word(first.id, who="Jonas", word="bad")
    assert waiting_parts(history, "Mia", True, 10)[0].id == first.id
    history.add_word(first.id, who="Mia", word="good")
    assert count_waiting(history, four_eyes=True) == 4

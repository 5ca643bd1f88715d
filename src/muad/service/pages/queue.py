"""The review queue: parts that need a person, the oldest first.

Everything that was stopped, and the audit sample: with words on all of them the observed rates are unbiased. A part
leaves the queue with a person's word; with four eyes when two people have said the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from muad.service.history import History, Inspection, InspectionFilter, Word, now

REVIEWED = ("review", "reject", "unknown product")
_WAITING = (  # one verdict each, so that an index gives them in the order of time
    *(InspectionFilter(verdicts=(verdict,), word="none") for verdict in REVIEWED),
    InspectionFilter(in_audit=True, word="none"),
)
MOST_COUNTED = 100
"""So many are counted; beyond that there are many."""
_SECOND_LOOK = timedelta(days=14)
"""How far back parts are looked for that one person has spoken of."""


def waiting_parts(history: History, who: str, four_eyes: bool, limit: int) -> list[Inspection]:
    """The oldest parts that wait for this person.

    Args:
        history: The station's.
        who: Their name; with four eyes nobody is asked twice about a part.
        four_eyes: Whether two people must agree.
        limit: At most so many.
    """
    found = {
        part.id: part for wanted in _WAITING for part in history.search(wanted, limit=limit, order="oldest").inspections
    }
    if four_eyes:
        for inspection_id, words in _spoken_of(history).items():
            if needs_second_look(words) and who not in {word.who for word in words}:
                found[inspection_id] = history.get(inspection_id)
    return sorted(found.values(), key=lambda part: (part.at, part.number))[:limit]


def count_waiting(history: History, four_eyes: bool) -> int:
    """How many parts wait for anybody, up to `MOST_COUNTED`."""
    return len(waiting_parts(history, "", four_eyes, MOST_COUNTED))


def needs_second_look(words: Iterable[Word]) -> bool:
    """Whether no two people have said the same of a part; what counts is the last word of each."""
    last = {word.who: word.word for word in words}
    said = list(last.values())
    return all(said.count(word) < 2 for word in said)


def _spoken_of(history: History) -> dict[str, list[Word]]:
    words: dict[str, list[Word]] = {}
    for word in history.stream_words(since=now() - _SECOND_LOOK):
        words.setdefault(word.inspection_id, []).append(word)
    return words

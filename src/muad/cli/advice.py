"""What to do next, at the end of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muad.cli.display import say


def say_what_next(run: Path, rows: Sequence[Mapping[str, Any]] = ()) -> None:
    """A few sentences on stderr on what to do next with a run; none if nothing presses.

    Args:
        run: Run folder.
        rows: What prediction just gave: rows of `results.csv`, or of `results.json`, which tell of regions too.
    """
    from muad.advice import advise
    from muad.errors import MuadError
    from muad.run_standing import run_standing

    try:
        sentences = advise(run_standing(run, rows=rows))
    except MuadError as error:  # the command's own work is done and must not end as a fault
        say(f"what to do next is not known: {error}")
        return
    if sentences:
        say("what to do next")
    for number, sentence in enumerate(sentences, start=1):
        say(f"  {number}. {sentence}")

"""What to do next, at the end of a command."""

from __future__ import annotations

import json
from pathlib import Path

from muad.cli.display import say


def say_what_next(run: Path, results: Path | None = None) -> None:
    """A few sentences on stderr on what to do next with a run; none if nothing presses.

    Args:
        run: Run folder or bundle.
        results: The `results.json` that prediction just wrote; None after anything else.
    """
    from muad.advice.sentences import advise
    from muad.advice.standing import of_bundle, run_standing
    from muad.bundles.editing import run_folder
    from muad.errors import MuadError

    try:
        rows = [] if results is None else json.loads(results.read_text(encoding="utf-8"))
        with run_folder(run) as folder:
            standing = run_standing(folder, rows=rows)
            sentences = advise(standing if folder == run else of_bundle(standing, run))
    except (MuadError, OSError, ValueError) as error:  # the command's own work is done and must not end as a fault
        say(f"what to do next is not known: {error}")
        return
    if sentences:
        say("what to do next")
    for number, sentence in enumerate(sentences, start=1):
        say(f"  {number}. {sentence}")

"""`OUT/comparison.json`: what a comparison is of and what was decided about it, so that the same command goes on.

What was measured and decided once (encoders, paces, numbers of steps, time spent) is read back and not decided anew: a
comparison that was interrupted ends as one that was not.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muad.comparison.entries import Entry
from muad.comparison.pace import Pace
from muad.errors import CheckpointError, ConfigError
from muad.runs.folder import make_folder, write_text

FILE = "comparison.json"
_FORMAT_VERSION = 1
_EXTENDABLE = ("detectors", "encoders", "seeds")  # without a budget, more of them change nothing that was done


@dataclass(slots=True)
class Plan:
    """What was decided so far.

    Attributes:
        out: Folder of the comparison.
        claim: What the comparison is of; another one is refused.
        entries: What is compared; empty before it was chosen.
        paces: By entry.
        steps: By entry, the length of its trainings.
        spent_s: Time spent by all calls before this one.
    """

    out: Path
    claim: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    paces: dict[str, Pace] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    spent_s: float = 0.0

    @property
    def able(self) -> list[Entry]:
        """The entries that can be trained here."""
        return [entry for entry in self.entries if entry.error is None]

    def save(self) -> None:
        """Write it down.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        values = {
            "format_version": _FORMAT_VERSION,
            "claim": self.claim,
            "entries": [dataclasses.asdict(entry) for entry in self.entries],
            "paces": {key: dataclasses.asdict(pace) for key, pace in self.paces.items()},
            "steps": self.steps,
            "spent_s": self.spent_s,
        }
        write_text(self.out / FILE, json.dumps(values, indent=1) + "\n")


def open_plan(out: Path, claim: dict[str, Any]) -> Plan:
    """The plan of a folder, as far as it was made before.

    Args:
        out: Folder of the comparison.
        claim: What it is to be of: data, protocol, budget and what is compared.

    Raises:
        ConfigError: The folder holds another comparison, or something else.
        CheckpointError: It cannot be written, or what it says cannot be read.
    """
    path = make_folder(out) / FILE
    if not path.is_file():
        if any(entry.name != "__pycache__" for entry in out.iterdir()):
            raise ConfigError(
                f"out must be an empty folder or hold this comparison, got {out}, which holds other files."
            )
        return Plan(out, claim)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version, before = values["format_version"], dict(values["claim"])
        plan = Plan(
            out,
            claim,
            entries=[Entry.from_json(entry) for entry in values["entries"]],
            paces={key: Pace(**pace) for key, pace in values["paces"].items()},
            steps={key: int(steps) for key, steps in values["steps"].items()},
            spent_s=float(values["spent_s"]),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{FILE} must be readable, got {path} ({error!r}). Name another folder.") from None
    if version != _FORMAT_VERSION:
        raise CheckpointError(f"{FILE} must have format version {_FORMAT_VERSION}, got {version} in {out}.")
    free = claim["budget_s"] is None and before.get("budget_s") is None
    for name, value in claim.items():
        if before.get(name) != value and not (free and name in _EXTENDABLE):
            raise ConfigError(
                f"out must be new or hold the same comparison, got {out}, whose {name} is {before.get(name)}, not "
                f"{value}. Name another folder."
            )
    if any(before.get(name) != claim[name] for name in ("detectors", "encoders")):
        plan.entries = []  # chosen anew; what is among them again keeps its pace and length
    return plan

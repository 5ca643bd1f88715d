"""What inspections somebody asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal, get_args

from muad.errors import ConfigError
from muad.service.history.record import OUTCOMES, Inspection, Saying, require_text, require_time

AskedWord = Saying | Literal["any", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionFilter:
    """What inspections are asked for; what is None is not asked about.

    Attributes:
        since: At or after it.
        until: Before it.
        station: Where.
        judged_as: The product whose limits it was judged by.
        verdicts: One of these; none for any.
        serial: The part's, exactly.
        lot: Exactly.
        model_id: The model that judged it.
        score_from: At least this score.
        score_to: At most this score.
        word: `good` or `bad` by the last person's word, `any` for those with a word, `none` for those without.
        in_audit: Whether the audit sample asks about it.
        source: By which way it came.
    """

    since: datetime | None = None
    until: datetime | None = None
    station: str | None = None
    judged_as: str | None = None
    verdicts: tuple[str, ...] = ()
    serial: str | None = None
    lot: str | None = None
    model_id: str | None = None
    score_from: float | None = None
    score_to: float | None = None
    word: AskedWord | None = None
    in_audit: bool | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no inspection can be.

        Raises:
            ConfigError: A verdict or word that does not exist, a time without zone, text that cannot be kept.
        """
        require_time("since", self.since)
        require_time("until", self.until)
        for name in ("station", "judged_as", "serial", "lot", "model_id", "source"):
            require_text(name, getattr(self, name))
        for verdict in self.verdicts:
            if verdict not in OUTCOMES:
                raise ConfigError(f"verdict must be one of {', '.join(OUTCOMES)}, got {verdict[:40]!r}.")
        if self.word is not None and self.word not in (words := (*get_args(Saying), "any", "none")):
            raise ConfigError(f"word must be one of {', '.join(words)}, got {self.word[:40]!r}.")
        for name in ("score_from", "score_to"):
            score = getattr(self, name)
            if score is not None and not math.isfinite(score):
                raise ConfigError(f"{name} must be a finite number, got {score}.")

    @property
    def asks(self) -> bool:
        """Whether it asks for anything less than all."""
        return any(getattr(self, field.name) != field.default for field in fields(self))

    def takes(self, inspection: Inspection) -> bool:
        """Whether it asks for this inspection: what the database says, for one that is at hand."""
        exact = ("station", "judged_as", "serial", "lot", "model_id", "in_audit", "source")
        if any(getattr(self, name) not in (None, getattr(inspection, name)) for name in exact):
            return False
        if self.verdicts and inspection.verdict not in self.verdicts:
            return False
        if self.since is not None and inspection.at < self.since:
            return False
        if self.until is not None and inspection.at >= self.until:
            return False
        return self._takes_score(inspection.score) and self._takes_word(inspection.word)

    def _takes_score(self, score: float | None) -> bool:
        if self.score_from is None and self.score_to is None:
            return True
        if score is None:
            return False
        return (self.score_from is None or score >= self.score_from) and (
            self.score_to is None or score <= self.score_to
        )

    def _takes_word(self, word: str | None) -> bool:
        if self.word is None:
            return True
        if self.word == "any":
            return word is not None
        return word is None if self.word == "none" else word == self.word

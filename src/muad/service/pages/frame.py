"""What every page has around it: the station it belongs to, who asks, what is wrong just now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta, tzinfo
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from muad.images.reading import ValueRange
from muad.service.access.roles import Person
from muad.service.gateways.base import InletState
from muad.service.gateways.spool import SpoolState
from muad.service.history import now
from muad.service.pages.language import Language
from muad.service.pages.memory import Remembered
from muad.service.pages.pictures import Shown
from muad.service.pages.queue import MOST_COUNTED, count_waiting
from muad.service.pages.rendering import SIGNS, Renderer
from muad.service.settings import PagesSettings
from muad.service.station import Station

_LATELY: Final = timedelta(days=30)
_KINDS = 20
_GOOD_S = 5.0  # how long a count is good for the head of a page
_AWAY_S = 10  # a far end that is back sooner is not worth a line
_NEARLY_FULL = 0.8  # of the queue: beyond it requests will soon be refused


class Shell:
    """The pages of one station.

    Args:
        station: Whose.
    """

    def __init__(self, station: Station) -> None:
        self.station = station
        self.remembered = Remembered()
        self.render = Renderer(station.settings.shifts.time_zone())
        self.shown = Shown(station.pictures, self._value_range)

    @property
    def zone(self) -> tzinfo | None:
        """Of the station's clocks; None for the machine's."""
        return self.render.zone

    @property
    def settings(self) -> PagesSettings:
        """`[pages]` of station.toml."""
        return self.station.settings.pages

    def products(self) -> tuple[str, ...]:
        """Names of the products that the active model knows."""
        return tuple(sorted(self.station.models.active.predictor.categories))

    def defect_types(self) -> list[str]:
        """Kinds of defect that people have named lately, the most frequent first."""

        def find() -> list[str]:
            words = self.station.history.stream_words(since=now() - _LATELY)
            named = Counter(word.defect_type for word in words if word.defect_type)
            return [kind for kind, _ in named.most_common(_KINDS)]

        return self.remembered.get(("defect types", self.station.feed.changes), _GOOD_S, find)

    def _drifts(self) -> int:
        """How many signals of drift stand, as of a moment ago."""
        history = self.station.history
        key = ("drifts", self.station.feed.changes)
        return self.remembered.get(key, _GOOD_S, lambda: len(history.signals(open_only=True)))

    def _waiting(self) -> int:
        """How many parts wait for a person, as of a moment ago."""
        history, four_eyes = self.station.history, self.settings.four_eyes
        key = ("waiting", self.station.feed.changes)
        return self.remembered.get(key, _GOOD_S, lambda: count_waiting(history, four_eyes))

    def language(self, request: Request) -> Language:
        """The reader's."""
        return self.render.language(request)

    def page(
        self,
        request: Request,
        template: str,
        person: Person,
        name: str,
        *,
        status: int = 200,
        **values: Any,  # noqa: ANN401  whatever the template shows
    ) -> HTMLResponse:
        """A whole page.

        Args:
            request: What is answered.
            template: Its file.
            person: Who asks.
            name: Which of the pages it is, for the navigation.
            status: Of HTTP.
            values: What it shows.
        """
        waiting = self._waiting()
        return self.render(
            request,
            template,
            person=person,
            status=status,
            page=name,
            waiting=waiting,
            drifts=self._drifts(),
            many_waiting=waiting >= MOST_COUNTED,
            station_name=self.station.settings.service.name,
            problems=() if name == "live" else self.problems(request),
            shown_verdicts=tuple(SIGNS),
            **values,
        )

    def piece(
        self,
        request: Request,
        template: str,
        person: Person,
        *,
        status: int = 200,
        **values: Any,  # noqa: ANN401  whatever the template shows
    ) -> HTMLResponse:
        """A part of a page, without its frame."""
        return self.render(request, template, person=person, status=status, shown_verdicts=tuple(SIGNS), **values)

    def problems(self, request: Request) -> list[str]:
        """What is wrong with the station just now, in sentences."""
        t, waiting, most = self.language(request), len(self.station.judge.waiting), self.station.settings.judging.queue
        found = [t("live.trouble", what=what) for what in self.station.troubles()]
        if waiting >= _NEARLY_FULL * most:
            found.append(t("live.queue", count=t.whole(waiting), most=t.whole(most)))
        ways: tuple[tuple[str, Sequence[SpoolState | InletState]], ...] = (
            ("live.outlet", self.station.gateways.outlets),
            ("live.inlet", self.station.gateways.inlets),
        )
        for key, states in ways:
            for state in states:
                if state.away_for_s is not None and state.away_for_s >= _AWAY_S:
                    away = t.span(timedelta(seconds=state.away_for_s))
                    found.append(t(key, name=state.name, count=t.whole(state.waiting), span=away))
        return found

    def _value_range(self, model_id: str | None) -> ValueRange | None:
        """What a model takes for black and white; of one that is not at work any more, what the active one does."""
        for model in (self.station.models.active, self.station.models.shadow):
            if model is not None and model.id == model_id:
                return model.predictor.value_range
        return self.station.models.active.predictor.value_range


def shell_of(request: Request) -> Shell:
    """The pages of the station that answers."""
    shell: Shell = request.app.state.pages
    return shell

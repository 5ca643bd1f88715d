"""What Prometheus is told: times by stage, the queue, verdicts by product, quantiles of scores, the model, the disk."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from muad.service.history.disk import Disk
from muad.service.judging.job import Job

if TYPE_CHECKING:
    from muad.service.judging.judge import Judge
    from muad.service.judging.models import Models
    from muad.service.judging.shadow import Shadow

QUANTILES = (0.5, 0.9, 0.99)
WINDOW = 1000
"""How many of a product's last scores quantiles are taken of."""
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts and times of one process of a station.

    Attributes:
        registry: Where others add what they count.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.refused = Counter(
            "muad_refused", "Requests for an inspection that were not accepted", ["reason"], registry=self.registry
        )
        self._stages = Histogram(
            "muad_stage_seconds",
            "Time of an inspection by stage; total is from its acceptance to its record",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._verdicts = Counter(
            "muad_inspections", "Recorded inspections", ["verdict", "product"], registry=self.registry
        )
        self._scores: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._lock = threading.Lock()

    def see(self, jobs: Sequence[Job]) -> None:
        """Count what was just recorded."""
        for job in jobs:
            inspection = job.done.result()
            for stage, spent in job.times.items():
                self._stages.labels(stage).observe(spent / 1000)
            product = inspection.judged_as or "none"
            self._verdicts.labels(inspection.verdict, product).inc()
            if inspection.score is not None:
                with self._lock:
                    self._scores[product].append(inspection.score)

    def watch(self, judge: Judge, models: Models, shadow: Shadow, disk: Disk) -> None:
        """Tell, whenever asked, how these are at that time."""
        self.registry.register(_State(self, judge, models, shadow, disk))

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self.registry)

    def quantiles(self) -> dict[str, list[float]]:
        """By product, quantiles of its last scores."""
        with self._lock:
            scores = {product: list(own) for product, own in self._scores.items()}
        return {product: np.quantile(own, QUANTILES).tolist() for product, own in scores.items()}


class _State(Collector):
    """What is looked up when Prometheus asks."""

    def __init__(self, metrics: Metrics, judge: Judge, models: Models, shadow: Shadow, disk: Disk) -> None:
        self._metrics, self._judge, self._models, self._shadow, self._disk = metrics, judge, models, shadow, disk

    def describe(self) -> Iterator[Metric]:
        """Nothing ahead of time."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Gauges as they are now."""
        room = self._disk.room()
        yield _gauge("muad_waiting", "Photographs that wait to be judged", len(self._judge.waiting))
        yield _gauge("muad_waiting_most", "Photographs that may wait", self._judge.waiting.most)
        yield _gauge("muad_shadow_waiting", "Photographs that wait for the model in shadow", len(self._shadow))
        yield _counter("muad_shadow_left_out", "Photographs the model in shadow had no time for", self._shadow.left_out)
        yield _counter("muad_listener_faults", "Faults of what follows an inspection", self._judge.faults)
        yield _gauge("muad_disk_free_bytes", "Room on the station's disk", room.free)
        yield _gauge("muad_disk_reserve_bytes", "Room below which nothing is recorded", room.reserve)
        scores = GaugeMetricFamily(
            "muad_score", f"Quantiles of the last {WINDOW} scores", labels=["product", "quantile"]
        )
        for product, values in self._metrics.quantiles().items():
            for quantile, value in zip(QUANTILES, values, strict=True):
                scores.add_metric([product, f"{quantile:g}"], value)
        yield scores
        info = InfoMetricFamily("muad_model", "Models at work", labels=["state"])
        for state, model in (("active", self._models.active), ("shadow", self._models.shadow)):
            if model is not None:
                facts = model.facts
                known = {"id": facts.id, "name": facts.name, "detector": facts.detector, "muad": facts.muad}
                info.add_metric([state], known)
        yield info


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)


def _counter(name: str, about: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, about, value=value)

"""What a run says of one image, and what that looks like."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muad.capture import Capture, Reason
from muad.decisions.limits import CategoryLimits, Verdict
from muad.decisions.regions import Region, draw_outlines, draw_place, find_regions, highest_place
from muad.overlays import Caption, draw_overlay, with_band

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from muad.decisions.object_scores import Largest

STOPPED: tuple[Verdict, ...] = ("reject", "unknown product", "review")


@dataclass(frozen=True, kw_only=True)
class ImagePrediction:
    """What a run says of one image.

    Attributes:
        path: The file, if it came from one.
        category: The category it was judged as: the one given, else the one recognised; None if neither is known.
        recognised_category: The trained category it looks like, or `unknown product` if it looks like none; None if the
            run recognises no products.
        recognised_p_value: How usual a photograph of that category is that looks like this one, in (0, 1], or of the
            nearest where it looks like none; None if the run recognises no products.
        notice: What a person should know, such as that the given and the recognised category differ; or None.
        score: Anomaly score, unbounded; None if the image could not be read.
        anomaly_map: Anomaly per pixel of the original image, `[H0, W0]` float32; NaN where a crop hid it from the
            detector; None if the image could not be read.
        image: The original image as RGB, or None.
        error: Why there is no score, or None.
        verdict: `pass`, `review` or `reject` by the limits of its category, None without them; `unknown product`, with
            or without limits, where no category was given and none fits. Never `pass` where there are reasons.
        reasons: Why a person has to look at the photograph whatever its score: it shows nothing, is too dark, too
            bright or blurred, or looks like another product than the one given.
        capture: How the photograph was taken, such as its brightness and sharpness; None if it could not be read.
        p_value: How usual the score is for a good image of its category, in (0, 1]; None without calibration.
        limits: Those it was judged by; None without.
        map_limit: The map value above which a place of such an image is anomalous, or None.
        colour_scale: Map values drawn as nothing and as fully anomalous, or None.
        largest: The largest values of the detector's own map, for the score of a part of several views; None where that
            is not asked for.
    """

    path: Path | None
    category: str | None
    recognised_category: str | None = None
    recognised_p_value: float | None = None
    notice: str | None = None
    score: float | None = None
    anomaly_map: Float[np.ndarray, "H0 W0"] | None = None
    image: UInt8[np.ndarray, "H0 W0 3"] | None = None
    error: str | None = None
    verdict: Verdict | None = None
    p_value: float | None = None
    reasons: tuple[Reason, ...] = ()
    capture: Capture | None = None
    limits: CategoryLimits | None = None
    map_limit: float | None = None
    colour_scale: tuple[float, float] | None = None
    largest: Largest | None = None

    @property
    def reason(self) -> str | None:
        """All reasons in words, with their figures; None without one."""
        return "; ".join(map(str, self.reasons)) or None

    @property
    def stopped(self) -> bool:
        """Whether the verdict keeps the part from going on."""
        return self.verdict in STOPPED

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Where the map is above its limit, the highest peak first; none without a map or a limit."""
        if self.anomaly_map is None or self.map_limit is None:
            return ()
        return find_regions(self.anomaly_map, self.map_limit)

    @cached_property
    def highest(self) -> Region | None:
        """The place with the largest value of the map, be it above the map limit or not; None without a map."""
        if self.regions:
            return self.regions[0]
        return None if self.anomaly_map is None else highest_place(self.anomaly_map)

    def overlay(self, *, band: bool = True) -> UInt8[np.ndarray, "H W 3"]:
        """The photograph with anomalous places coloured and outlined, and below it what that means.

        Regions above the map limit have a solid outline. A part that is stopped without one has its highest place
        outlined in dashes, so that it always shows where.

        Args:
            band: Whether verdict, score, limits, product and scale are written below the photograph, which stays pixel
                for pixel at the top left.

        Raises:
            ValueError: There is no image, see `error`.
        """
        if self.image is None or self.anomaly_map is None or self.score is None:
            raise ValueError(f"there must be an image to draw on, got none: {self.error}")
        scale = self.colour_scale or (float(np.nanmin(self.anomaly_map)), float(np.nanmax(self.anomaly_map)))
        picture = draw_outlines(draw_overlay(self.image, self.anomaly_map, scale), self.regions)
        dashed = self.highest if self.stopped and not self.regions else None
        if dashed is not None:
            picture = draw_place(picture, dashed)
        if not band:
            return picture
        limits = self.limits or CategoryLimits()
        caption = Caption(
            verdict=self.verdict,
            product=self.category,
            score=self.score,
            review=limits.review,
            reject=limits.reject,
            notes=self._notes(),
            place=self._where(),
            scale=scale,
            map_limit=self.map_limit,
            outlined=bool(self.regions),
            dashed=dashed is not None,
        )
        return with_band(picture, caption)

    def to_dict(self) -> dict[str, Any]:
        """What is known of the image as plain values, as in `results.json`; without image and map."""
        limits = self.limits or CategoryLimits()
        height, width = self.image.shape[:2] if self.image is not None else (None, None)
        return {
            "path": None if self.path is None else self.path.as_posix(),
            "category": self.category,
            "recognised": self.recognised_category,
            "score": self.score,
            "verdict": self.verdict,
            "reason": self.reason,
            "reasons": [reason.to_json() for reason in self.reasons],
            "p_value": self.p_value,
            "review_above": limits.review,
            "reject_above": limits.reject,
            "width": width,
            "height": height,
            "limit": self.map_limit,
            "regions": [region.to_json() for region in self.regions],
            "highest": None if self.highest is None else self.highest.to_json(),
            "notice": self.notice,
            "error": self.error,
        }

    def _notes(self) -> list[str]:
        """Reasons and notice, without what would be said twice."""
        notice = self.notice or ""
        notes = [str(reason) for reason in self.reasons if reason.what not in notice]
        return [*notes, notice] if notice else notes

    def _where(self) -> str:
        """Where the map is highest, in words."""
        place = self.highest
        if place is None:
            return "the map is flat"
        where = f"{place.peak:.4g} at x {place.peak_at[0]}, y {place.peak_at[1]}"
        if self.regions:
            count = len(self.regions)
            return (
                f"{count} region{'' if count == 1 else 's'} above the map limit {self.map_limit:.4g}, highest {where}"
            )
        return f"highest place {where}" + ("" if self.map_limit is None else f", map limit {self.map_limit:.4g}")

"""Where a predictor's detector comes from: a run folder, whose network only the bench computes, or a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from muad.bench import bench
from muad.bundles.archive import BundleError
from muad.bundles.bundle import Bundle, is_bundle, open_bundle
from muad.bundles.editing import faults_of, told_of
from muad.decisions.limits import CALIBRATION_FILE, LIMITS_FILE
from muad.errors import ConfigError
from muad.images.roi import InterestMasks
from muad.recognition.learning import Recogniser
from muad.runs.folder import ROI_FOLDER, category_folder, read_run, unfinished
from muad.runtime.choice import Choice, choose, network_scorer, recogniser_session
from muad.runtime.golden import require_golden
from muad.runtime.product_network import ProductNetwork

if TYPE_CHECKING:
    from muad.images.preprocessing import Preprocessing
    from muad.runtime.computing import Acceleration
    from muad.runtime.views import Scorer
    from muad.types import DeviceName


class Source(Protocol):
    """A trained run, wherever it is kept.

    Attributes:
        folder: Its small files, as a run folder has them.
        many_threads: Whether its scorers may be used by several threads at once.
    """

    folder: Path
    many_threads: bool

    def scorer(self, category: str | None) -> Scorer:
        """The detector of a category, or that of all."""

    def recogniser(self) -> Recogniser | None:
        """What tells products apart; None where nothing was learned."""

    def refresh(self) -> None:
        """Bring limits in `folder` up to date."""

    def early(self) -> str | None:
        """A sentence that says that its training was not finished; None if it was."""


def open_source(
    run: Path,
    *,
    device: DeviceName = "auto",
    encoder_weights: Path | None = None,
    acceleration: Acceleration | None = None,
    batch_size: int = 16,
    note: Callable[[str], None] = lambda _: None,
) -> Source:
    """What a path holds: of a folder a run, of a file a bundle.

    Args:
        run: Run folder or bundle.
        device: Where to compute.
        encoder_weights: Where the encoder's file lies now; of no use to a bundle, which holds it.
        acceleration: Backend and precision; None for what the run was trained in, or what is fastest for the bundle.
        batch_size: How many images usually come together.
        note: Called with sentences the user should see.

    Raises:
        CheckpointError: Neither is there, or it cannot be used.
        ConfigError: The runtime that is asked for is not here.
    """
    if is_bundle(run):
        if encoder_weights is not None:
            raise ConfigError(
                f"encoder_weights must be left out for a bundle, which holds them, got {encoder_weights}."
            )
        return BundleSource(open_bundle(run), device, acceleration, note)
    return RunSource(run, device, encoder_weights, acceleration, batch_size, note)


def whole_preprocessing(bundle: Bundle) -> Preprocessing:
    """How a bundle's photographs become views, regions of interest included.

    Raises:
        DataError: A region's mask cannot be read.
    """
    plain, masks = bundle.manifest.preprocessing.as_preprocessing(), bundle.folder / ROI_FOLDER
    return dataclasses.replace(plain, interest=InterestMasks(masks)) if masks.is_dir() else plain


class RunSource:
    """A run folder."""

    many_threads = False  # torch modules keep what they computed last

    def __init__(
        self,
        run: Path,
        device: DeviceName,
        weights: Path | None,
        acceleration: Acceleration | None,
        batch_size: int,
        note: Callable[[str], None],
    ) -> None:
        self.folder = run
        self._device, self._weights, self._acceleration = device, weights, acceleration
        self._batch_size, self._note = batch_size, note

    def scorer(self, category: str | None) -> Scorer:
        """The detector of a category, or that of all."""
        folder = self.folder if category is None else category_folder(self.folder, category)
        found: Scorer = bench("checkpoints.scorers").load_scorer(
            folder, self._device, self._weights, self._acceleration, batch_size=self._batch_size, note=self._note
        )
        return found

    def recogniser(self) -> Recogniser | None:
        """What tells products apart."""
        return Recogniser.of_run(self.folder, self._device, self._note)

    def refresh(self) -> None:
        """Nothing: the folder itself is looked at."""

    def early(self) -> str | None:
        """How far its training came."""
        return unfinished(self.folder)


class BundleSource:
    """A bundle, computed by a runtime of the line."""

    many_threads = True

    def __init__(
        self, bundle: Bundle, device: DeviceName, acceleration: Acceleration | None, told: Callable[[str], None]
    ) -> None:
        self.bundle, self.folder = bundle, bundle.folder
        self._device = device
        self._note = note = told_of(bundle.path, bundle.folder, told)
        with faults_of(bundle.path, bundle.folder):
            self._preprocessing = preprocessing = whole_preprocessing(bundle)
        self.choice: Choice = choose(bundle, acceleration, device, preprocessing, note)

    def scorer(self, category: str | None) -> Scorer:
        """The detector of a category, or that of all."""
        network = category or ""
        made = network_scorer(self.bundle, network, self.choice, self._device, self._preprocessing)
        require_golden(made, self.bundle, network, self.choice.precision, self._note)
        return made

    def recogniser(self) -> Recogniser | None:
        """What tells products apart."""
        facts = self.bundle.manifest.recogniser
        if facts is None:
            return None

        def network() -> ProductNetwork:
            return ProductNetwork(recogniser_session(self.bundle, self.choice, self._device), facts)

        return Recogniser.of_run(self.folder, self._device, self._note, network)

    def refresh(self) -> None:
        """Limits that were changed in the file; those in force stay where it cannot be used now."""
        try:
            self.bundle.renew((LIMITS_FILE, CALIBRATION_FILE))
        except BundleError as error:
            self._note(f"limits stay as they were, because the bundle cannot be read anew: {error}")

    def early(self) -> str | None:
        """Whether its training was finished."""
        if read_run(self.folder).get("finished", False) or "imported_from" in read_run(self.folder):
            return None
        return "training was not finished when this bundle was made, so scores will differ from those of a later one"

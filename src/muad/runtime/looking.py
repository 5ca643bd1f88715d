"""Before a detector sees an image: it is read, measured, cut into views, recognised and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from muad.capture import NOT_CHECKED, Capture, Reason, content_reasons, measure
from muad.errors import ConfigError, DataError
from muad.images.reading import ImageBytes, has_pages, image_to_rgb, read_image, values_to_rgb
from muad.images.senses import beside
from muad.recognition import UNKNOWN_PRODUCT, Recognition, shrink
from muad.runtime.prediction import ImagePrediction
from muad.runtime.views import ImageViews, view_image

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from muad.capture.limits import CaptureLimits
    from muad.images.preprocessing import Preprocessing
    from muad.images.reading import ValueRange
    from muad.recognition.learning import Recogniser

Channels = Literal["rgb", "bgr"]
ImageLike = Path | str | ImageBytes | np.ndarray | Image.Image


@dataclass(frozen=True, slots=True)
class Photograph:
    """An image, and what it shows: of a stream, each may show something else.

    Attributes:
        image: A path, an array, a PIL image, or a file in memory.
        category: What it shows; None where that is not known.
        views: How many photographs show the same part, where its score is asked for; 0 for a part by itself.
    """

    image: ImageLike
    category: str | None = None
    views: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An image as `Predictor.look` has seen it, for `Predictor.judge`.

    Attributes:
        prediction: What is known so far; the reason why it cannot be read, where it cannot.
        size: Height and width of the image; None where it cannot be read.
        image: What the run looks at, as long as its views depend on what is yet to be recognised.
        photograph: Its colour, by which it is checked how it was taken; None where it cannot be read.
        views: None where it cannot be read, and as long as they depend on that.
        small: What it is recognised by.
        judged_as: The category by whose detector or region it is judged.
        captured: How it was taken.
        views_of_part: How many photographs show the same part, where its score is asked for.
    """

    prediction: ImagePrediction
    size: tuple[int, int] | None = None
    image: UInt8[np.ndarray, "H W c"] | None = None
    photograph: UInt8[np.ndarray, "H W 3"] | None = None
    views: ImageViews | None = None
    small: UInt8[np.ndarray, "h w 3"] | None = None
    judged_as: str | None = None
    captured: Capture | None = None
    views_of_part: int = 0


class Looker:
    """Reads photographs as a run wants them, recognises and checks them: everything but the work of its detector.

    Args:
        categories: Categories the run was trained on.
        preprocessing: How its detectors see an image.
        recogniser: Tells its products; None for a run that knows none.
        capture: How good photographs of them are taken; None where that was not learned.
        per_category: Whether it has a detector for each category.
        computing: Held while the recogniser computes.
        note: Called with sentences the user should see.
    """

    def __init__(
        self,
        categories: tuple[str, ...],
        preprocessing: Preprocessing,
        recogniser: Recogniser | None,
        capture: CaptureLimits | None,
        *,
        per_category: bool,
        computing: AbstractContextManager[object],
        note: Callable[[str], None],
    ) -> None:
        self.categories, self.preprocessing, self._recogniser = categories, preprocessing, recogniser
        self._capture, self._per_category, self._computing, self._note = capture, per_category, computing, note
        self._noted_pages = False
        if capture is None and categories:
            note(NOT_CHECKED)

    def look(
        self, image: ImageLike | Photograph, category: str | None, channels: Channels, *, keep_image: bool = True
    ) -> Look:
        """An image read, measured and cut into views; see `Predictor.look`."""
        views = 0
        if isinstance(image, Photograph):
            category, views = category if image.category is None else image.category, image.views
            image = image.image
        require_order(channels)
        path, preprocessing = Path(image) if isinstance(image, (str, Path)) else None, self.preprocessing
        category = self.category_of(path, category)
        try:
            if isinstance(image, np.ndarray) and channels == "bgr" and image.ndim == 3:
                image = np.ascontiguousarray(image[..., ::-1])
            file = image if isinstance(image, ImageBytes) else path
            if file is None and not preprocessing.senses.is_colour_alone:
                raise DataError(
                    f"image must be a path for a run that looks at {' and '.join(preprocessing.senses.names)}, got "
                    f"{type(image).__name__}. The other files are found beside it."
                )
            pixels = preprocessing.read(file) if file is not None else as_rgb(image, preprocessing.value_range)
            photograph = pixels if path is None else self._photograph(path, pixels)
        except DataError as error:
            return Look(prediction=ImagePrediction(path=path, category=category, error=str(error)))
        plain = preprocessing.senses.is_colour_alone  # points are no image to Pillow
        if plain and path is not None and not self._noted_pages and has_pages(path):
            self._noted_pages = True
            self._note(f"several pages in image {path}: the first is read, here and in others")
        seen = Look(
            prediction=ImagePrediction(path=path, category=category, image=photograph if keep_image else None),
            size=(pixels.shape[0], pixels.shape[1]),
            image=pixels,
            photograph=photograph,
            small=shrink(photograph) if self._recogniser is not None else None,
            judged_as=category,
            views_of_part=views,
        )
        # Here, in a thread, unless the region of interest is that of a category nobody named.
        return self._viewed(seen) if category is not None or preprocessing.interest is None else seen

    def recognised(self, looks: Sequence[Look]) -> list[Look]:
        """Images that were looked at, each with what it shows, in views, and with the reasons why it must not pass."""
        return [self._checked(self._viewed(look)) for look in self._named(looks)]

    def category_of(self, path: Path | None, category: str | None) -> str | None:
        """What an image is said to show; see `Predictor.category_of`."""
        self.require_known(category)
        if category is None and len(self.categories) == 1:
            category = self.categories[0]
        if category is None and path is not None:
            folders = path.absolute().parent.parts
            category = next((name for name in reversed(folders) if name in self.categories), None)
        needed = self._per_category or self.preprocessing.interest is not None
        if category is None and needed and self._recogniser is None:
            own = "detector" if self._per_category else "region of interest"
            raise ConfigError(
                f"category must be given for {path or 'an array'}, got none: this run has one {own} per "
                f"category. Name one of {', '.join(self.categories)}, put the image in a folder of that name, or learn "
                "to recognise them with muad.learn_products."
            )
        return category

    def require_known(self, category: str | None) -> None:
        """Refuse a category that the run was not trained on.

        Raises:
            ConfigError: It was not.
        """
        if category is not None and self.categories and category not in self.categories:
            raise ConfigError(f"category must be one of {', '.join(self.categories)}, got {category!r}.")

    def _named(self, group: Sequence[Look]) -> list[Look]:
        """The same images, each with what it looks like; what nobody named is judged as that."""
        small = [seen.small for seen in group if seen.small is not None]
        if self._recogniser is None or not small:
            return list(group)
        given = [seen.prediction.category for seen in group if seen.small is not None]
        with self._computing:
            found = iter(self._recogniser.recognise(small, given))
        return [seen if seen.small is None else named(seen, next(found)) for seen in group]

    def _photograph(self, path: Path, pixels: UInt8[np.ndarray, "H W c"]) -> UInt8[np.ndarray, "H W 3"]:
        """The colour of a part whatever the run looks at: products are recognised and captures checked by it."""
        if self.preprocessing.senses.is_colour_alone:
            return pixels
        return read_image(beside(path, "colour"), self.preprocessing.value_range)

    def _viewed(self, seen: Look) -> Look:
        """The same image with its views, or with the reason why it has none."""
        found = seen.prediction
        if seen.views is not None or seen.image is None or seen.photograph is None:
            return seen
        name = f"image {found.path}" if found.path is not None else "image"
        try:
            views = view_image(self.preprocessing, seen.image, name, seen.judged_as)
        except DataError as error:
            return Look(prediction=ImagePrediction(path=found.path, category=found.category, error=str(error)))
        interest = self.preprocessing.interest
        inspected = None if interest is None else interest.mask(seen.judged_as, views.size, name)
        captured = measure(seen.photograph, inspected)
        return dataclasses.replace(seen, image=None, photograph=None, views=views, captured=captured)

    def _checked(self, seen: Look) -> Look:
        """The same image with the reasons why it must not pass, before those of the product it looks like."""
        if seen.captured is None:
            return seen
        if self._capture is None:
            own = content_reasons(seen.captured)
        else:
            own = self._capture.reasons(seen.prediction.category, seen.captured)
        reasons = (*own, *seen.prediction.reasons)
        told = dataclasses.replace(seen.prediction, reasons=reasons, capture=seen.captured)
        return dataclasses.replace(seen, prediction=told)


def named(look: Look, found: Recognition) -> Look:
    """An image with what it looks like; a given category stays, and is questioned if it looks like something else."""
    given, notice, reasons = look.prediction.category, None, look.prediction.reasons
    if given is not None and given != found.category:
        notice = f"given as {given}, looks like {found.category} (p = {found.p_value:.2g})"
        reasons += (Reason(what=f"looks like {found.category}", quantity="p-value", value=found.p_value),)
    elif found.is_unknown:
        notice = f"{UNKNOWN_PRODUCT}: nearest is {found.nearest} (p = {found.p_value:.2g})"
    category = found.nearest if given is None and not found.is_unknown else given
    told = dataclasses.replace(
        look.prediction,
        category=category,
        recognised_category=found.category,
        recognised_p_value=found.p_value,
        notice=notice,
        reasons=reasons,
    )
    # Of an unknown product there is still a map: by the detector of what it resembles most, or told that it is that.
    judged_as = given or found.nearest
    views = None if look.views is None else dataclasses.replace(look.views, category=judged_as)
    return dataclasses.replace(look, prediction=told, views=views, judged_as=judged_as)


def as_rgb(item: object, value_range: ValueRange | None) -> UInt8[np.ndarray, "H W 3"]:
    """An image already in memory as uint8 RGB; of other types than uint8 where the run has a value range.

    Raises:
        DataError: An array of another type or shape, whose range would have to be guessed, or an image that is damaged.
    """
    if isinstance(item, Image.Image):
        try:
            return image_to_rgb(item, "PIL image")
        except (OSError, SyntaxError, ValueError) as error:  # decoded only now, from a file that may be damaged
            raise DataError(f"PIL image must be a whole image, got a damaged one ({error}). Replace it.") from None
    if isinstance(item, np.ndarray) and item.size and (item.ndim == 2 or (item.ndim == 3 and item.shape[2] == 3)):
        if item.dtype == np.uint8:
            return np.repeat(item[..., None], 3, axis=2) if item.ndim == 2 else item
        if value_range is not None and item.dtype.kind in "uif":
            return values_to_rgb(item, value_range, "image")
    kind = f"{item.dtype} array of shape {item.shape}" if isinstance(item, np.ndarray) else type(item).__name__
    raise DataError(f"image must be a path, a PIL image or a uint8 array [H, W, 3] or [H, W], got {kind}.")


def require_order(channels: Channels) -> None:
    """Refuse an order of channels that is none.

    Raises:
        ConfigError: It is none.
    """
    if channels not in get_args(Channels):
        raise ConfigError(f"channels must be rgb or bgr, got {channels!r}.")

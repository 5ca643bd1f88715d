"""Text on pictures, in any script a font can be found for."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    Font = FreeTypeFont | ImageFont.ImageFont

# DejaVu Sans, regular and bold: Latin, Greek, Cyrillic.
_OWN = tuple(str(Path(__file__).with_name("fonts") / name) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"))
# Of the system, for scripts that the font of the package lacks; the first that is there and has the character.
_SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "msyh.ttc", "msgothic.ttc", "malgun.ttf", "PingFang.ttc", "Arial Unicode.ttf"),
    *("NotoSans-Regular.ttf", "NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf", "arial.ttf"),
    *("NotoSansThai-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "wqy-zenhei.ttc", "unifont.ttf"),
)
_NO_CHARACTER = "\uffff"  # no font has it, so it is drawn as what is missing


def text_width(text: str, size: int, *, bold: bool = False) -> float:
    """Width of a line in pixels."""
    return sum(_font(place, size).getlength(part) for place, part in _runs(text, bold))


def draw_text(
    draw: ImageDraw, at: tuple[float, float], text: str, size: int, fill: tuple[int, int, int], *, bold: bool = False
) -> None:
    """Draw a line; characters no font has are written as their code points.

    Args:
        draw: Where to.
        at: Left end of the base line, in pixels.
        text: One line.
        size: In pixels.
        fill: Colour.
        bold: In the bold cut.
    """
    x, y = at
    for place, part in _runs(text, bold):
        font = _font(place, size)
        draw.text((x, y), part, font=font, fill=fill, anchor="ls")
        x += font.getlength(part)


def wrapped(text: str, size: int, width: float) -> list[str]:
    """The text in lines no wider than `width`; words that are wider are cut."""
    words = " ".join(text.split())
    if text_width(words, size) <= width:  # nearly always, and measuring takes longer than drawing
        return [words] if words else []
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if text_width(longer, size) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while text_width(line, size) > width and len(line) > 1:
            fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or text_width(line[:n], size) <= width)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line else lines


def _runs(text: str, bold: bool) -> list[tuple[str | None, str]]:
    """Neighbouring characters of one font, with the font."""
    if text.isascii():
        return [(_OWN[bold], text)]
    runs: list[tuple[str | None, str]] = []
    for (place, known), characters in groupby(text, lambda character: _font_of(character, bold)):
        part = "".join(characters)
        runs.append((place, part if known else "".join(f"U+{ord(character):04X} " for character in part).rstrip()))
    return runs


@lru_cache(maxsize=4096)
def _font_of(character: str, bold: bool) -> tuple[str | None, bool]:
    """The first font that has a character, and whether there is one."""
    own = _OWN[bold]
    for place in (own, *_SYSTEM_FONTS):
        font = _opened(place, 16)
        if font is not None and (character.isspace() or bytes(font.getmask(character)) != _missing(place)):
            return place, True
    return own, False


@lru_cache(maxsize=32)
def _missing(place: str | None) -> bytes:
    font = _opened(place, 16)
    return b"" if font is None else bytes(font.getmask(_NO_CHARACTER))


def _font(place: str | None, size: int) -> Font:
    font = _opened(place, size)
    return ImageFont.load_default(size) if font is None else font


@lru_cache(maxsize=64)
def _opened(place: str | None, size: int) -> Font | None:
    """The font of a file or of a name the system knows; that of Pillow for None."""
    if place is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(place, size)
    except OSError:
        return None

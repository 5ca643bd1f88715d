"""Texts are there in every language, all of them are used, and figures look as each language writes them."""

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from muad.service.pages.language import chosen, read_languages

LANGUAGES = read_languages()
ROOM = Path(str(files("muad.service.pages")))
FAMILIES = ("verdict", "word", "role", "source")
"""Tables whose last key is a value: of a verdict, a word, a role."""


def keys_named_in_templates_and_code() -> set[str]:
    named = set()
    for file in [*ROOM.rglob("*.html"), *ROOM.rglob("*.py")]:
        text = file.read_text(encoding="utf-8")
        known = set(LANGUAGES["en"].texts)
        for quoted in re.findall(r"""["'f]((?:[a-z_0-9]+\.)+[a-z_0-9]+)["']""", text):
            named |= {quoted, f"{quoted}.one", f"{quoted}.many"} & known
        # `"frame." ~ name` and `f"models.did_{did}"`: what follows is a value.
        for start in re.findall(r"""["']((?:[a-z_0-9]+\.)+[a-z_0-9_]*)(?:["'] ~|\{)""", text):
            named |= {key for key in known if key.startswith(start)}
    return named


def test_every_language_says_the_same_things() -> None:
    english = set(LANGUAGES["en"].texts)
    assert {code: set(one.texts) ^ english for code, one in LANGUAGES.items()} == {code: set() for code in LANGUAGES}


def test_every_text_takes_the_same_values_in_every_language() -> None:
    braces = {code: {key: set(re.findall(r"{(\w+)}", text)) for key, text in one.texts.items()}
              for code, one in LANGUAGES.items()}  # fmt: skip
    assert braces["de"] == braces["en"]


def test_every_text_is_used() -> None:
    used = keys_named_in_templates_and_code()
    families = {key for key in LANGUAGES["en"].texts if key.split(".")[0] in FAMILIES}
    assert set(LANGUAGES["en"].texts) - used - families == set()


@pytest.mark.parametrize(
    ("cookie", "accepted", "code"),
    [
        (None, "de-DE,de;q=0.9,en;q=0.8", "de"),
        (None, "fr-FR, en;q=0.5, de;q=0.9", "de"),
        (None, "fr", "en"),
        (None, "", "en"),
        (None, "de;q=x, en", "en"),
        ("de", "en", "de"),
        ("../../etc/passwd", "en", "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_what_the_browser_asks_for(
    cookie: str | None, accepted: str, code: str
) -> None:
    assert chosen(LANGUAGES, cookie, accepted).code == code


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [
        (0.31234, "0.3123", "0,3123"),
        (12345.6, "12346", "12346"),
        (None, "\N{EN DASH}", "\N{EN DASH}"),
        (0.0, "0.000", "0,000"),
    ],
)
def test_figures_are_written_as_the_language_writes_them(value: float | None, english: str, german: str) -> None:
    assert (LANGUAGES["en"].figure(value), LANGUAGES["de"].figure(value)) == (english, german)


def test_shares_counts_and_times_are_written_as_the_language_writes_them() -> None:
    english, german = LANGUAGES["en"], LANGUAGES["de"]
    at = datetime(2026, 1, 31, 7, 5, 9, tzinfo=UTC)
    assert [one.percent(0.0042) for one in (english, german)] == ["0.42\xa0%", "0,42\xa0%"]
    assert [one.whole(1_234_567) for one in (english, german)] == ["1,234,567", "1.234.567"]
    assert [one.moment(at) for one in (english, german)] == ["31 Jan 2026 07:05:09", "31.01.2026 07:05:09"]
    assert english.span(timedelta(seconds=119)) == "119 s"
    assert english.span(timedelta(minutes=5)) == "5 min"
    assert german.counted("part.regions", 1) == "1 Stelle über der Grenze"

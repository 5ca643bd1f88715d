"""What people do at the station, in the system's Chromium: look, say a word, set limits, swap models, log in."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.service.pages.conftest import Pages

from muad.service.access.roles import Role

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]
PATHS = ("/live", "/history", "/review", "/limits/bolt", "/trends", "/models")


def test_live_shows_a_part_as_it_comes_without_being_loaded_again(open_page: Open, pages: Pages) -> None:
    from playwright.sync_api import expect  # it looks again where the page puts another element in one's place

    page = open_page(Role.OPERATOR)
    page.wait_for_url("**/live")
    part = pages.post(100, defect=True, serial="SEEN-LIVE")
    page.get_by_text("SEEN-LIVE").first.wait_for()
    band = page.locator(".band-verdict")
    word = {"pass": "Pass", "review": "Review", "reject": "Reject"}[part.verdict]
    expect(band.locator(".say")).to_have_text(word, ignore_case=True)
    assert band.locator("svg use").get_attribute("href") == f"#i-{part.verdict}"
    expect(band.locator(".say")).to_have_css("font-size", re.compile(r"^([89]\d|\d{3})"))
    assert page.locator(".strip a").count() <= 20
    heat = page.locator(".stage .heat")
    assert heat.is_visible()
    page.keyboard.press("o")
    assert not heat.is_visible()
    page.locator("[data-setting=heat]").fill("20")
    page.locator("[data-setting=overlay]").check()
    expect(heat).to_have_css("opacity", "0.2")
    assert page.locator("#silence").is_hidden()


def test_live_says_that_the_line_is_silent_and_that_the_connection_is_lost(open_page: Open, pages: Pages) -> None:
    page = open_page(Role.OPERATOR)
    page.wait_for_url("**/live")
    page.evaluate("document.getElementById('main').dataset.silentS = '0.1'")
    page.get_by_text("The line is silent: no part for").wait_for()
    page.route("**/v1/events", lambda route: route.abort())
    page.goto("/live")
    page.get_by_text("No connection to the station for").wait_for()


def test_a_word_is_said_with_one_key_in_the_list_on_the_part_and_in_the_queue(open_page: Open, pages: Pages) -> None:
    parts = [pages.post(200 + number, defect=True, serial="SAID") for number in range(3)]
    page = open_page(Role.OPERATOR)
    page.goto("/history?serial=SAID")
    page.keyboard.press("j")
    page.keyboard.press("b")
    page.locator("a.part .word.bad").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/history/{parts[1].id}?serial=SAID")
    page.fill("#defect", "scratch")
    page.locator("#viewer").focus()
    page.keyboard.press("g")
    page.get_by_text("Good · scratch").wait_for()
    page.keyboard.press("n")
    page.wait_for_url(f"**/history/{parts[0].id}?serial=SAID")
    words = [pages.station.history.words(part.id) for part in parts]
    assert [[(word.word, word.who, word.defect_type) for word in said] for said in words] == [
        [],
        [("good", "the operator", "scratch")],
        [("bad", "the operator", None)],
    ]
    page.goto("/review")
    waiting = int(page.locator(".nav .count").inner_text())
    asked = page.locator("#word-form").get_attribute("action")
    page.keyboard.press("b")
    page.wait_for_function("asked => document.querySelector('#word-form')?.getAttribute('action') !== asked", arg=asked)
    assert int(page.locator(".nav .count").inner_text()) == waiting - 1


def test_filters_change_the_list_and_its_address_without_a_new_page(open_page: Open, pages: Pages) -> None:
    for number in range(2):
        pages.post(600 + number, serial="FILTERED", lot=f"lot {number}")
    page = open_page(Role.ENGINEER)
    page.goto("/history")
    page.evaluate("window.same = true")
    with page.expect_response(re.compile("/history.*lot=lot")):
        page.fill("#f-lot", "lot 1")
    page.wait_for_function("document.querySelectorAll('a.part').length === 1")
    assert "lot=lot%201" in page.url
    assert "lot=lot+1" in (page.get_by_role("link", name="CSV").get_attribute("href") or "")
    assert page.evaluate("window.same")
    page.go_back()
    page.wait_for_url("**/history")


def test_a_part_is_zoomed_by_wheel_key_and_place(open_page: Open, pages: Pages) -> None:
    part = pages.post(300, defect=True, serial="ZOOMED")
    page = open_page(Role.OPERATOR)
    page.goto(f"/history/{part.id}")
    told = page.locator(".zoomed")
    page.locator("#viewer").hover()
    page.mouse.wheel(0, -500)
    told.get_by_text("%").wait_for()
    page.keyboard.press("0")
    assert told.is_hidden()
    page.keyboard.press("+")
    assert told.is_visible()
    assert page.locator(".regions [data-region]").count() == max(len(part.regions), 1)
    place = page.locator(".regions-list button").first
    place.focus()
    assert "lit" in (page.locator(".regions [data-region]").first.get_attribute("class") or "")
    place.click()
    assert told.is_visible()


def test_limits_are_moved_by_key_and_mouse_previewed_and_set_with_a_reason(open_page: Open, pages: Pages) -> None:
    changed = len(pages.station.history.changes("limit"))
    page = open_page(Role.ENGINEER)
    page.goto("/limits/bolt")
    before = page.input_value("#review")
    handle = page.locator(".handle[data-limit=review]")
    with page.expect_response(re.compile("/preview")):
        handle.focus()
        page.keyboard.press("Shift+ArrowLeft")
    moved = page.input_value("#review")
    assert float(moved) < float(before)
    assert float(handle.get_attribute("aria-valuenow") or "nan") == pytest.approx(float(moved))
    grip = page.locator(".handle[data-limit=reject] .grip").bounding_box()
    assert grip is not None
    with page.expect_response(re.compile("/preview")):
        page.mouse.move(grip["x"] + 9, grip["y"] + 9)
        page.mouse.down()
        page.mouse.move(grip["x"] + 60, grip["y"] + 9, steps=3)
        page.mouse.up()
    rejected = float(page.input_value("#reject"))
    page.click("#limits-form button.primary")  # without a reason the browser keeps the form
    assert len(pages.station.history.changes("limit")) == changed
    page.fill("#reason", "tried at the lamp")
    page.click("#limits-form button.primary")
    page.get_by_text("The limits of bolt are set and in force.").wait_for()
    limits = pages.station.limits.read(pages.station.models.active)["bolt"]
    assert (limits.review.value, limits.reject.value) == pytest.approx((float(moved), rejected))
    judged = pages.post(500)
    assert (judged.review_above, judged.reject_above) == (limits.review.value, limits.reject.value)
    changes = pages.station.history.changes("limit")
    new = changes[: len(changes) - changed]
    assert {(change.who, change.reason) for change in new} == {("the engineer", "tried at the lamp")}
    assert page.get_by_text("tried at the lamp").first.is_visible()


def test_a_bundle_is_loaded_shadowed_compared_promoted_and_rolled_back(
    open_page: Open, pages: Pages, other_bundle: Path
) -> None:
    wide = {"review": 50.0, "reject": 60.0}
    pages.station.limits.set(pages.station.models.active, "bolt", wide, who="a test", reason="everything passes")
    page = open_page(Role.ENGINEER)
    page.goto("/models")
    page.set_input_files("#bundle", other_bundle)
    page.get_by_role("button", name="Load", exact=True).click()
    page.get_by_text("other.muad is loaded.").wait_for()
    page.get_by_role("button", name="Shadow", exact=True).click()
    page.get_by_text("other.muad judges along from now on.").wait_for()
    shadow = pages.station.models.shadow
    assert shadow is not None
    part = pages.post(400, serial="SHADOWED")
    for _ in range(100):
        if pages.station.history.shadows([part.id]):
            break
        page.wait_for_timeout(50)
    page.get_by_role("link", name="Compare").click()
    pair = page.locator(".pair", has_text="SHADOWED")
    assert pair.locator(".badge").all_inner_texts() == ["Pass", "Reject"]
    page.goto("/models")
    page.get_by_text("Promote …").click()
    page.fill("#why-1", "fewer false alarms")
    page.get_by_role("button", name="Promote now").click()
    page.get_by_text("other.muad is active.").wait_for()
    assert pages.post(401).model_id == shadow.id
    page.fill("#why", "it rejects everything")
    page.get_by_role("button", name="Roll back now").click()
    page.get_by_text("Rolled back: bolts.muad is active again.").wait_for()
    assert pages.post(402).model_id == part.model_id


def test_who_logs_out_is_out_and_a_wrong_token_stays_outside(open_page: Open, pages: Pages) -> None:
    page = open_page(None)
    page.goto("/history?serial=B-1")
    page.wait_for_url("**/login?next=*")
    page.fill("#token", "muad_wrong")
    page.click("main button")
    page.get_by_text("This token is not known, is over, or was revoked.").wait_for()
    page.fill("#token", pages.tokens[Role.OPERATOR])
    page.click("main button")
    page.wait_for_url("**/history?serial=B-1")
    cookie = page.context.cookies()[0]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.context.add_cookies([cookie])
    page.goto("/history")
    page.wait_for_url("**/login?next=*")


def test_a_token_sees_only_what_its_role_may(open_page: Open, pages: Pages) -> None:
    operator = open_page(Role.OPERATOR)
    operator.wait_for_url("**/live")
    assert operator.locator(".nav a").all_inner_texts()[-1] == "Trends"
    operator.goto("/limits/bolt")
    assert operator.locator("#review").is_disabled()
    assert operator.locator("#limits-form button").count() == 0
    assert operator.goto("/models").status == 403  # type: ignore[union-attr]
    line = open_page(Role.LINE)
    line.get_by_text("Not for this role").wait_for()
    assert line.locator(".nav a").count() == 0


@pytest.mark.parametrize(
    ("language", "width", "height"), [("en-GB", 1024, 768), ("de-DE", 768, 1024), ("de-DE", 1920, 1080)]
)
def test_every_page_fits_its_screen_without_a_fault(open_page: Open, language: str, width: int, height: int) -> None:
    page = open_page(Role.ENGINEER, language=language, size={"width": width, "height": height})
    page.wait_for_url("**/live")
    for path in PATHS:
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{path} is {wide} px wide on {width}"
        small = page.evaluate(
            "[...document.querySelectorAll('main button, main .button')].map(one => one.getBoundingClientRect())"
            ".filter(box => box.height && box.height < 30).length"
        )
        assert small == 0, f"{path} has buttons too small for a finger"


def test_the_language_is_chosen_on_the_page_and_kept(open_page: Open) -> None:
    page = open_page(Role.OPERATOR)
    page.wait_for_url("**/live")
    page.goto("/history?serial=B-1")
    page.get_by_role("button", name="DE").click()
    page.get_by_role("heading", name="Verlauf").wait_for()
    assert page.url.endswith("/history?serial=B-1")
    page.goto("/live")
    assert page.locator("html").get_attribute("lang") == "de"

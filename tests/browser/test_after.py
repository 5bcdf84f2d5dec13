"""The studio after an act: where the focus is, what is in sight, what plays on, what is offered."""

import pytest

from .pointer import mask_of, until

CELLS = [
    """import pomkit
flute = [(4 * i, 4, 72 + i % 5, 80, 0) for i in range(128)]
piano = [(16 * i, 16, pitch, 60, 1) for i in range(32) for pitch in (48, 52, 55)]
song = pomkit.Song(flute + piano, parts=("Flute", "Piano"), tempi=[(0, 240)], name="waltz")
painter = studio = pomkit.Studio("tiny", song)
studio"""
]
BAR = 16
FOCUS = "document.activeElement.className"


@pytest.fixture(scope="module", autouse=True)
def opened(desk):
    desk.open()
    desk.run_all()


@pytest.fixture
def studio(desk):
    """The studio as the cell made it, at bar 1, silent, the roll in focus."""
    desk.page.set_viewport_size({"width": 1280, "height": 1000})
    wishes = "studio.load(song)", "studio.mix()", "studio.set(n=3, steps=1, voices='free')"
    musics = desk.ask(
        "studio.roll.musics", "studio.session.stop(); studio.session._idle.wait()", *wishes
    )
    current = f"desk.musics === {musics} && desk.waiting.size === 0 && !desk.extent"
    until(lambda: desk.of_page(current), "the page is up to date")
    desk.of_page(
        "[desk.player.pause(), desk.setLoop(null), desk.setTool('brush'), desk.fit(), desk.draw(), "
        "desk.more.root.hidden = desk.help.hidden = true, desk.setAside(false), "
        "desk.takeFocus()].length"
    )
    desk.page.mouse.move(3, 3)
    desk.box(".pomkit-studio .ink")
    return desk


def mark(studio, first, last):
    """Mark bars with the mouse on the ruler."""
    studio.drag((BAR * (first - 1) + 4, None), (BAR * last - 5, None))
    until(lambda: mask_of(studio).any(), "bars are marked")
    until(lambda: studio.of_page("desk.waiting.size === 0"), "the page knows it")


def composed(studio, count=3):
    """Wait until candidates are offered."""
    until(lambda: studio.of_page("desk.offers()") == count, "it has composed")


def take(studio, number):
    """The chip of a take."""
    return studio.page.locator("button[aria-label^='take:']").nth(number)


def at_rest(studio):
    until(lambda: studio.of_page("desk.waiting.size === 0"), "the kernel has answered")


def in_sight(studio, first, last):
    """Whether bars are seen from their beginning to their end."""
    return studio.of_page(
        f"desk.view.left <= {BAR * (first - 1)} && {BAR * last} <= desk.view.right"
    )


# The focus


def test_keys_live_after_a_choice_and_undo_is_never_the_notebooks(studio):
    page = studio.page
    source = page.locator(".jp-Cell .cm-content").first.inner_text()
    mark(studio, 3, 4)
    with page.expect_download() as download:
        page.select_option("select[aria-label='Save as']", label="MIDI")
    assert download.value.suggested_filename == "waltz_new.mid"
    until(lambda: page.evaluate(FOCUS) == "roll", "the roll has the focus")
    with page.expect_download() as download:
        page.keyboard.press("w")
    assert download.value.suggested_filename == "waltz_new_2.mid"

    for field in ("select[aria-label='Save as']", "[data-setting=seed]"):
        studio.of_page("[desk.more.root.hidden = false, desk.update()].length")
        page.focus(field)
        page.keyboard.press("Control+z")
        until(lambda: not mask_of(studio).any(), f"undone from {field}")
        page.keyboard.press("Control+y")
        until(lambda: mask_of(studio).any(), f"done again from {field}")
    page.keyboard.press("5")
    page.keyboard.press("Control+z")
    at_rest(studio)
    assert mask_of(studio).any(), "a field that was typed in takes back its own"
    page.keyboard.press("Enter")
    until(lambda: page.evaluate(FOCUS) == "roll", "the page shows it")
    until(
        lambda: page.locator(".jp-Cell .cm-content").first.inner_text() == source,
        "the page shows it",
    )


def test_an_arrow_opens_a_list_and_enter_chooses(studio):
    page = studio.page
    page.focus("select[aria-label='Save as']")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(500)
    at_rest(studio)
    assert studio.ask("studio.session.message") == "", "the arrow alone saves nothing"
    with page.expect_download() as download:
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".mid")
    until(lambda: page.evaluate(FOCUS) == "roll", "the roll has the focus")


def test_a_button_that_vanishes_leaves_the_focus_in_the_studio(studio):
    mark(studio, 3, 4)
    studio.page.focus("button[aria-label=Compose]")
    studio.page.keyboard.press("Enter")
    composed(studio)
    studio.page.keyboard.press(".")
    until(lambda: studio.ask("studio.chosen") == 1, "keys are the studio's")
    for place, chosen in ((".title", 2), (".takes", 0)):
        box = studio.box(f".pomkit-studio {place}")
        studio.page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
        until(lambda: studio.page.evaluate(FOCUS) == "roll", f"after a press at {place}, too")
        studio.page.keyboard.press(".")
        until(lambda n=chosen: studio.ask("studio.chosen") == n, "keys are the studio's")


# What plays, and what is in sight


def test_what_was_composed_plays_to_one_bar_after_it_and_stays_in_sight(studio):
    studio.of_page("[desk.view.scroll(300, 512), desk.draw()].length")
    studio.ask("0", "studio.add_bars(5, 8)")
    until(lambda: studio.of_page("desk.extent"), "bars are marked")
    studio.page.click("button[aria-label=Compose]")
    composed(studio)
    until(lambda: studio.of_page("desk.player.playing"), "it plays")
    assert in_sight(studio, 4, 9)
    until(lambda: not studio.of_page("desk.player.playing"), "it stops")
    until(lambda: studio.of_page("desk.player.at") == 9 * BAR, "the page shows it")
    assert in_sight(studio, 5, 8)
    studio.page.keyboard.press("Space")
    until(lambda: studio.of_page("desk.player.position()") > 11 * BAR, "Space goes on from there")
    studio.page.keyboard.press(".")
    assert 3 * BAR <= studio.of_page("desk.player.position()") < 5 * BAR
    studio.page.keyboard.press("l")
    seen = []

    def goes_round():
        seen.append(studio.of_page("desk.player.position()"))
        return any(after < before - BAR for before, after in zip(seen, seen[1:], strict=False))

    until(goes_round, "with Loop on it goes round")
    assert max(seen) < 9 * BAR


def test_the_bar_holds_still_while_candidates_are_looked_through(studio):
    mark(studio, 5, 8)
    studio.page.keyboard.press("c")
    composed(studio)
    following = studio.page.locator("button[aria-label='Next candidate']")
    following.hover()
    place = following.bounding_box()
    for number in (2, 3, 1):
        studio.page.mouse.down()
        studio.page.mouse.up()
        until(
            lambda n=number: studio.page.locator(".number").inner_text() == f"{n} of 3", "the next"
        )
        studio.of_page("[desk.view.scroll(9, 512), desk.draw()].length")
        at_rest(studio)
        studio.page.wait_for_timeout(100)
        assert following.bounding_box() == place
    studio.page.mouse.move(3, 3)
    until(lambda: following.bounding_box() != place, "it goes to the mask when the pointer is away")


def test_undo_and_takes_bring_their_bars_into_sight(studio):
    mark(studio, 3, 4)
    studio.page.keyboard.press("c")
    composed(studio)
    studio.page.keyboard.press("Space")
    away = "[desk.view.scroll(400, 512), desk.player.pause(), desk.draw()].length"
    for act in ("Control+z", "Control+Shift+Z"):
        studio.of_page(away)
        studio.page.keyboard.press(act)
        until(lambda: in_sight(studio, 3, 4), f"{act} is in sight")
        at_rest(studio)
    studio.of_page(away)
    take(studio, 0).click()
    until(lambda: in_sight(studio, 3, 4), "what another take changes is in sight")
    until(lambda: "the beginning is shown" in studio.page.inner_text(".message"), "it is said")
    assert "seed" in take(studio, 1).get_attribute("title")


def test_marking_by_keys_keeps_what_is_marked_in_sight(studio):
    for _ in range(6):
        studio.page.keyboard.press("ArrowRight")
    for count in range(1, 5):
        studio.page.keyboard.press("Shift+ArrowRight")
        until(lambda n=count: mask_of(studio).any(axis=0).sum() == n * BAR, "a bar more is marked")
        assert in_sight(studio, 7, 6 + count)


# What is offered, and what is said


def test_candidates_stay_while_the_mask_changes_and_older_takes_have_theirs(studio):
    mark(studio, 3, 4)
    studio.page.keyboard.press("c")
    composed(studio)
    studio.page.keyboard.press("Space")
    studio.drag((90, 70), (96, 70))
    until(lambda: mask_of(studio)[127 - 70, 93], "a dab elsewhere")
    at_rest(studio)
    until(lambda: studio.page.locator(".number").inner_text() == "1 of 3", "the page shows it")
    studio.page.keyboard.press(".")
    until(lambda: studio.ask("studio.chosen") == 1, "another one can be chosen")
    assert mask_of(studio)[127 - 70, 93]
    assert studio.of_page("desk.player.position()") < 5 * BAR

    studio.ask("0", "studio.inpaint(n=2, steps=1)")
    composed(studio, 2)
    take(studio, 1).click()
    composed(studio, 3)
    until(lambda: studio.page.locator(".number").inner_text() == "2 of 3", "the page shows it")
    studio.page.keyboard.press("k")
    until(lambda: not mask_of(studio).any(), "it is kept")
    until(lambda: studio.page.locator(".floating:visible").count() == 0, "nothing floats")
    mark(studio, 6, 7)
    until(lambda: studio.of_page("desk.offers()") == 0, "the page shows it")
    studio.page.keyboard.press("Control+z")
    studio.page.keyboard.press("Control+z")
    composed(studio, 3)


def test_a_chosen_chip_looks_chosen_under_the_pointer_and_the_part_is_said(studio):
    chip = studio.page.locator("button[aria-label='compose Flute only']")
    chip.click()
    until(
        lambda: studio.page.locator(".words").inner_text().startswith("only Flute: drag"),
        "it is said",
    )
    colour = "it => getComputedStyle(it).backgroundColor"
    assert chip.evaluate("it => it.matches(':hover')")
    hovered = chip.evaluate(colour)
    studio.page.mouse.move(3, 3)
    assert chip.evaluate(colour) == hovered
    other = studio.page.locator("button[aria-label='compose Piano only']")
    assert other.evaluate(colour) != hovered
    studio.drag((90, 50), (96, 50))
    until(
        lambda: "nothing of Flute is there" in studio.page.inner_text(".message"),
        "a stray stroke is told",
    )
    assert not mask_of(studio).any()


def test_parts_keep_their_colours_while_it_composes_and_the_legend_hides_nothing(studio):
    studio.ask(
        "0", "studio.part = 'Flute'", "studio.add_bars(3, 4)", "studio.start(n=4, steps=64, U=9)"
    )
    until(lambda: studio.of_page("desk.live.length"), "live notes")
    parts = "`${note.part} ${note.pitch < 60}`"
    stay = "desk.live.filter((note) => !note.fresh)"
    seen = studio.of_page(f"[...new Set({stay}.map((note) => {parts}))].sort()")
    assert seen == ["0 false", "1 true"]
    studio.ask("0", "studio.stop()", "studio.session._idle.wait()", "studio.set(U=1)")
    studio.page.click("button[aria-label='Show what the model finds odd']")
    until(lambda: studio.of_page("desk.odd.length"), "the doubt is there")
    legend = studio.page.locator(".legend")
    until(lambda: legend.is_visible(), "the legend is shown")
    roll = studio.page.locator(".pomkit-studio .roll").bounding_box()
    assert legend.bounding_box()["y"] >= roll["y"] + roll["height"]
    studio.shot("legend")

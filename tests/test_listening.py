"""The listening test: clips that say nothing, a page without a server, answers that are pooled."""

import json
import math
import re

import numpy as np
import pytest
import soundfile
from test_evaluate import make_songs

from pomkit import OptionError, evaluate
from pomkit.judge import krippendorff_alpha, pool_answers
from pomkit.judge.answers import as_table, interval, nominal
from pomkit.judge.judging import Question
from pomkit.judge.listening import QUESTIONS, HeardClip, make_test, write_test

# Krippendorff's own example: four observers, twelve units (2011, section C).
NOT = np.nan
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NOT, NOT, NOT],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NOT, 3],
        [NOT, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NOT],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NOT],
    ]
)


def test_alpha_is_krippendorffs():
    assert krippendorff_alpha(EXAMPLE, nominal) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(EXAMPLE, interval) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_one_where_all_agree_and_no_number_where_nobody_differs():
    assert krippendorff_alpha(np.tile([1.0, 2, 3], (3, 1)), interval) == 1
    assert math.isnan(krippendorff_alpha(np.ones((3, 4)), interval))
    assert math.isnan(krippendorff_alpha(np.array([[1.0, 2, 3]]), nominal))


def test_alpha_of_lots_is_near_zero(rng):
    assert krippendorff_alpha(rng.integers(0, 2, (4, 500)), nominal) == pytest.approx(0, abs=0.05)


def test_alpha_does_not_care_who_said_it_or_in_which_order(rng):
    shuffled = rng.permutation(rng.permutation(EXAMPLE), axis=1)
    assert krippendorff_alpha(shuffled, nominal) == pytest.approx(
        krippendorff_alpha(EXAMPLE, nominal)
    )


class QuietJudge:
    """A judge of made-up windows, whose fills are known."""

    progress = False
    seed = 3
    model_rows = {"uncover": ("uncover", "annotated")}

    def __init__(self, windows):
        self.windows = windows

    def choose(self, task):
        width = self.windows[0].picture.shape[1]
        mask = np.zeros((128, width), bool)
        mask[8:120, 32:64] = True
        return [Question(window, mask) for window in self.windows]

    def fill(self, index, question, task):
        picture = question.window.picture
        rows = ("real", "chance", "permuted", "copy", "nearest", "uncover")
        return dict.fromkeys(rows, picture)


@pytest.fixture(scope="module")
def test_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listening")
    windows = evaluate.held_out(make_songs(3), 96, 5)
    key = make_test(folder, QuietJudge(windows), count=5)
    return folder, key


def test_every_window_is_heard_once_and_the_systems_take_turns(test_folder):
    _, key = test_folder
    systems = [clip["system"] for clip in key["clips"].values()]
    places = {(clip["song"], clip["start"]) for clip in key["clips"].values()}
    assert len(places) == len(systems) == 5
    assert sorted(systems) == sorted(["real", "permuted", "copy", "nearest", "uncover"])


def test_what_goes_to_the_listeners_says_nothing(test_folder):
    folder, key = test_folder
    page = (folder / "page" / "index.html").read_text()
    files = [path.stem for path in (folder / "page" / "clips").iterdir()]
    assert sorted(files) == sorted(key["clips"])
    assert all(re.fullmatch("[0-9a-f]{10}", name) for name in files)
    assert not re.search("permuted|nearest|uncover", page)
    assert not list((folder / "page").glob("**/key*"))
    assert "http" not in page


def test_clips_are_the_region_and_a_bar_on_either_side(test_folder):
    """64 steps at 120 BPM are eight seconds; the last notes may ring on."""
    folder, _ = test_folder
    for path in (folder / "page" / "clips").iterdir():
        assert 7 < soundfile.info(path).duration < 11


def test_the_same_seed_makes_the_same_test(test_folder, tmp_path, monkeypatch):
    folder, key = test_folder
    monkeypatch.setattr("pomkit.play.audio.synthesize", lambda song, rate: np.zeros((9, 2)))
    again = make_test(tmp_path, QuietJudge(evaluate.held_out(make_songs(3), 96, 5)), count=5)
    assert again == key
    page, other = ((f / "page" / "index.html").read_text() for f in (folder, tmp_path))
    assert page == other


def test_nothing_to_hear_is_told(tmp_path):
    judge = QuietJudge([])
    judge.choose = lambda task: []
    with pytest.raises(OptionError, match="no song has a window"):
        make_test(tmp_path, judge)


@pytest.fixture
def key(tmp_path):
    """A test of eight clips: the first four are real, each of a song of its own."""
    clips = [
        HeardClip(f"c{number}", "real" if number < 4 else "tiny", f"song {number}", 0)
        for number in range(8)
    ]
    return write_test(tmp_path, clips, {"task": "loop middle", "seed": 0, "systems": []})


def answer(folder, key, rater, sheet, name=None):
    path = folder / "answers" / f"{name or rater}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"session": key["session"], "rater": rater, "answers": sheet}))
    return folder / "answers"


def sheet_of(real, ratings=range(8), **more):
    """Everything answered; the clips in `real` are called real."""
    return {
        f"c{number}": {
            "hummable": 1 + int(rating) % 5, "consonance": 3, "clappable": 5,
            "real": number in real, "known": False, **more,
        }
        for number, rating in zip(range(8), ratings, strict=True)
    }  # fmt: skip


def test_means_by_hand(tmp_path, key):
    answer(tmp_path, key, "Ada", sheet_of({0, 1, 2, 3}, [4, 4, 4, 4, 0, 0, 0, 0]))
    folder = answer(tmp_path, key, "Ben", sheet_of({0, 1, 4, 5}, [2, 2, 2, 2, 0, 0, 0, 0]))
    pooled = pool_answers(folder)
    real, tiny = pooled["systems"]["real"], pooled["systems"]["tiny"]
    assert pooled["raters"] == ["Ada", "Ben"]
    assert (real["clips"], real["answers"]) == (4, 8)
    assert real["hummable"][0] == 4
    assert tiny["hummable"] == [1, 1, 1]
    assert real["real"][0] == 0.75
    assert tiny["real"][0] == 0.25
    assert pooled["right"][0] == 0.75
    assert pooled["agreement"]["real"] == pytest.approx(krippendorff_alpha(
        np.array([[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 1, 1, 0, 0.0]]), nominal
    ))  # fmt: skip
    text = as_table(pooled)
    assert "| tiny | 4 | 8 | 1.00 (1.00 to 1.00)" in text
    assert "agreement of 2 raters" in text


def test_intervals_hold_their_values_and_come_from_songs(tmp_path, key, rng):
    for rater in range(4):
        folder = answer(tmp_path, key, f"r{rater}", sheet_of({0}, rng.integers(0, 5, 8)))
    for row in pool_answers(folder)["systems"].values():
        value, low, high = row["hummable"]
        assert low < value < high
        assert row["clappable"] == [5, 5, 5]


def test_who_knew_a_clip_does_not_count_as_having_guessed(tmp_path, key):
    folder = answer(tmp_path, key, "Ada", sheet_of({0, 1, 2, 3}, known=True))
    pooled = pool_answers(folder)
    assert math.isnan(pooled["right"][0])
    assert pooled["systems"]["real"]["known"][0] == 1
    assert pooled["systems"]["real"]["hummable"][0] > 0


def test_what_was_left_out_is_left_out(tmp_path, key):
    folder = answer(tmp_path, key, "Ada", {"c0": {"hummable": 4}, "c5": {}})
    pooled = pool_answers(folder)
    assert pooled["systems"]["real"]["hummable"] == [4, 4, 4]
    assert pooled["systems"]["real"]["answers"] == 1
    assert "nan " not in as_table(pooled)
    assert math.isnan(pooled["systems"]["tiny"]["hummable"][0])


def test_raters_of_one_name_are_two(tmp_path, key):
    answer(tmp_path, key, "Ada", sheet_of({0}), "one")
    folder = answer(tmp_path, key, "Ada", sheet_of({1}), "two")
    assert pool_answers(folder)["raters"] == ["Ada", "Ada (2)"]


@pytest.mark.parametrize(
    ("sheet", "match"),
    [
        ({"c9": {"real": True}}, "c9"),
        ({"c0": {"hummable": 6}}, "hummable"),
        ({"c0": {"hummable": True}}, "hummable"),
        ({"c0": {"real": 1}}, "real"),
        ({"c0": {"taste": 3}}, "taste"),
        ({"c0": 3}, "c0"),
        ([], "no answers to the test"),
    ],
)
def test_answers_that_the_page_cannot_have_saved_are_refused(tmp_path, key, sheet, match):
    folder = answer(tmp_path, key, "Ada", sheet)
    with pytest.raises(OptionError, match=match):
        pool_answers(folder)


def test_other_tests_files_and_missing_keys_are_told(tmp_path, key):
    folder = answer(tmp_path, {"session": "another"}, "Ada", sheet_of({0}))
    with pytest.raises(OptionError, match="no answers to the test"):
        pool_answers(folder)
    (folder / "Ada.json").write_text("{")
    with pytest.raises(OptionError, match="JSON"):
        pool_answers(folder)
    (folder / "Ada.json").unlink()
    with pytest.raises(OptionError, match="holds no answers"):
        pool_answers(folder)
    with pytest.raises(OptionError, match="no key"):
        pool_answers(tmp_path / "elsewhere" / "answers")


def test_the_command_pools_answers(tmp_path, key, capsys):
    folder = answer(tmp_path, key, "Ada", sheet_of({0, 1}))
    out = tmp_path / "report"
    arguments = ["--listening-answers", str(folder), "--out", str(out)]
    assert evaluate.main(arguments) == 0
    assert "called real" in capsys.readouterr().out
    assert json.loads((out / "listening.json").read_text())["raters"] == ["Ada"]
    assert evaluate.main(["--listening-answers", str(tmp_path / "nowhere")]) == 2
    assert evaluate.main(["--listening", str(tmp_path / "new")]) == 2
    assert "--data is missing" in capsys.readouterr().err


def test_the_page_asks_what_is_pooled(test_folder):
    folder, _ = test_folder
    page = (folder / "page" / "index.html").read_text()
    told = json.loads(re.search(r"const session = (\{.*\});", page)[1])
    assert told["questions"] == json.loads(json.dumps(QUESTIONS))
    assert re.search('"audio".*clips/.*mp3', page)

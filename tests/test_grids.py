"""Songs on other grids than models learned: told before they are composed."""

import json
import warnings

import pytest

import pomkit
from pomkit import Song, read_midi
from pomkit.__main__ import main, parser, read
from pomkit.composing.song import grid_advice
from pomkit.errors import CheckpointError, PomkitWarning
from pomkit.files import assets_dir
from pomkit.processes.checkpoint import build_model, load_model, save_model, spec_of
from pomkit.studio.session import Session

QUICK = {"calls": 1, "seed": 1}


@pytest.fixture(scope="module")
def model():
    return load_model("tiny", "cpu")


def written(path, notes, grid):
    """The path of a file with notes (onset, duration, pitch) on a grid of steps a beat."""
    table = [(onset, duration, pitch, 80, 0) for onset, duration, pitch in notes]
    return Song(table, name=path.stem, steps_per_beat=grid).write_midi(path)


@pytest.fixture(scope="module")
def triplets(tmp_path_factory):
    notes = [(4 * number, 4, 60 + number % 9) for number in range(96)]
    return written(tmp_path_factory.mktemp("grids") / "triplets.mid", notes, 12)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    notes = [(2 * number, 2, 60 + number % 9) for number in range(96)]
    return written(tmp_path_factory.mktemp("grids") / "straight.mid", notes, 4)


@pytest.mark.parametrize("grid", [3, 6, 12, 24])
def test_a_grid_that_was_not_learned_is_told(model, triplets, grid):
    advice = grid_advice(model, read_midi(triplets, grid))
    assert f"{grid} steps a beat" in advice
    assert "read it with steps_per_beat=4" in advice
    assert "keep their own ticks" in advice


def test_notes_that_fit_another_grid_are_told(model, triplets):
    advice = grid_advice(model, read_midi(triplets))
    assert "fits 12 steps a beat better than the 4" in advice
    assert "triplets" in advice
    assert "keep their own ticks" in advice


def test_without_a_file_no_ticks_are_promised(model, triplets):
    assert "ticks" not in grid_advice(model, read_midi(triplets).without_source())


def test_the_advice_is_one_short_sentence(model):
    song = Song([(0, 1, 60, 80, 0)], steps_per_beat=24, name="x" * 1000)
    advice = grid_advice(model, song)
    assert len(advice) <= 300
    assert "\n" not in advice


@pytest.mark.parametrize("name", sorted(pomkit.data.songs()))
def test_a_song_that_fits_is_composed_in_silence(model, name):
    song = read_midi(pomkit.data.songs()[name])
    assert bool(grid_advice(model, song)) == (song.report.better_grid != 4)


def test_compose_warns_before_the_first_call(model, triplets):
    heard = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")

        def hear(event):
            heard.append(len(told))

        pomkit.compose(model, read_midi(triplets), "bars:2", callback=hear, **QUICK)
    assert heard == [1]
    assert told[0].category is PomkitWarning
    assert told[0].filename == __file__


def test_compose_says_nothing_of_a_song_that_fits(model, straight):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pomkit.compose(model, read_midi(straight), "bars:2", **QUICK)


def test_the_studio_says_so_before_it_composes(model, triplets, straight):
    for path, told in ((triplets, True), (straight, False)):
        session = Session(model, read_midi(path))
        said = []
        session.observe(lambda event: said.append((event, session.message)))  # noqa: B023
        session.editor.add_bars(2)
        session.inpaint(steps=1)
        messages = [message for event, message in said if event == "message"]
        assert ("fits 12 steps a beat better" in messages[0]) == told
        assert "composed in" in messages[-1]


def test_the_command_line_says_it_once_and_before(triplets, tmp_path, capsys):
    arguments = [str(triplets), "--mask", "bars:2", "--calls", "1", "--out", str(tmp_path)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(arguments) == 0
    said = capsys.readouterr().out
    assert said.count("fits 12 steps a beat better") == 1
    assert said.index("fits 12 steps") < said.index("composed")


def test_the_command_line_reads_on_other_grids(triplets):
    arguments = [str(triplets), "--mask", "bars:2", "--steps-per-beat", "12"]
    task = read(parser().parse_args(arguments))
    assert task.song == read_midi(triplets, 12)
    assert task.mask.any(axis=0).sum() == 48


def test_the_command_line_refuses_grids_that_do_not_exist(triplets, capsys):
    for grid in ("5", "0", "-4"):
        assert main([str(triplets), "--steps-per-beat", grid]) == 2
        assert "choose one of 1, 2, 3, 4" in capsys.readouterr().err


def test_shipped_models_learned_16ths(model):
    spec = json.loads((assets_dir() / "models" / "tiny.json").read_text())
    spec.pop("steps_per_beat", None)
    assert build_model(spec).steps_per_beat == 4


def test_a_model_keeps_the_grid_that_it_learned(model, triplets, tmp_path):
    other = build_model(spec_of(model) | {"steps_per_beat": 12})
    again = load_model(save_model(tmp_path / "other", other))
    assert again.steps_per_beat == 12
    assert grid_advice(again, read_midi(triplets, 12)) == ""
    assert "takes 12 for one" in grid_advice(again, read_midi(triplets))


def test_a_model_of_no_grid_is_refused(model, tmp_path):
    path = save_model(tmp_path / "odd", model).with_suffix(".json")
    spec = json.loads(path.read_text()) | {"steps_per_beat": 5}
    path.write_text(json.dumps(spec))
    with pytest.raises(CheckpointError, match="steps_per_beat 5"):
        load_model(path)

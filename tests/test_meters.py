"""Metres: masks, windows, chords and words follow a song's bars, whatever these are."""

from types import SimpleNamespace

import mido
import numpy as np
import pytest

import pomkit
from pomkit import masks, read_midi, render
from pomkit.__main__ import main
from pomkit.composing.region import LONGEST_UNCUT, lay_out
from pomkit.data import onsets_per_bar
from pomkit.music.bars import bars_around, beat_lines, half_bars, lines_until, masked_bars
from pomkit.music.palette import read_chords
from pomkit.processes.contract import Options
from pomkit.processes.wide import lay_windows, places_of, reach_of
from pomkit.studio.editor import Editor
from pomkit.studio.sampling import defaults, density_order, options_of
from pomkit.studio.tools import Gesture, perform

# (beats before it, numerator, denominator) of each signature, and the steps of bars 3 to 4.
METERS = {
    "3/4": ([(0, 3, 4)], (24, 48)),
    "6/8": ([(0, 6, 8)], (24, 48)),
    "7/8": ([(0, 7, 8)], (28, 56)),
    "4/4": ([(0, 4, 4)], (32, 64)),
    "pickup": ([(0, 1, 4), (1, 3, 4)], (16, 40)),
    "change": ([(0, 4, 4), (8, 3, 4)], (32, 56)),
    "short bar": ([(0, 4, 4), (12, 1, 4), (13, 4, 4)], (32, 52)),
}
NAMES = sorted(METERS)


def write(path, signs, beats=400):
    """A file of eighths under time signatures."""
    head = mido.MidiTrack()
    before = 0
    for beat, numerator, denominator in signs:
        time = 480 * (beat - before)
        before = beat
        sign = {"numerator": numerator, "denominator": denominator, "time": time}
        head.append(mido.MetaMessage("time_signature", **sign))
    track = mido.MidiTrack()
    for number in range(2 * beats):
        pitch = 48 + number * 7 % 30
        track.append(mido.Message("note_on", note=pitch, velocity=80))
        track.append(mido.Message("note_off", note=pitch, time=240))
    mido.MidiFile(tracks=[head, track]).save(path)
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meters")
    return {
        name: write(folder / f"{number}.mid", METERS[name][0]) for number, name in enumerate(NAMES)
    }


@pytest.fixture(scope="module")
def songs(paths):
    return {name: read_midi(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def model():
    return pomkit.load_model("tiny", "cpu")


def steps_of(mask):
    """The first masked column and the one after the last; all between them are masked."""
    columns = np.flatnonzero(mask.any(axis=0))
    assert len(columns) == columns[-1] + 1 - columns[0]
    return columns[0], columns[-1] + 1


# Masks


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_bars_covers_precisely_these(songs, name):
    song = songs[name]
    lines = song.bar_lines().tolist()
    expected = METERS[name][1]
    assert steps_of(masks.bars(song, 3, 4)) == expected
    assert steps_of(masks.bars(render(song), 3, 4, lines)) == expected
    assert steps_of(masks.from_text("bars:3-4", song)) == expected
    assert steps_of(masks.from_text("bars:2-3", song, start=lines[1])) == tuple(
        step - lines[1] for step in expected
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_editor_marks_precisely_these(songs, name):
    first, last = METERS[name][1]
    editor = Editor(songs[name])
    editor.add_bars(3, 4)
    assert steps_of(editor.mask) == (first, last)
    editor.clear()
    perform(editor, Gesture("bars", [(first + 1, 60), (last - 1, 60)]))
    assert steps_of(editor.mask) == (first, last)


def test_without_a_song_bars_are_of_4_4():
    assert steps_of(masks.bars(200, 3, 4)) == (32, 64)
    assert lines_until(None, 40).tolist() == [0, 16, 32, 48]
    assert masked_bars(masks.bars(200, 3, 4)) == 2


# Bar lines


def test_bars_go_on_as_the_last_one_went():
    assert lines_until((0, 4, 16), 30).tolist() == [0, 4, 16, 28, 40]
    assert lines_until((16, 4, -3, 28, 10**9), 20).tolist() == [0, 4, 16, 28]
    assert lines_until((), 30, 12).tolist() == [0, 12, 24, 36]


@pytest.mark.parametrize("name", NAMES)
def test_masked_bars_are_counted_by_their_own_lengths(songs, name):
    song = songs[name]
    lines = song.bar_lines()
    assert masked_bars(masks.bars(song, 3, 4), lines) == pytest.approx(2)
    assert masked_bars(masks.bars(song, 1), lines) == pytest.approx(1)
    first, last = METERS[name][1]
    assert bars_around(masks.bars(song, 3, 4), lines) == slice(lines[1], lines[5])
    half = masks.box(song, steps=(first, (first + lines[3]) // 2))
    assert masked_bars(half, lines) == pytest.approx(0.5, abs=0.05)


def test_an_absurd_bar_line_takes_no_memory():
    mask = masks.everything(64)
    assert masked_bars(mask, [0, 10**12]) < 1e-6
    assert beat_lines((0, 10**12), (), 4, 64).tolist() == list(range(0, 64, 4))
    assert bars_around(mask, [0, 10**12]).start == 0


def test_a_density_of_the_songs_bars_is_of_these(songs):
    song = songs["3/4"]
    mask = masks.bars(song, 3, 6)
    # Six eighths a bar.
    assert onsets_per_bar(render(song), mask, song.bar_lines()) == pytest.approx(6)
    assert onsets_per_bar(render(song), mask) == pytest.approx(8)


# Windows


def networks(width, unit, grain, span):
    return SimpleNamespace(steps_per_beat=4, width=width, unit=unit, grain=grain, span=span)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [(64, 32, 16, 128), (32, 16, 8, 32), (256, 256, 64, 2048)])
def test_windows_begin_with_bars(songs, name, sizes):
    model = networks(*sizes)
    song = songs[name]
    picture = render(song)
    lines = song.bar_lines().tolist()
    for first, last in ((3, 4), (20, 30), (40, 90), (1, len(lines) - 1)):
        mask = masks.bars(song, first, last)
        layout = lay_out(model, picture, mask, lines)
        left = np.pad(mask.any(axis=0), (layout.lead, 0))
        for window in layout.windows:
            assert window.start == 0 or window.start - layout.lead in lines
            left[window] = False

            # What the model is told of the window.
            options = layout.options_of(window, Options("uncover", 1))
            inside = options.lines + options.start
            assert set(inside[1:-1].tolist()) <= set(lines)
            width = min(model.span, layout.reach)
            places = places_of(layout.reach, width, options.lines)
            assert set(places[:-1]) <= set(options.lines.tolist())
        assert not left.any()


@pytest.mark.parametrize("name", ["3/4", "6/8", "7/8", "4/4"])
def test_where_bars_are_alike_all_windows_of_a_call_begin_with_them(songs, name):
    model = networks(32, 16, 8, 64)
    song = songs[name]
    lines = song.bar_lines()
    layout = lay_out(model, render(song), masks.bars(song, 3, 50), lines.tolist())
    assert layout.reach > model.span
    for window in layout.windows:
        places = places_of(
            layout.reach, model.span, layout.options_of(window, Options("", 1)).lines
        )
        assert all((window.start + place) % lines[1] == 0 for place in places)


def test_an_upbeat_becomes_a_whole_bar(songs):
    song = songs["pickup"]
    lines = song.bar_lines().tolist()
    layout = lay_out(networks(256, 256, 64, 2048), render(song), masks.bars(song, 3), lines)
    assert layout.lead == 8
    assert layout.lines[:4].tolist() == [0, 12, 24, 36]
    assert layout.options_of(layout.windows[0], Options("", 1)).start == -8


def test_every_masked_column_is_settled_whatever_the_bars():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        width = int(rng.integers(1, 2000))
        bars = np.cumsum(rng.integers(1, rng.choice([4, 20, 90, 400]), 60))
        mask = np.zeros((128, width), bool)
        for _ in range(rng.integers(0, 4)):
            first = int(rng.integers(0, width))
            mask[60, first : first + int(rng.integers(1, 900))] = True
        model = networks(32, 16, 8, 64)
        layout = lay_out(model, np.zeros((128, width, 3), np.uint8), mask, bars)
        left = np.pad(mask.any(axis=0), (layout.lead, 0))
        for window in layout.windows:
            assert window.start in layout.lines
            assert left[window].any()
            left[window] = False
            assert window.start + layout.reach <= layout.canvas.shape[1]
        assert not left.any()
        assert np.diff(layout.lines)[:-1].max(initial=0) <= LONGEST_UNCUT
        assert layout.reach <= 16 * 32 + 400


def test_no_lines_are_those_of_4_4():
    mask = np.zeros((128, 900), bool)
    mask[60, 333:610] = True
    lines = np.arange(0, 912, 16)
    reach = reach_of(mask, 64, 32)
    assert reach == reach_of(mask, 64, 32, lines=lines)
    assert [*lay_windows(mask, 64, 16)] == [*lay_windows(mask, 64, 16, lines)]
    assert places_of(900, 64) == [*range(0, 836, 32), 836]


# Chords


def test_chords_are_estimated_for_the_songs_bars(model, songs):
    for name, grid in (("3/4", 12), ("4/4", 8)):
        song = songs[name]
        picture = render(song, width=192)
        mask = masks.chords(picture)
        after = pomkit.inpaint(model, picture, mask, bars=song.bar_lines(192).tolist())[0]
        onsets = [chord.onset for chord in read_chords(after)]
        assert len(onsets) > 3
        assert all(onset % grid == 0 for onset in onsets)


def test_half_bars_are_of_even_numbers_of_beats():
    assert half_bars(np.array([0, 16, 28, 36]), 4).tolist() == [0, 8, 16, 28, 32, 36]


# Words


def test_the_command_line_counts_the_songs_bars(tmp_path, capsys):
    path = write(tmp_path / "waltz.mid", METERS["3/4"][0], beats=24)
    arguments = ["--mask", "bars:3-6", "--calls", "1", "--out", str(tmp_path)]
    assert main([str(path), *arguments]) == 0
    assert "in 4.0 masked bars" in capsys.readouterr().out


def test_beats_are_those_that_musicians_count():
    assert beat_lines((0, 12, 24), ((0, 6, 8),), 4, 24).tolist() == [0, 6, 12, 18]
    assert beat_lines((0, 18), ((0, 9, 8),), 4, 18).tolist() == [0, 6, 12]
    assert beat_lines((0, 12), ((0, 12, 16),), 4, 12).tolist() == [0, 3, 6, 9]
    assert beat_lines((0, 6), ((0, 3, 8),), 4, 6).tolist() == [0, 2, 4]
    assert beat_lines((0, 24), ((0, 6, 4),), 4, 24).tolist() == list(range(0, 24, 4))
    assert beat_lines((0, 12, 24), ((0, 3, 4),), 4, 24).tolist() == list(range(0, 24, 4))
    assert beat_lines((0, 14, 28), ((0, 7, 8),), 4, 28).tolist() == list(range(0, 28, 2))
    assert beat_lines((0, 16, 32, 44), ((0, 2, 2), (32, 3, 4)), 4, 44).tolist() == [
        *range(0, 32, 8),
        *range(32, 44, 4),
    ]
    assert beat_lines((0, 48), ((0, 4, 4),), 12, 48).tolist() == [0, 12, 24, 36]
    assert beat_lines((0, 4, 16), (), 4, 16).tolist() == [0, 4, 8, 12]


@pytest.mark.parametrize(
    ("name", "step", "words"),
    [
        ("3/4", 25, "bar 3:1"),
        ("3/4", 33, "bar 3:3"),
        ("6/8", 24, "bar 3:1"),
        ("6/8", 29, "bar 3:1"),
        ("6/8", 35, "bar 3:2"),
        ("7/8", 41, "bar 3:7"),
        ("4/4", 47, "bar 3:4"),
        ("pickup", 3, "bar 1:1"),
        ("pickup", 14, "bar 2:3"),
        ("change", 31, "bar 2:4"),
        ("change", 43, "bar 3:3"),
        ("short bar", 50, "bar 4:1"),
        ("short bar", 52, "bar 5:1"),
    ],
)
def test_the_studio_names_the_right_bar_and_beat(painters, name, step, words):
    painter = painters[name]
    x = float(painter.view.across(step)) + painter.view.zoom / 2
    assert painter._place_in_words(x, 0) == words


@pytest.fixture(scope="module")
def painters(songs):
    pytest.importorskip("ipycanvas")
    from pomkit.studio.painter import MaskPainter

    return {name: MaskPainter(song) for name, song in songs.items()}


def test_the_studio_asks_a_model_for_notes_of_the_songs_bars(model, songs):
    editor = Editor(songs["3/4"])
    editor.add_bars(3, 6)
    settings = defaults() | {"density": 6.0, "method": "uncover"}
    assert options_of(model, editor.state, settings)["density"] == pytest.approx(8)

    # Six onsets a bar are there: they are nearest to the wish.
    picture = editor.state.picture
    fewer = picture.copy()
    fewer[:, 24:36] = 0
    assert density_order([fewer, picture], editor.state, 6).tolist() == [1, 0]
    assert density_order([fewer, picture], editor.state, 4.5).tolist() == [0, 1]


def test_the_studio_keeps_the_grid_of_a_song(tmp_path):
    song = pomkit.Song([(0, 12, 60, 80, 0), (48, 12, 62, 80, 0)], steps_per_beat=12)
    editor = Editor(song)
    assert editor.song.steps_per_beat == 12
    assert editor.state.bars == (0, 48)
    assert editor.state.beats.tolist() == [0, 12, 24, 36, 48]
    again = read_midi(editor.song.write_midi(tmp_path / "again.mid"))
    assert again.notes["onset"].tolist() == [0, 16]

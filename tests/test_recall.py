"""A song's memory: bars that come back are found, nothing hidden is told, models may use it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import Chord, OptionError, Song, compose, doubt, inpaint, masks, render
from pomkit.data import Windows
from pomkit.judge import tasks
from pomkit.judge.judging import Judge, Question
from pomkit.music.bars import lines_until
from pomkit.music.recall import RECALL_CHANNELS, KnownSong, WholeSong, recall, source_bars
from pomkit.networks.hdit import HDiT, HDiTConfig, Level
from pomkit.networks.local import Local
from pomkit.processes.categorical import CategoricalDenoiser
from pomkit.processes.cells import Cells
from pomkit.processes.states import VELOCITIES, told_channels
from pomkit.training import TrainOptions, TrainSet, new_model

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)
WIDTH = 64
BAR = 16
BAR_OF_SIX = 12
LABELS = ("C:maj", "F:maj", "G:maj", "A:min", "D:min", "E:min", "B:dim", "A#:maj")
BORDER = 8
# Windows that show all chords and hide all notes.
NO_CHANCE = {"chord_dropout": 0, "mix": {"all": 1.0}, "semitones": (-3, 3)}


def section(rng, bars):
    """The notes and chords of some bars of their own, from step 0."""
    notes = [
        (bar * BAR + int(step), 2, int(pitch), 80, 0)
        for bar in range(bars)
        for step, pitch in zip(
            rng.choice(14, 5, replace=False), rng.integers(40, 80, 5), strict=True
        )
    ]
    chords = [Chord(bar * BAR, BAR, str(rng.choice(LABELS))) for bar in range(bars)]
    return notes, chords


def song_of(sections, order):
    """Sections one after the other; each is (notes, chords) of as many bars."""
    notes, chords, at = [], [], 0
    for name in order:
        part, words = sections[name]
        notes += [(onset + at, *rest) for onset, *rest in part]
        chords += [chord._replace(onset=chord.onset + at) for chord in words]
        at += BAR * len(words)
    return Song(notes, chords=chords, bars=range(0, at, BAR))


@pytest.fixture
def sections(rng):
    return {name: section(rng, 4) for name in "ABC"}


def sheet_of(song, hidden_bars):
    picture = render(song, 0, song.bars[-1] + BAR)
    unknown = masks.bars(picture, *hidden_bars)
    return KnownSong.of(picture, unknown, song.bars), picture, unknown


def test_a_section_that_comes_back_is_recalled_by_its_chords(sections):
    song = song_of(sections, "ABCAB")
    sheet, picture, unknown = sheet_of(song, (13, 16))
    assert np.array_equal(source_bars(sheet, 12, 16), [0, 1, 2, 3])
    onset, _, known = recall(sheet, 12 * BAR, 4 * BAR)
    first = KnownSong.of(picture, np.zeros_like(unknown), song.bars)
    assert np.array_equal(onset, first.onset[:, : 4 * BAR])
    assert known.all()


def test_a_section_that_comes_back_is_recalled_by_the_notes_beside_it(sections):
    plain = {name: (notes, []) for name, (notes, _) in sections.items()}
    notes = [note for name in "ABCAB" for note in plain[name][0]]
    moved = [(onset + 4 * BAR * (i // 20), *rest) for i, (onset, *rest) in enumerate(notes)]
    song = Song(moved, bars=range(0, 20 * BAR, BAR))
    picture = render(song, 0, 20 * BAR)
    unknown = masks.bars(picture, 14, 15)
    sheet = KnownSong.of(picture, unknown, song.bars)
    # Bars 13 and 16 are known; what lies between them follows.
    assert np.array_equal(source_bars(sheet, 12, 16), [0, 1, 2, 3])


def test_no_bar_recalls_itself_or_what_is_hidden(rng):
    song = make_song(rng, count=300, end=20 * BAR)
    picture = render(song, 0, 20 * BAR)
    for seed in range(8):
        drawn = np.random.default_rng(seed)
        unknown = drawn.random((20, 1)) < 0.6
        unknown = np.broadcast_to(unknown.repeat(BAR, 0).T, picture.shape[:2])
        sheet = KnownSong.of(picture, unknown)
        source = source_bars(sheet, 0, 20)
        assert (source != np.arange(20)).all()
        planes = recall(sheet, 0, 20 * BAR)
        assert not (planes[:2].any(axis=0) & ~planes[2]).any()
        hidden = unknown[0, ::BAR]
        for bar, other in enumerate(source):
            if hidden[bar] and other >= 0:
                assert not hidden[other]


def test_what_lies_under_the_mask_is_not_looked_at(rng):
    song, other = make_song(rng, end=12 * BAR), make_song(rng, end=12 * BAR)
    unknown = masks.bars(12 * BAR, 4, 7) & masks.everything(12 * BAR)
    one, two = (render(each, 0, 12 * BAR) for each in (song, other))
    two[~unknown] = one[~unknown]
    planes = [recall(KnownSong.of(each, unknown), 0, 12 * BAR)[[0, 2]] for each in (one, two)]
    assert np.array_equal(*planes)


def test_bars_of_many_lengths_lie_where_they_begin():
    lines = [0, 12, 28, 40, 56]
    notes = [(12, 1, 60, 80, 0), (20, 1, 64, 80, 0), (40, 1, 60, 80, 0), (44, 1, 67, 80, 0)]
    song = Song(notes, chords=[Chord(12, 16, "C:maj"), Chord(40, 16, "C:maj")], bars=lines)
    picture = render(song, 0, 56)
    unknown = np.zeros(picture.shape[:2], bool)
    unknown[BORDER:-BORDER, 44:56] = True
    onset, _, known = recall(KnownSong.of(picture, unknown, lines), 40, 16)
    assert np.array_equal(np.argwhere(onset), [[127 - 64, 8], [127 - 60, 0]])
    assert known.all()


def test_a_hidden_melody_is_reminded_of_a_verse_and_never_of_its_introduction(sections):
    """The same accompaniment everywhere; the introduction has no melody, so it is no answer."""
    accompaniment, chords = sections["A"]
    low = [(onset, length, pitch % 12 + 40, *rest) for onset, length, pitch, *rest in accompaniment]
    melody = [(bar * BAR + 4, 3, 72 + bar, 90, 0) for bar in range(4)]
    verses = {"I": (low, chords), "V": (low + melody, chords)}
    song = song_of(verses, "IVIV")
    picture = render(song, 0, 16 * BAR)
    hidden = masks.bars(picture, 13, 16)
    hidden[:BORDER] = hidden[127 - 60 :] = False
    sheet = KnownSong.of(picture, hidden, song.bars)
    assert np.array_equal(source_bars(sheet, 12, 16), [4, 5, 6, 7])
    onset, *_ = recall(sheet, 12 * BAR, 4 * BAR)
    assert onset[: 127 - 60].sum() == len(melody)

    # Where no other bar has notes, there is nothing to be reminded of.
    alone = render(song_of({"I": (low, chords), "V": (low + melody, chords)}, "IIV"), 0, 12 * BAR)
    hidden = masks.bars(alone, 9, 12)
    hidden[:BORDER] = hidden[127 - 60 :] = False
    assert (source_bars(KnownSong.of(alone, hidden), 8, 12) == -1).all()


def test_a_song_of_one_bar_is_reminded_of_nothing():
    picture = render(Song([(0, 2, 60, 80, 0)]), 0, BAR)
    planes = recall(KnownSong.of(picture, masks.everything(picture)), 0, WIDTH)
    assert planes.shape == (RECALL_CHANNELS, 128, WIDTH)
    assert not planes.any()


def cells_model(recalls=True):
    torch.manual_seed(0)
    channels = Cells.in_channels(len(VELOCITIES), recalls=recalls)
    config = replace(TOY, in_channels=channels, out_channels=2 + len(VELOCITIES))
    model = Cells(HDiT(config), width=WIDTH).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_windows_remember_their_song_and_hide_what_they_mask(sections):
    song = song_of(sections, "ABCABCAB")
    windows = Windows([song], WIDTH, **NO_CHANCE)
    assert windows[0].memory.shape == (RECALL_CHANNELS, 128, 0)
    windows.recalls = True
    told = 0
    for i in range(12):
        window = windows[i]
        assert np.array_equal(window.picture, Windows([song], WIDTH, **NO_CHANCE)[i].picture)
        music = window.picture[BORDER:-BORDER, :, 0] > 0
        told += np.array_equal(window.memory[0][BORDER:-BORDER], music)
    # Every section stands in the song twice at least, and so does what a window holds of it.
    assert told >= 8


def test_a_model_that_gets_a_memory_answers_as_before_and_then_learns_of_it():
    plain = cells_model(recalls=False)
    more = plain.extended(True, Local(), recalls=True)
    assert more.recalls
    assert more.bar_position
    cells = torch.randint(0, plain.states + 1, (2, 128, WIDTH))
    chords = torch.rand(2, 3, 128, WIDTH)
    told = torch.cat([chords, torch.rand(2, 7, 128, WIDTH)], dim=1)
    t = torch.tensor([0.3, 0.9])
    with torch.no_grad():
        assert torch.allclose(plain(cells, chords, t), more(cells, told, t), atol=1e-5)


def test_training_tells_the_memory_and_sometimes_nothing(sections):
    windows = Windows([song_of(sections, "ABCABCAB")], WIDTH, **NO_CHANCE)
    windows.recalls = True
    items = [TrainSet(windows, cells_model(), 4)[i]["chords"] for i in range(40)]
    untold = [not item[3:].any() for item in items]
    assert 0 < sum(untold) < 20
    for i, item in enumerate(items):
        assert item.shape == (3 + RECALL_CHANNELS, 128, WIDTH)
        if not untold[i]:
            assert np.array_equal(item[3:], windows[i].memory)


def test_composing_tells_the_memory_of_the_whole_picture(sections):
    song = song_of(sections, "ABCABCAB")
    picture = render(song, 0, 32 * BAR)
    mask = masks.bars(picture, 13, 16)
    model, seen = cells_model(), []
    forward = model.forward
    model.forward = lambda cells, chords, t, **more: (
        seen.append(chords) or forward(cells, chords, t, **more)
    )
    inpaint(model, picture, mask, n=2, calls=2, seed=1)
    sheet = KnownSong.of(picture, mask)
    start = 12 * BAR - WIDTH // 4
    wanted = recall(sheet, start, seen[0].shape[-1])
    for candidate in seen[0]:
        assert np.array_equal(candidate[3:].numpy() > 0, wanted)
    assert wanted[:, :, WIDTH // 4 :][2].any()


def told_by(model, seen):
    """Keep what a model is told beside the cells, the chords and the memory, at each call."""
    forward = model.forward

    def call(cells, chords, t, **more):
        seen.append(chords.numpy().copy())
        return forward(cells, chords, t, **more)

    model.forward = call
    return model


@pytest.mark.parametrize("at", [0, 8, 24, 28])
def test_a_window_with_its_whole_song_recalls_what_the_song_would(sections, at):
    """Also at the song's beginning, at its end, and beyond it."""
    song = song_of(sections, "ABCABCAB")
    start, width = at * BAR, WIDTH * 2
    window = render(song, start, width)
    mask = masks.bars(window, 3, 4)
    seen = []
    inpaint(told_by(cells_model(), seen), window, mask, calls=1, whole=WholeSong.of(song, start))

    whole = render(song, 0, max(start + width, 32 * BAR))
    unknown = np.zeros(whole.shape[:2], bool)
    unknown[:, start : start + width] = mask
    sheet = KnownSong.of(whole, unknown)
    # It composes the bars from a quarter of its width before the mask.
    first = start + 2 * BAR - WIDTH // 4
    wanted = recall(sheet, first, seen[0].shape[-1])
    inside = slice(0, start + width - first)
    assert np.array_equal(seen[0][0, 3:, :, inside] > 0, wanted[..., inside])


def test_a_window_alone_recalls_less_than_with_its_song(sections):
    song = song_of(sections, "ABCABCAB")
    window = render(song, 8 * BAR, WIDTH)
    mask = masks.everything(window)
    alone, beside = [], []
    inpaint(told_by(cells_model(), alone), window, mask, calls=1)
    whole = WholeSong.of(song, 8 * BAR)
    inpaint(told_by(cells_model(), beside), window, mask, calls=1, whole=whole)
    assert not alone[0][:, 3:].any()
    assert beside[0][:, 3:].any()


def test_the_judge_gives_a_model_with_a_memory_the_whole_song(sections):
    song = song_of(sections, "ABCABCAB")
    window = tasks.TestWindow(song, 8 * BAR, render(song, 8 * BAR, WIDTH))
    question = Question(window, masks.everything(WIDTH))
    for chords, some in (("annotated", True), ("none", False)):
        seen = []
        model = told_by(cells_model(), seen)
        judge = Judge(model, [song], count=1, progress=False, chords=[chords], calls=1)
        judge.compose(0, question, next(iter(judge.model_rows)))
        assert seen[0][:, 3:].any() == some


def test_doubt_remembers_the_song_and_not_what_it_hides(sections):
    song = song_of(sections, "ABCABCAB")
    picture = render(song, 0, 32 * BAR)
    seen = []
    bits = doubt(told_by(cells_model(), seen), picture, calls=2)
    assert all(each[:, 3:].any() for each in seen)
    assert np.isfinite(bits).all()

    # Of a song of one section that does not come back there is nothing to remember.
    seen = []
    once = song_of(sections, "A")
    doubt(told_by(cells_model(), seen), render(once, 0, BAR), calls=2)
    assert not any(each[:, 3:].any() for each in seen)


def test_what_a_network_is_told_stands_in_one_order(rng):
    picture = render(make_song(rng), 0, WIDTH)
    position = np.ones((4, WIDTH), np.float32)
    memory = np.zeros((RECALL_CHANNELS, 128, WIDTH), bool)
    assert told_channels(picture, None, position, memory=memory).shape == (10, 128, WIDTH)
    assert not told_channels(picture, None, None, memory=memory)[3:].any()


def test_a_run_asks_for_the_memory_by_its_option():
    options = TrainOptions(memory=True, model="tiny")
    assert Cells.from_options(options).recalls
    assert Cells.begin_with(cells_model(recalls=False), options).recalls


@pytest.mark.parametrize("told", ["memory", "bar_position"])
@pytest.mark.parametrize("run", [{"process": "edm", "head": "pixels"}, {"process": "pixelcnn"}])
def test_a_run_that_cannot_tell_it_is_refused(told, run):
    with pytest.raises(OptionError, match=f"{told} is asked for"):
        new_model(TrainOptions(model="tiny", **run, **{told: True}))


def test_noise_does_not_begin_with_a_model_that_has_a_memory():
    with pytest.raises(OptionError, match="learned with the song's memory"):
        CategoricalDenoiser.from_cells(cells_model(), Local())


@pytest.mark.parametrize("named", [True, False])
def test_an_excerpt_of_a_song_is_composed_with_the_whole_song_in_sight(sections, named):
    """Also where the song names no chords: those that are heard are seen everywhere."""
    song = song_of(sections, "ABCABC")
    song = song if named else song.with_notes(song.notes, chords=())
    start, mask = 12 * BAR, masks.everything(WIDTH)
    seen, expected = [], []
    compose(told_by(cells_model(), seen), song, mask, start=start, calls=1, seed=1)
    told = WholeSong.of(song.with_chords() if not named else song, start)
    told_too = told_by(cells_model(), expected)
    compose(told_too, song, mask, start=start, calls=1, seed=1, whole=told)
    assert np.array_equal(seen[0], expected[0])
    assert seen[0][:, 3:].any()


@pytest.mark.parametrize("width", [72, 84, 120])
def test_a_picture_that_is_all_there_is_recalls_what_its_song_would(sections, width):
    """Its last window reaches beyond its end, where there is nothing to recall."""
    song = song_of(sections, "ABA")
    bars = range(0, width, BAR_OF_SIX)
    picture = render(song)[:, :width]
    mask = masks.box(picture, (0, 127), (width - 36, width - 24))
    lines = lines_until(bars, width)
    alone, whole = [], []
    options = {"calls": 1, "seed": 1, "bars": bars}
    inpaint(told_by(cells_model(), alone), picture, mask, **options)
    known = WholeSong(picture, 0, lines)
    inpaint(told_by(cells_model(), whole), picture, mask, whole=known, **options)
    assert all(np.array_equal(*pair) for pair in zip(alone, whole, strict=True))


def test_nothing_is_looked_up_where_nobody_wants_it(sections):
    song = song_of(sections, "ABA")
    picture = render(song)
    mask = masks.bars(song, 10, 11)
    seen = []
    inpaint(told_by(cells_model(), seen), picture, mask, calls=1, whole=False)
    compose(told_by(cells_model(), seen), song, mask, calls=1, whole=False)
    assert not seen[0][:, 3:].any()
    assert not seen[1][:, 3:].any()


def test_a_whole_that_is_no_song_is_refused(sections):
    song = song_of(sections, "AB")
    with pytest.raises(OptionError, match="WholeSong.of"):
        inpaint(cells_model(), render(song), masks.bars(song, 1, 1), whole=song)

"""Doubt: laws on a world so small that all of it can be summed, and what is hidden of a window."""

import itertools

import numpy as np
import pytest
import torch
from conftest import make_song

import pomkit
from pomkit import OptionError, PictureError, Song, masks, render
from pomkit.composing.doubting import deal, in_silence
from pomkit.music.pixels import read_spans, row_of_pitch
from pomkit.music.tables import NOTE_DTYPE
from pomkit.processes.categorical import CategoricalDenoiser
from pomkit.processes.cells import Cells
from pomkit.processes.contract import Model, sized_network
from pomkit.processes.states import OFF, ONSET, SUSTAIN

# In the small world only these cells may sound: pitches 61 and 60, steps 4 to 6 of 16.
ROWS, COLUMNS, WIDTH = slice(66, 68), slice(4, 7), 16
BINS = 4


def is_whole(row: tuple[int, ...]) -> bool:
    """Whether every sustain follows a note."""
    return all(b != SUSTAIN or a != OFF for a, b in itertools.pairwise((OFF, *row)))


ROWS_OF_NOTES = [row for row in itertools.product(range(3), repeat=3) if is_whole(row)]
WORLD = torch.tensor(
    [a + b for a, b in itertools.product(ROWS_OF_NOTES, repeat=2)]
)  # (pictures, 6)


class SmallWorld(Cells):
    """A cells model that knows the exact p(cell | visible cells); all velocities are as likely."""

    def __init__(self) -> None:
        Model.__init__(self, torch.nn.Linear(1, 1), WIDTH)
        self.velocities, self.states = (30, 60, 90, 120), ONSET + BINS
        self.pair_head = None
        weights = np.random.default_rng(3).gamma(0.4, size=len(WORLD)) + 1e-3
        self.p = torch.tensor(weights / weights.sum())

    def forward(self, cells, chords, t):
        seen = cells[:, ROWS, COLUMNS].reshape(len(cells), 1, 6)
        kind = torch.where(seen < self.states, seen.clamp(max=ONSET), -1)
        fits = ((kind == WORLD) | (kind == -1)).all(-1) * self.p  # (batch, pictures)
        each = torch.nn.functional.one_hot(WORLD, 3).to(fits)
        p = torch.einsum("bk,kcs->bsc", fits / fits.sum(1, keepdim=True), each)
        onset = p[:, ONSET:].expand(-1, BINS, -1) / BINS
        logits = torch.full((len(cells), self.states, 128, WIDTH), -70.0)
        logits[:, OFF] = 0
        by_state = torch.cat([p[:, :ONSET], onset], dim=1).reshape(-1, self.states, 2, 3)
        logits[:, :, ROWS, COLUMNS] = by_state.clamp(min=1e-30).log().float()
        return logits


def small_picture(notes) -> np.ndarray:
    """A picture of the small world, of notes (step, duration, pitch)."""
    return render(Song([(*note, 90, 0) for note in notes]), 0, WIDTH)


def exact_bits(model: SmallWorld, notes, note) -> float:
    """-log2 p(the note begins | all cells but its own), summed over all pictures."""
    states = np.zeros((2, 3), int)
    for step, duration, pitch in notes:
        states[61 - pitch, step - 4 : step - 4 + duration] = SUSTAIN
        states[61 - pitch, step - 4] = ONSET
    own = np.zeros((2, 3), bool)
    step, duration, pitch = note
    own[61 - pitch, step - 4 : step - 4 + duration] = True
    first = (61 - pitch) * 3 + step - 4

    total = begins = 0.0
    for picture, p in zip(WORLD.numpy(), model.p.tolist(), strict=True):
        if (picture.reshape(2, 3) == states)[~own].all():
            total += p
            begins += p * (picture[first] == ONSET)
    return -np.log2(begins / total)


@pytest.mark.parametrize(
    "notes",
    [
        [(4, 1, 60), (5, 1, 61), (6, 1, 60)],
        [(4, 1, 61), (5, 1, 61), (6, 1, 61), (6, 1, 60)],
        [(4, 2, 60), (5, 2, 61), (6, 1, 60)],
    ],
)
def test_with_one_note_a_call_it_is_the_exact_surprise(notes):
    model = SmallWorld()
    bits = pomkit.doubt(model, small_picture(notes), calls=None, empty=0)
    for note in notes:
        step, duration, pitch = note
        cells = bits[row_of_pitch(pitch), step : step + duration]
        assert cells == pytest.approx([exact_bits(model, notes, note)] * duration, abs=1e-4)


def test_hidden_together_notes_are_told_less():
    notes = [(4, 1, 60), (5, 1, 61), (6, 1, 60)]
    alone = pomkit.doubt(SmallWorld(), small_picture(notes), calls=None, empty=0)
    together = pomkit.doubt(SmallWorld(), small_picture(notes), calls=1, empty=0)
    assert not np.allclose(alone, together, atol=1e-3)


class Recorder(Model):
    """Remembers what was hidden from it, and how much was known on either side; knows nothing."""

    process, options = "recorder", frozenset({"calls"})
    methods = {"none": 1}

    def __init__(self, width: int = 64) -> None:
        super().__init__(torch.nn.Linear(1, 1), width)
        self.asked: list[tuple[np.ndarray, np.ndarray, int]] = []

    def surprise(self, picture, hidden, options):
        self.asked.append((picture, hidden, options.start))
        return np.ones((3, *hidden.shape), np.float32)


def test_whole_notes_are_hidden_once_each_with_as_many_empty_cells(rng):
    picture = render(make_song(rng, count=60, chords=False), 0, 64)
    spans = read_spans(picture)
    sounds = spans.onset | spans.sustain
    model = Recorder()
    pomkit.doubt(model, picture, calls=5)
    assert len(model.asked) == 5
    times = sum((hidden & sounds).astype(int) for _, hidden, _ in model.asked)
    assert (times == sounds).all()
    for _, hidden, _ in model.asked:
        notes = hidden & sounds
        # Stretches may lie over each other, so that a few cells are missing.
        assert 0.5 * notes.sum() < (hidden & ~sounds).sum() <= notes.sum()
        # A sustain is hidden with what is before it.
        assert (notes[:, :-1] | ~notes[:, 1:] | ~spans.sustain[:, 1:]).all()


def test_neighbours_are_dealt_to_different_calls(rng):
    notes = np.zeros(37, NOTE_DTYPE)
    notes["onset"] = rng.integers(0, 9, 37)
    notes["pitch"] = rng.permutation(37) + 40
    groups = deal(notes, 8, rng)
    assert sorted(np.concatenate(groups).tolist()) == list(range(37))
    order = np.lexsort((notes["pitch"], notes["onset"])).tolist()
    call = {note: number for number, group in enumerate(groups) for note in group}
    for start in range(0, 37, 8):
        block = [call[note] for note in order[start : start + 8]]
        assert len(set(block)) == len(block)
    assert len(deal(notes[:3], 8, rng)) == 3
    assert deal(notes[:0], 8, rng) == []


def test_empty_stretches_are_empty_and_as_long(rng):
    sounds = rng.random((128, 40)) < 0.1
    sounds[:50] = sounds[90:] = False
    notes = np.zeros(30, NOTE_DTYPE)
    notes["duration"] = rng.integers(1, 9, 30)
    moved = in_silence(notes, sounds, rng)
    assert len(moved) > 20
    assert np.isin(moved["duration"], notes["duration"]).all()
    for note in moved:
        row, step = row_of_pitch(note["pitch"]), note["onset"]
        assert not sounds[row, step : step + note["duration"]].any()
        assert 50 <= row < 90
        assert step + note["duration"] <= 40


def test_a_wide_picture_is_read_window_by_window_each_note_once_with_music_around_it(rng):
    width = 600
    picture = render(make_song(rng, count=200, end=width, chords=False), 0, width)
    spans = read_spans(picture)
    model = Recorder(width=16)  # 16 windows of 16 columns are read together, 4 of them around
    bits = pomkit.doubt(model, picture, calls=3)
    assert (bits == (spans.onset | spans.sustain)).all()
    times = np.zeros((128, width + 256), int)
    for part, hidden, start in model.asked:
        begins = hidden & read_spans(part).onset
        times[:, start : start + part.shape[1]] += begins
        columns = np.flatnonzero(begins.any(axis=0)) + start
        assert start == 0 or columns.min() >= start + 4
        assert start + part.shape[1] >= width or columns.max() < start + part.shape[1] - 4
    assert (times[:, :width] == spans.onset).all()
    assert len({start for *_, start in model.asked}) > 1


def test_a_callback_is_told_of_each_call_and_may_end_it(rng):
    picture = render(make_song(rng, count=60, end=600, chords=False), 0, 600)
    model = Recorder(width=16)
    heard = []
    bits = pomkit.doubt(model, picture, calls=3, callback=heard.append)
    count = len(model.asked)
    assert heard == [{"i": i, "n": count} for i in range(count)]
    assert np.array_equal(bits, pomkit.doubt(Recorder(width=16), picture, calls=3))

    def end(event):
        raise InterruptedError

    model.asked.clear()
    with pytest.raises(InterruptedError):
        pomkit.doubt(model, picture, calls=3, callback=end)
    assert len(model.asked) == 1


def test_the_same_seed_gives_the_same_doubt_and_silence_has_none():
    model = pomkit.load_model("tiny")
    picture = render(pomkit.read_midi(pomkit.data.songs()["ode_to_joy"]), 0, 64)
    before = picture.copy()
    bits = pomkit.doubt(model, picture)
    spans = read_spans(picture)
    assert bits.dtype == np.float32
    assert bits.shape == picture.shape[:2]
    assert ((bits > 0) == (spans.onset | spans.sustain)).all()
    assert np.array_equal(bits, pomkit.doubt(model, picture, seed=0))
    assert not np.array_equal(bits, pomkit.doubt(model, picture, seed=1))
    assert np.array_equal(picture, before)
    assert not pomkit.doubt(model, np.zeros_like(picture)).any()


@pytest.mark.parametrize("name", ["tiny", "tiny-edm"])
def test_a_wrong_note_is_the_oddest(name):
    song = pomkit.read_midi(pomkit.data.songs()["ode_to_joy"])
    notes = song.notes[song.notes["onset"] < 60].copy()
    wrong = np.flatnonzero(notes["onset"] == 32)[-1]
    notes["pitch"][wrong] += 1
    picture = render(Song(notes, song.chords), 0, 64)
    row, step = row_of_pitch(notes["pitch"][wrong]), notes["onset"][wrong]
    mask = masks.doubtful(picture, pomkit.load_model(name), share=0.01)
    assert mask[row, step]
    assert mask.sum() == notes["duration"][wrong]


def test_the_mask_has_the_share_of_the_notes_that_was_asked_for():
    picture = small_picture([(4, 2, 60), (4, 1, 61), (5, 1, 61), (6, 1, 60), (6, 1, 61)])
    spans = read_spans(picture)
    for share, wanted in ((0, 0), (1e-9, 1), (0.5, 3), (0.8, 4), (1, 5)):
        mask = masks.doubtful(picture, SmallWorld(), share)
        assert (mask & spans.onset).sum() == wanted
        assert not (mask & ~spans.onset & ~spans.sustain).any()
    assert (mask == (spans.onset | spans.sustain)).all()


def test_a_head_of_cells_that_knows_nothing_says_how_often_notes_begin():
    network = sized_network("tiny", in_channels=12, out_channels=6)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    model = CategoricalDenoiser(network, width=64, shares=(0.95, 0.04, 0.01)).eval()
    bits = pomkit.doubt(model, render(Song([(0, 8, 60, 80, 0), (8, 4, 72, 80, 0)]), 0, 64))
    assert bits[bits > 0] == pytest.approx(-np.log2(0.01), abs=0.3)


def test_pixels_do_not_say_how_likely_a_note_is():
    with pytest.raises(OptionError, match="head cells"):
        pomkit.doubt("tiny-edm-pixels", small_picture([(4, 1, 60)]))


@pytest.mark.parametrize(
    "wrong",
    [{"calls": 0}, {"calls": 2.5}, {"empty": -1}, {"seed": "x"}, {"bars": "x"}, {"meters": [1]}],
)
def test_odd_options_are_refused(wrong):
    with pytest.raises(OptionError):
        pomkit.doubt(SmallWorld(), small_picture([(4, 1, 60)]), **wrong)


def test_what_is_no_picture_no_share_or_comes_by_position_is_refused():
    with pytest.raises(PictureError):
        pomkit.doubt(SmallWorld(), np.zeros((3, 4)))
    with pytest.raises(OptionError, match="share"):
        masks.doubtful(small_picture([(4, 1, 60)]), SmallWorld(), share=5)
    with pytest.raises(OptionError, match="by name"):
        pomkit.doubt(SmallWorld(), small_picture([(4, 1, 60)]), 8)

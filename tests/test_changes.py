"""What a composed picture changes in a song: the rules at its edges, and laws on random songs."""

from collections import Counter

import mido
import numpy as np
import pytest

from pomkit import Chord, OptionError, PictureError, Song, masks, read_midi, render
from pomkit.music.changes import ChangeReport, mask_of_parts, with_region
from pomkit.music.pixels import read_spans
from pomkit.music.players import Players

ROWS = np.arange(128)[:, None]
NOTE_ROWS = (ROWS >= 8) & (ROWS < 120)
WIDTH = 24


def changed(song, new, first, last, **options):
    """A song whose steps `first` to `last` are composed as another song has them, and how."""
    before = render(song, width=WIDTH)
    mask = masks.box(WIDTH, steps=(first, last))
    if "part" in options:
        mask = mask_of_parts(song, mask, options["part"])
    after = np.where(mask[..., None], render(Song(new), width=WIDTH), before)
    result, report = with_region(song, mask, after, **options)
    return result.notes.tolist(), report


def two_parts(*notes):
    return Song([*notes], parts=("violin", "bass"), channels=(0, 1))


def test_a_note_without_a_cell_in_the_mask_stays():
    song = two_parts((0, 8, 60, 77, 1), (16, 20, 61, 3, 0))
    notes, report = changed(song, [(8, 2, 70, 90, 0)], 8, 16)
    assert notes == [(0, 8, 60, 77, 1), (8, 2, 70, 90, 0), (16, 20, 61, 3, 0)]
    assert report == ChangeReport(added=1)


def test_a_note_that_begins_in_the_mask_goes_with_its_tail():
    notes, report = changed(two_parts((10, 10, 60, 77, 1)), [(10, 2, 60, 90, 0)], 8, 16)
    assert notes == [(10, 2, 60, 90, 1)]
    assert report == ChangeReport(removed=1, added=1, tails=1)


@pytest.mark.parametrize("end", [20, 40])
def test_a_new_note_that_reaches_an_old_tail_ends_where_that_ended(end):
    """Even behind the picture."""
    notes, report = changed(
        two_parts((9, end - 9, 60, 77, 1), (0, 1, 61, 7, 0)), [(12, 9, 60, 90, 0)], 8, 16
    )
    assert notes == [(0, 1, 61, 7, 0), (12, end - 12, 60, 90, 1)]
    assert report == ChangeReport(removed=1, added=1)


def test_a_note_from_before_the_mask_stays_where_the_picture_holds_it():
    song = two_parts((4, 16, 60, 77, 1))
    notes, report = changed(song, [(4, 16, 60, 99, 0)], 8, 16)
    assert notes == song.notes.tolist()
    assert report == ChangeReport()


@pytest.mark.parametrize(("held", "end"), [(4, 8), (6, 10), (11, 15)])
def test_a_note_from_before_the_mask_ends_where_the_picture_is_silent(held, end):
    notes, report = changed(two_parts((4, 16, 60, 77, 1)), [(4, held, 60, 99, 0)], 8, 16)
    assert notes == [(4, end - 4, 60, 77, 1)]
    assert report == ChangeReport(ended=1, tails=1)
    assert report.remarks() == (
        "notes from before the region that end in it now: 1",
        "notes that lost what sounded of them behind the region: 1",
    )


def test_a_new_strike_ends_a_note_and_takes_over_its_tail():
    notes, report = changed(two_parts((4, 16, 60, 77, 1)), [(12, 8, 60, 99, 0)], 12, 16)
    assert notes == [(4, 8, 60, 77, 1), (12, 8, 60, 99, 1)]
    assert report == ChangeReport(ended=1, added=1)


def test_a_note_that_ends_before_the_mask_is_not_prolonged():
    song = two_parts((4, 4, 60, 77, 1))
    notes, report = changed(song, [(4, 9, 60, 77, 0)], 8, 16)
    assert notes == song.notes.tolist()
    assert report == ChangeReport(prolonged=1)


def test_of_merged_notes_each_part_has_its_own_cells():
    """Both begin at step 4; the picture shows one note, as long as the longer one."""
    song = two_parts((4, 2, 60, 77, 0), (4, 12, 60, 50, 1))
    notes, report = changed(song, [(0, 1, 100, 1, 0)], 8, 12)
    assert notes == [(4, 2, 60, 77, 0), (4, 4, 60, 50, 1)]
    assert report == ChangeReport(ended=1, tails=1)


def test_a_note_that_another_part_cut_in_the_picture_keeps_its_hidden_steps():
    song = two_parts((0, 20, 60, 77, 0), (4, 2, 60, 50, 1))
    notes, _ = changed(song, [(0, 1, 100, 1, 0)], 22, 24)
    assert notes == song.notes.tolist()


def test_a_new_note_takes_over_a_tail_that_the_picture_hides():
    """The bass cuts the violin's note in the picture at step 16; it sounds until 20."""
    song = two_parts((9, 11, 60, 77, 0), (16, 2, 60, 50, 1))
    notes, report = changed(song, [(10, 8, 60, 99, 0)], 8, 16)
    assert notes == [(10, 10, 60, 99, 0), (16, 2, 60, 50, 1)]
    assert report == ChangeReport(removed=1, added=1)


def test_a_note_from_before_the_picture_is_held_by_a_strike_in_column_0():
    song = two_parts((0, 16, 60, 77, 1))
    mask = masks.everything(8)
    result, report = with_region(song, mask, render(song, 4, 8), start=4)
    assert result == song
    assert report == ChangeReport()
    result, _ = with_region(song, mask, np.zeros((128, 8, 3), np.uint8), start=4)
    assert result.notes.tolist() == [(0, 4, 60, 77, 1)]


def test_a_mask_of_one_part_leaves_the_others():
    song = two_parts((8, 4, 60, 77, 0), (8, 4, 50, 50, 1))
    notes, _ = changed(song, [(9, 2, 62, 99, 0)], 8, 16, part="bass")
    assert notes == [(8, 4, 60, 77, 0), (9, 2, 62, 99, 1)]
    assert not mask_of_parts(song, masks.everything(24), 1)[127 - 60, 8:12].any()
    with pytest.raises(OptionError, match="no part 'flute'"):
        changed(song, [(9, 2, 62, 99, 0)], 8, 16, part="flute")


def test_a_new_note_goes_to_the_part_that_is_nearest_by_pitch_and_time():
    high, low = (0, 4, 72, 80, 0), (0, 4, 48, 80, 1)
    players = Players.of(two_parts(high, low))
    new = np.array([(4, 1, 61, 1, -1), (4, 1, 59, 1, -1), (4, 1, 60, 1, -1)]).T
    assert players.nearest(new).tolist() == [0, 1, 0]

    # The violin ended 16 bars before, which is as much as 32 semitones.
    late = np.array([(260, 1, 72, 1, -1)]).T
    assert Players.of(two_parts(high, low, (256, 4, 50, 80, 1))).nearest(late).tolist() == [1]


def test_drums_get_no_new_notes_unless_they_are_asked_for():
    song = Song([(0, 4, 40, 80, 0), (8, 4, 70, 80, 1)], parts=("drums", "flute"), channels=(9, 0))
    notes, _ = changed(song, [(12, 2, 40, 99, 0)], 12, 16)
    assert (12, 2, 40, 99, 1) in notes
    notes, _ = changed(song, [(12, 2, 40, 99, 0)], 12, 16, part="drums")
    assert (12, 2, 40, 99, 0) in notes
    alone = Song([(0, 4, 40, 80, 0)], parts=("drums",), channels=(9,))
    with pytest.raises(OptionError, match="name one with part="):
        changed(alone, [(12, 2, 40, 99, 0)], 12, 16)


def test_a_new_note_has_the_program_that_its_channel_has_at_that_time(tmp_path):
    """One track: a piano until beat 8, then a flute that plays only from beat 12 on."""
    track = mido.MidiTrack()
    for start, program, pitch in [(0, 0, 60), (8, 73, 84)]:
        if start:
            track.append(mido.Message("program_change", program=program, time=4 * 480))
        for number in range(4):
            pause = 4 * 480 if start and not number else 0
            track.append(mido.Message("note_on", note=pitch, velocity=80, time=pause))
            track.append(mido.Message("note_off", note=pitch, time=480))
    file = mido.MidiFile(ticks_per_beat=480, tracks=[track])
    file.save(tmp_path / "change.mid")
    song = read_midi(tmp_path / "change.mid")
    assert song.programs == (0, 73)

    new = np.array([(4 * beat, 1, 60, 1, -1) for beat in (6, 7.5, 8, 10)], int).T
    assert Players.of(song).nearest(new).tolist() == [0, 0, 1, 1]


def test_one_channel_never_plays_a_pitch_twice_at_a_time():
    """The picture ends at step 24; behind it the other part of the channel strikes at 26."""
    song = Song([(20, 10, 60, 80, 0), (26, 4, 60, 80, 1)], parts=("a", "b"), channels=(3, 3))
    before = render(song, width=WIDTH)
    after = np.where(before > 0, before + 2, before)
    result, report = with_region(song, masks.box(WIDTH, steps=(16, 24)), after)
    assert result.notes.tolist() == [(20, 6, 60, 81, 0), (26, 4, 60, 80, 1)]
    assert report == ChangeReport(removed=1, added=1, cut=1)


def test_known_homes_come_before_the_nearest_part():
    song = two_parts((0, 4, 72, 80, 0), (0, 4, 48, 80, 1))
    notes, _ = changed(song, [(8, 2, 72, 99, 0)], 8, 16, homes={(8, 72): [1]})
    assert (8, 2, 72, 99, 1) in notes


def test_pitches_of_the_border_rows_stay():
    song = two_parts((8, 4, 2, 80, 0), (8, 4, 125, 80, 1), (8, 4, 60, 80, 1))
    before = render(song)
    mask = masks.everything(before, chords=True)
    result, report = with_region(song, mask, np.zeros_like(before))
    assert result.notes.tolist() == [(8, 4, 2, 80, 0), (8, 4, 125, 80, 1)]
    assert report == ChangeReport(removed=1)


def test_masked_chords_change_and_others_keep_what_a_colour_cannot_tell():
    song = Song([(0, 32, 60, 80, 0)], [(0, 16, "C:maj/3"), (16, 16, "G:9")])
    after = render(Song(song.notes, [(0, 12, "C:maj"), (12, 8, "F:maj"), (20, 12, "G:7")]))
    mask = masks.chords(song, (8, 24))
    result, report = with_region(song, mask, after)
    whole = [(0, 12, "C:maj/3"), (12, 8, "F:maj"), (20, 12, "G:9")]
    assert result.chords == tuple(Chord(*chord) for chord in whole)
    assert report == ChangeReport()
    assert result.notes.tolist() == song.notes.tolist()


def test_without_masked_chord_rows_chords_stay():
    song = Song([(0, 32, 60, 80, 0)], [(0, 16, "C:maj/3"), (8, 16, "G:9")])
    result, _ = with_region(song, masks.everything(song), np.zeros((128, 32, 3), np.uint8))
    assert result.chords == song.chords


def test_an_empty_mask_gives_the_song_itself():
    song = two_parts((0, 4, 60, 80, 0))
    empty = np.zeros((128, 4), bool)
    assert with_region(song, empty, render(song)).song is song
    with pytest.raises(PictureError, match="the mask is"):
        with_region(song, empty[:, :3], render(song))


# Laws


def random_song(rng):
    count = rng.integers(4, 50)
    table = np.zeros((count, 5), int)
    table[:, 0] = rng.integers(0, 48, count)
    table[:, 1] = rng.integers(1, 20, count)
    table[:, 2] = np.where(rng.random(count) < 0.9, rng.integers(56, 66, count), 3)
    table[:, 3] = rng.integers(1, 128, count)
    table[:, 4] = rng.integers(0, 4, count)
    # No part plays a pitch twice at a time.
    last = {}
    notes = []
    for onset, duration, *line in sorted(table.tolist()):
        place = (line[0], line[2])
        if onset >= last.get(place, 0):
            notes.append((onset, duration, *line))
            last[place] = onset + duration
    chords = [(0, 8, "C:maj"), (8, 16, "G:min7"), (30, 20, "A:9/3")] * rng.integers(0, 2)
    return Song(notes, chords, parts=("a", "b", "c", "drums"), channels=(0, 1, 1, 9))


def random_mask(rng, width):
    mask = np.zeros((128, width), bool)
    for _ in range(rng.integers(1, 5)):
        first, last = sorted(rng.integers(0, width + 1, 2))
        low, high = sorted(rng.integers(55, 75, 2))
        mask[low : high + 1, first:last] = True
    if rng.random() < 0.3:
        mask &= rng.random(mask.shape) < 0.7
    if rng.random() < 0.3:
        mask[:8, : width // 2] = mask[120:, : width // 2] = True
    return mask


class Case:
    """A random song, of which a random region was composed, and what came of it."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.song = random_song(rng)
        self.start = int(rng.integers(0, 10)) * int(rng.integers(0, 2))
        self.width = int(rng.integers(1, 70))
        self.before = render(self.song, self.start, self.width)
        self.part = [None, [0, 2]][rng.integers(0, 2)]
        mask = random_mask(rng, self.width)
        other = render(random_song(rng), width=self.width)
        self.mask = mask_of_parts(self.song, mask, self.part, start=self.start)
        self.after = np.where(self.mask[..., None], other, self.before)
        self.cells = self.mask & NOTE_ROWS  # (128, width)
        self.result, self.report = with_region(
            self.song, mask, self.after, start=self.start, part=self.part
        )

    def masked_cells(self, note):
        """Which cells of a note within the picture are masked, bool (steps,)."""
        first = max(note[0] - self.start, 0)
        return self.cells[127 - note[2], first : max(note[0] + note[1] - self.start, 0)]

    def begins_inside(self, note):
        return note[0] >= self.start and self.masked_cells(note)[:1].any()

    def sounding(self, song):
        """The cells in which any part sounds, bool (128, width)."""
        return (
            np.any(
                [
                    render(song, self.start, self.width, [part])[..., :2].any(axis=2)
                    for part in range(len(song.parts))
                ],
                axis=0,
            )
            & NOTE_ROWS
        )

    def notes(self, song):
        return Counter(map(tuple, song.notes.tolist()))


@pytest.fixture(scope="module")
def cases():
    return [Case(seed) for seed in range(80)]


def test_law_notes_without_a_masked_cell_are_the_same(cases):
    for case in cases:
        notes = case.notes(case.song)
        apart = Counter({n: k for n, k in notes.items() if not case.masked_cells(n).any()})
        assert apart <= case.notes(case.result)


def test_law_notes_from_before_the_mask_end_earlier_at_most(cases):
    for case in cases:
        old, new = case.notes(case.song), case.notes(case.result)
        before = [n for n in old.elements() if not case.begins_inside(n)]
        after = [n for n in new.elements() if not case.begins_inside(n)]
        heads = [Counter((n[0], *n[2:]) for n in notes) for notes in (before, after)]
        assert heads[0] == heads[1]
        assert all(new[1] <= old[1] for old, new in zip(sorted(before), sorted(after), strict=True))


def test_law_inside_the_mask_notes_begin_where_the_picture_has_it(cases):
    """In column 0 a strike may mean that a note is held."""
    for case in cases:
        wish = read_spans(case.after)
        result = read_spans(render(case.result, case.start, case.width))
        assert not case.report.dropped
        assert np.array_equal((wish.onset & case.cells)[:, 1:], (result.onset & case.cells)[:, 1:])
        struck = wish.onset & case.cells
        struck[:, 0] = False
        assert np.array_equal(wish.velocity[struck], result.velocity[struck])


def test_law_inside_the_mask_nothing_sounds_but_what_the_picture_has(cases):
    lost = 0
    for case in cases:
        wish = read_spans(case.after)
        result = read_spans(render(case.result, case.start, case.width))
        assert not (result.sustain & ~wish.sustain & case.cells).any()
        missing = wish.sustain & case.cells & ~case.sounding(case.result)
        counted = case.report.prolonged + case.report.cut
        lost += bool(counted)
        assert counted or not missing.any()
    assert 0 < lost < len(cases)


def test_law_outside_the_mask_only_counted_tails_fall_silent(cases):
    lost = 0
    for case in cases:
        before, after = case.sounding(case.song), case.sounding(case.result)
        assert not (after & ~before & ~case.cells).any()
        counted = case.report.tails + case.report.cut
        lost += bool(counted)
        assert counted or not (before & ~after & ~case.cells).any()
    assert 0 < lost < len(cases)


def test_law_other_parts_stay(cases):
    for case in cases:
        if case.part is not None:
            others = [song.notes[~song.select(case.part)] for song in (case.song, case.result)]
            assert np.array_equal(*others)


def test_law_the_picture_before_changes_no_sound(cases):
    for case in cases:
        same, report = with_region(
            case.song, case.mask, case.before, start=case.start, part=case.part
        )
        assert np.array_equal(render(same, case.start, case.width), case.before) or report.tails


def test_law_chords_change_in_masked_columns_alone(cases):
    for case in cases:
        columns = case.mask[:8].any(axis=0)
        picture = render(case.result, case.start, case.width)
        assert np.array_equal(picture[:8, columns], case.after[:8, columns])
        assert np.array_equal(picture[:8, ~columns], case.before[:8, ~columns])

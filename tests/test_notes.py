"""Laws of reading, writing and the note table; bad input gives one clear MidiError."""

import io
import struct
from fractions import Fraction

import numpy as np
import pytest
from conftest import make_song

from pomkit import Chord, MidiError, OptionError, Song, data, read_midi
from pomkit.music.chords import QUALITIES, ROOTS, chord_tones, reduce_chord, transpose_chord
from pomkit.music.grid import bars_of_meters, believe_meters, meters_of_bars
from pomkit.music.harmony import estimate_chords
from pomkit.music.tables import GRIDS, NOTE_DTYPE, columns_of, in_order, notes_of, untangle


def table(*rows):
    return np.array(list(rows), NOTE_DTYPE)


def midi_bytes(tracks, division=480):
    """A format-1 file from lists of (delta, message bytes), so that reading is tested against the standard alone."""
    chunks = b""
    for events in tracks:
        body = (
            b"".join(variable(delta) + message for delta, message in events) + b"\x00\xff\x2f\x00"
        )
        chunks += b"MTrk" + struct.pack(">I", len(body)) + body
    return b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), division) + chunks


def variable(n):
    out = [n & 127]
    while n := n >> 7:
        out.insert(0, n & 127 | 128)
    return bytes(out)


def test_a_handmade_file_is_read_note_for_note():
    tempo = (0, b"\xff\x51\x03" + (600_000).to_bytes(3, "big"))  # 100 BPM
    name = (0, b"\xff\x03\x05Piano")
    song = read_midi(
        midi_bytes(
            [
                [tempo],
                [
                    name,
                    (0, b"\x90\x3c\x64"),
                    (480, b"\x80\x3c\x40"),
                    (120, b"\x90\x40\x50"),
                    (240, b"\x90\x40\x00"),
                ],
            ]
        )
    )
    assert song.notes.tolist() == [(0, 4, 60, 100, 0), (5, 2, 64, 80, 0)]
    assert song.parts == ("Piano",)
    assert song.source_tempo == pytest.approx(100)


def test_tempo_changes_do_not_move_steps():
    slow = [
        (0, b"\xff\x51\x03" + (2_000_000).to_bytes(3, "big")),
        (960, b"\xff\x51\x03" + (250_000).to_bytes(3, "big")),
    ]
    notes = [
        (0, b"\x90\x3c\x64"),
        (480, b"\x80\x3c\x40"),
        (960, b"\x90\x3e\x64"),
        (480, b"\x80\x3e\x40"),
    ]
    assert read_midi(midi_bytes([slow, notes])) == read_midi(midi_bytes([notes]))


@pytest.mark.parametrize("shift", [0, 17, 40, -40, 55])
def test_a_constant_phase_is_taken_out(shift, rng):
    onsets = np.sort(rng.choice(400, 60, replace=False)) * 120 + 480 + shift
    events, now = [], 0
    for onset in onsets:
        events += [(int(onset) - now, b"\x90\x3c\x64"), (60, b"\x80\x3c\x40")]
        now = int(onset) + 60
    song = read_midi(midi_bytes([events]))
    assert np.array_equal(song.notes["onset"], (onsets - shift) // 120)
    assert song.report.phase == pytest.approx(shift / 120, abs=1e-6)
    assert song.report.quantisation_error < 1e-6


def test_no_phase_is_invented_where_onsets_are_off_any_grid(rng):
    events, now = [], 0
    for onset in np.sort(rng.integers(0, 100_000, 300)):
        events += [(int(onset) - now, b"\x90\x3c\x64"), (0, b"\x80\x3c\x40")]
        now = int(onset)
    assert read_midi(midi_bytes([events])).report.phase == 0


def test_write_then_read_gives_the_song_back(tmp_path):
    for seed in range(20):
        song = make_song(np.random.default_rng(seed)).canonical(border=0)
        chords = make_song(np.random.default_rng(seed)).canonical().chords
        song = Song(song.notes, chords, ("one",))
        again = read_midi(song.write_midi(tmp_path / "song.mid"))
        assert again == song
        assert again.report.kept == len(song.notes)
        assert Song.from_pretty_midi(song.to_pretty_midi()).notes.tolist() == song.notes.tolist()


def test_bytes_paths_and_open_files_are_the_same(tmp_path):
    song = make_song(np.random.default_rng(3), parts=1).canonical()
    path = song.write_midi(tmp_path / "a.mid")
    assert (
        read_midi(str(path))
        == read_midi(path.read_bytes())
        == read_midi(io.BytesIO(path.read_bytes()))
        == song
    )


def test_bars_follow_the_time_signatures(tmp_path):
    song = Song(table((0, 100, 60, 80, 0)), bars=tuple(range(0, 100, 12)))
    again = read_midi(song.write_midi(tmp_path / "waltz.mid"))
    assert np.diff(again.bar_lines()).tolist() == [12] * (len(again.bar_lines()) - 1)
    assert Song(table((0, 33, 60, 80, 0))).bar_lines().tolist() == [0, 16, 32, 48]


def test_canonical_counts_add_up_and_is_idempotent():
    for seed in range(30):
        song = make_song(np.random.default_rng(seed))
        for parts in (None, ["p0"], [0, 2]):
            c = song.canonical(parts)
            assert c.report.kept + c.report.merged + c.report.dropped == len(song.notes)
            assert c.canonical() == c
            again = c.canonical().report
            assert (again.merged, again.shortened, again.dropped, again.chords_changed) == (
                0,
                0,
                0,
                0,
            )
            assert len({(n["onset"], n["pitch"]) for n in c.notes}) == len(c.notes)


def test_canonical_keeps_the_loudest_and_the_longest_and_cuts_at_a_restrike():
    song = Song(table((0, 4, 60, 50, 0), (0, 9, 60, 40, 1), (6, 2, 60, 90, 1)))
    c = song.canonical()
    assert c.notes.tolist() == [(0, 6, 60, 50, 0), (6, 2, 60, 90, 0)]
    assert (c.report.merged, c.report.shortened) == (1, 1)


def test_song_is_frozen_and_checked():
    song = Song(table((0, 4, 60, 50, 0)))
    with pytest.raises(ValueError):
        song.notes["pitch"] = 3
    with pytest.raises(AttributeError):
        song.name = "x"
    for row in ((0, 0, 60, 50, 0), (0, 1, 128, 50, 0), (0, 1, 60, 0, 0), (-1, 1, 60, 1, 0)):
        with pytest.raises(OptionError):
            Song(table(row))
    with pytest.raises(OptionError, match="no part"):
        song.canonical(["flute"])


def test_transposition_is_a_group(rng):
    song = make_song(rng).canonical(border=20)
    assert song.transpose(5).transpose(-5) == song
    assert song.transpose(12).report.dropped == 0
    for root in ROOTS:
        assert transpose_chord(f"{root}:min7", 12) == f"{root}:min7"


@pytest.mark.parametrize(
    "label, reduced",
    [
        ("C", "C:maj"),
        ("C#:min", "Db:min"),
        ("Gb:9/3", "F#:7"),
        ("D:maj9", "D:maj7"),
        ("A:min(9)", "A:min"),
        ("N", "N"),
        ("X", "N"),
        ("Cb:maj", "B:maj"),
    ],
)
def test_chords_are_reduced_to_the_nearest_label(label, reduced):
    assert reduce_chord(label) == reduced


def test_every_palette_label_is_its_own_reduction():
    for root in ROOTS:
        for quality, tones in QUALITIES.items():
            assert reduce_chord(f"{root}:{quality}") == f"{root}:{quality}"
            assert set(np.flatnonzero(chord_tones(f"{root}:{quality}")[1])) == {
                (ROOTS.index(root) + t) % 12 for t in tones
            }


def test_chords_that_sound_are_found():
    notes = [
        (16 * i + j, 16 - j, 48 + ROOTS.index(r) + t, 80, 0)
        for i, (r, q) in enumerate([("C", "maj"), ("A", "min"), ("F", "maj"), ("G", "7")])
        for j, t in enumerate(QUALITIES[q])
    ]
    assert estimate_chords(table(*notes), 64) == (
        Chord(0, 16, "C:maj"),
        Chord(16, 16, "A:min"),
        Chord(32, 16, "F:maj"),
        Chord(48, 16, "G:7"),
    )
    assert estimate_chords(table(), 64) == ()


# fmt: off
BAD = {
    "empty.mid": b"",
    "text.mid": b"Dear diary, this is no music.\n" * 20,
    "no_notes.mid": midi_bytes([[]]),
    "smpte.mid": midi_bytes([[(0, b"\x90\x3c\x64"), (9, b"\x80\x3c\x40")]], division=0xE700),
    "division.mid": midi_bytes([[(0, b"\x90\x3c\x64"), (9, b"\x80\x3c\x40")]], division=0),
    "far.mid": midi_bytes([[(0xFFFFFFF, b"\x90\x3c\x64"), (9, b"\x80\x3c\x40")]], division=24),
}
# fmt: on


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_clear_error(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(BAD[name])
    with pytest.raises(MidiError, match=name):
        read_midi(path)


def test_a_file_cut_off_anywhere_gives_a_song_or_a_midi_error():
    whole = midi_bytes(
        [[(0, b"\xff\x03\x05Piano")] + [(60, b"\x90\x3c\x64"), (60, b"\x80\x3c\x40")] * 20]
    )
    errors = 0
    for end in range(len(whole)):
        try:
            read_midi(whole[:end])
        except MidiError:
            errors += 1
    assert errors > len(whole) / 2
    with pytest.raises(MidiError, match="No such file"):
        read_midi("nowhere/to/be/found.mid")
    with pytest.raises(MidiError, match="folder"):
        read_midi(".")


def test_shipped_songs_are_read_without_loss():
    songs = {name: read_midi(path) for name, path in data.songs().items()}
    assert len(songs) >= 12
    for song in songs.values():
        assert song.report.merged == song.report.dropped == 0
        assert song.report.quantisation_error == 0
        assert_needs_no_check(song)
        assert_needs_no_check(song.canonical())


def assert_needs_no_check(song):
    """What `Song.unchecked` was given is what a checked Song makes of it."""
    checked = Song(**song.__getstate__())
    assert checked.notes.tobytes() == song.notes.tobytes()
    assert not song.notes.flags.writeable
    for field in song.__getstate__().keys() - {"notes"}:
        assert getattr(checked, field) == getattr(song, field), field


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("sign", [(2, 4), (3, 4), (4, 4), (6, 8), (7, 8), (5, 16), (12, 8)])
def test_a_meter_gives_bars_that_give_the_meter(grid, sign):
    numerator, denominator = sign
    bar = Fraction(4 * numerator * grid, denominator)
    end = 8 * grid * numerator
    meters, remark = believe_meters([(0, *sign)], grid, end)
    assert remark == ""
    bars = bars_of_meters(meters, grid, end)
    if bar.denominator == 1:
        (step, above, below), *others = meters_of_bars(np.array(bars), grid)
        assert (step, others) == (0, [])
        assert Fraction(above, below) == Fraction(numerator, denominator)


def test_a_note_table_goes_to_columns_and_back(rng):
    notes = make_song(rng).notes
    assert notes_of(columns_of(notes)).tobytes() == notes.tobytes()


def test_notes_in_any_order_become_the_same_table(rng):
    """Against plain sorting, with notes that differ in nothing but their velocity."""
    rows = rng.integers([0, 1, 60, 1, 0], [4, 3, 62, 128, 3], (300, 5))
    wanted = rows[np.lexsort(rows.T[[3, 1, 4, 2, 0]])]
    assert in_order(rows.T.copy(), "x").T.tolist() == wanted.tolist()


def test_untangled_notes_are_those_of_a_plain_loop(rng):
    rows = rng.integers([0, 1, 60, 1, 0], [40, 30, 64, 128, 2], (300, 5))
    columns, merged, shortened = untangle(in_order(rows.T.copy(), "x"))
    notes, cut = {}, 0
    for onset, duration, pitch, velocity, part in rows.tolist():
        longest, loudest = notes.get((onset, pitch, part), (0, 0))
        notes[onset, pitch, part] = (max(longest, duration), max(loudest, velocity))
    for (onset, pitch, part), (duration, velocity) in list(notes.items()):
        later = [o for o, p, q in notes if (p, q) == (pitch, part) and o > onset]
        reach = min(later, default=10_000) - onset
        cut += duration > reach
        notes[onset, pitch, part] = (min(duration, reach), velocity)
    wanted = sorted((o, p, q, d, v) for (o, p, q), (d, v) in notes.items())
    assert columns[[0, 2, 4, 1, 3]].T.tolist() == list(map(list, wanted))
    assert (merged, shortened) == (len(rows) - len(notes), cut)

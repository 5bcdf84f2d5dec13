"""read_midi on the wild: every feature of MIDI files, three readers, and the fuzzer in short.

The files are built byte by byte (midi_files.py); mido and pretty_midi are the oracles. Where a file
is read `exact`ly, a step is a tick, so that the oracles are met to the tick and not to the grid.
"""

import gzip
import io
import math
import os
import tarfile
import warnings
from dataclasses import replace

import fuzz_midi
import midi_files as m
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomkit import Chord, MidiError, OptionError, Song, masks, read_midi, show
from pomkit.data import songs
from pomkit.studio.editor import Editor

GRIDS = (1, 2, 3, 4, 6, 8, 12, 24)
DIVISIONS = (1, 24, 96, 120, 384, 480, 960, 1000, 32767)
TWO = m.track(m.note(0, 480, 60), m.note(480, 960, 64, 100))
SCALE = [m.note(120 * i, 120 * i + 110, 60 + i % 24, 40 + i) for i in range(64)]

# One legal file for every feature; each is read three ways, and written and read again.
# fmt: off
ZOO = {
    "format 0": m.midi(m.track(SCALE), format=0),
    "format 1": m.midi(m.track(m.tempo(0, 97)), m.track(SCALE), m.track(m.note(60, 990, 40))),
    "format 2": m.midi(m.track(SCALE), m.track(m.note(240, 480, 30)), format=2),
    "running status": m.midi(m.track(SCALE, m.control(0, 7, 100), m.control(5, 7, 90),
        running=True)),
    "note-ons of velocity 0": m.midi(m.track(m.note(0, 120, 60), m.note(120, 360, 60, release=None),
        m.note(360, 400, 61, release=None))),
    "wide numbers": m.midi(m.track(SCALE, width=4)),
    "long deltas": m.midi(m.track(m.note(127, 128), m.note(16383, 16384), m.note(200_000, 300_001),
        m.note(1_000_000, 1_000_127))),
    "many tempi": m.midi(m.track([m.tempo(97 * i, 40 + 7 * i) for i in range(40)]), m.track(SCALE)),
    "waltz": m.midi(m.track(m.meter(0, 3, 4)), m.track(SCALE)),
    "meters": m.midi(m.track(m.meter(0, 4, 4), m.meter(1920, 6, 8), m.meter(3360, 5, 4)),
        m.track(SCALE)),
    "drums": m.midi(m.track(m.name("Kit"), m.note(0, 100, 36, channel=9),
        m.note(480, 500, 38, channel=9)), m.track(SCALE)),
    "programs": m.midi(m.track(m.program(0, 3), m.note(0, 480), m.program(480, 40),
        m.note(480, 900), m.program(960, 3), m.note(960, 1200))),
    "channels": m.midi(m.track([m.note(10 * c, 10 * c + 200, 50 + c, channel=c)
        for c in range(16)]), format=0),
    "channels on one pitch": m.midi(m.track([m.note(10 * c, 400 - 10 * c, 60, channel=c)
        for c in range(16)]), format=0),
    "pedals": m.midi(m.track(m.note(0, 100), m.pedal(50, 400), m.note(420, 500))),
    "re-strikes": m.midi(m.track([m.note(100 * i, 100 * i + 100) for i in range(9)])),
    "zero length": m.midi(m.track(m.note(0, 0), m.note(480, 960, 62))),
    "unended": m.midi(m.track(m.on(0, 60), m.note(480, 960, 62), m.on(700, 65), end=1920)),
    "overlaps": m.midi(m.track(m.on(0, 60, 10), m.on(100, 60, 20), m.off(150, 60),
        m.on(160, 60, 30), m.off(300, 60), m.off(480, 60), m.note(480, 500, 61))),
    "ons before offs": m.midi(m.track(m.on(0, 60, 10), m.on(100, 60, 20), m.off(100, 60),
        m.off(200, 60))),
    "unison": m.midi(m.track(m.on(0, 60, 10), m.on(0, 60, 99), m.off(50, 60), m.off(200, 60))),
    "stray note-offs": m.midi(m.track(m.off(0, 60), m.note(10, 20, 60), m.off(30, 60),
        m.off(30, 61))),
    "bends and the like": m.midi(m.track(SCALE, m.bend(10), m.aftertouch(20, 60), m.pressure(30),
        m.control(40, 1, 9), m.sysex(50, b"\x43\x10\x3c\xf7"), m.sysex(60, b"\x01\x10\xf7", 0xF7),
        running=True)),
    "texts": m.midi(m.track(m.text(0, "@KMIDI KARAOKE FILE"), m.text(0, "@TA song"),
        m.text(480, "\\la "), m.text(960, "/lu"), m.meta(0, 0x20, b"\0"), m.meta(0, 0x21, b"\0"),
        m.meta(0, 0x54, bytes(5)), m.key(0, -3, 1), m.meta(0, 0x7F, b"\0\0\x41" + bytes(200)),
        m.meta(3, 0x60, b"what")), m.track(SCALE)),
    "markers": m.midi(m.track(m.marker(0, "C:maj"), m.marker(480, "verse"), m.marker(960, "G:7/3"),
        m.marker(1920, "X"), m.marker(2400, "N")), m.track(SCALE, end=9600)),
    "names": m.midi(m.track(m.name("Flöte"), SCALE), m.track(m.name("Flöte"), m.note(0, 9, 30)),
        m.track(m.note(0, 9, 31))),
    "longer header": m.midi(m.track(SCALE)),
} | {
    f"division {d}": m.midi(
        m.track([m.note(i * d, (i + 1) * d, 50 + i) for i in range(20)]), division=d
    )
    for d in DIVISIONS
}
# fmt: on
# Where pretty_midi's rule gives other notes.
OWN_RULE = {"zero length", "unended", "overlaps", "unison"}


def song_of(*events, division=480, end=None, **options) -> Song:
    return read_midi(m.midi(m.track(*events, end=end), division=division), **options)


def rows(song):
    return song.notes.tolist()


def accounted(report):
    return report.kept + report.merged + report.dropped


# ------------------------------------------------------------------------------------ three readers
@pytest.mark.parametrize("feature", ZOO)
def test_three_readers_agree_to_the_tick(feature):
    assert m.disagreement(ZOO[feature]) == ""
    assert m.same_rule(ZOO[feature]) == (feature not in OWN_RULE)
    assert m.note_ons(ZOO[feature]) == len(m.walk(ZOO[feature]))


EVENTS = st.one_of(
    st.tuples(st.just(0x90), st.integers(60, 62), st.sampled_from((0, 0, 0, 1, 80, 127))),
    st.tuples(st.just(0x90), st.integers(60, 62), st.sampled_from((1, 80, 127))),
    st.tuples(st.just(0x80), st.integers(60, 62), st.sampled_from((0, 64))),
    st.tuples(
        st.sampled_from((0xA0, 0xB0, 0xE0)),
        st.sampled_from((0, 7, 64, 64, 120, 121, 123, 127)),
        st.sampled_from((0, 63, 64, 127)),
    ),
    st.tuples(st.sampled_from((0xC0, 0xD0)), st.sampled_from((0, 5, 127))),
    st.sampled_from(
        (
            b"\xff\x01\x02hi",
            b"\xf0\x03\x90\x3c\xf7",
            b"\xf7\x02\x90\x3c",
            b"\xff\x21\x01\x00",
            b"\xff\x01\x81\x00" + b"x" * 128,
        )
    ),
)


@st.composite
def tracks(draw):
    """A track of random events, legal nonsense: overlaps, stray note-offs, notes without an end."""
    now, events = 0, []
    for delta, event, channel in draw(
        st.lists(
            st.tuples(
                st.sampled_from((0, 0, 1, 2, 130, 16384)), EVENTS, st.sampled_from((0, 0, 1, 9))
            ),
            max_size=40,
        )
    ):
        now += delta
        events.append(
            (now, event if isinstance(event, bytes) else bytes([event[0] | channel, *event[1:]]))
        )
    return m.track(
        events,
        running=draw(st.booleans()),
        end=now + 10,
        width=draw(st.sampled_from((0, 0, 1, 3, 4))),
    )


@settings(max_examples=250, deadline=None)
@given(st.lists(tracks(), min_size=1, max_size=3), st.sampled_from((1, 2)))
def test_any_events_are_read_as_mido_reads_them(chunks, kind):
    data = m.midi(*chunks, format=kind)
    notes = m.walk(data)
    if not notes:
        with pytest.raises(MidiError, match="no notes"):
            m.exact(data)
        return
    due, song = m.table(notes), m.exact(data)
    assert rows(song) == due.rows
    assert rows(m.exact(data, pedal=True)) == m.table(m.held(data)).rows
    r = song.report
    assert (r.kept, r.merged, r.shortened, r.dropped) == (
        len(due.rows),
        due.merged,
        due.shortened,
        0,
    )
    assert r.unended == sum(n.fate == "unended" for n in notes)
    assert r.zero_length == sum(n.start == n.end for n in notes)
    assert r.phase == r.quantisation_error == 0
    messages = [x for chunk in m.messages(data) for x in chunk]
    assert r.bends == sum(x.type == "pitchwheel" for x in messages)
    assert r.pedals == sum(
        x.type == "control_change" and x.control == 64 and x.value >= 64 for x in messages
    )
    assert len(song.parts) == len(due.parts)
    drums = [channel == 9 for _, channel, _ in due.parts]
    assert ["drums" in name for name in song.parts] == drums
    assert r.drums == 0
    if not all(drums):
        pitched = m.exact(data, drums=False)
        assert rows(pitched) == m.table(n for n in notes if n.channel != 9).rows
        assert accounted(pitched.report) == len(notes)
        assert pitched.report.drums == pitched.report.dropped == sum(n.channel == 9 for n in notes)


@pytest.fixture(scope="module")
def archive(corpus_archive):
    """Every 40th song of the archive by name, as bytes."""
    with tarfile.open(corpus_archive) as tar:
        names = sorted(n for n in tar.getnames() if n.endswith(".mid"))[::40]
        return {name: tar.extractfile(name).read() for name in names}


def test_three_readers_agree_on_the_archive(archive):
    assert {name: m.disagreement(data) for name, data in archive.items()} == dict.fromkeys(
        archive, ""
    )


def test_the_archive_is_accounted_for_and_survives_writing(archive, tmp_path):
    for i, (name, data) in enumerate(archive.items()):
        song, real = read_midi(data), m.note_ons(data)
        assert accounted(song.report) == real, name
        assert fuzz_midi.untruth(song) == "", name
        if i % 3 == 0:
            song = read_midi(data, GRIDS[i // 3 % 8])
            assert accounted(song.report) == real, name
            assert fuzz_midi.untruth(song) == "", name
            again = song.write_midi(tmp_path / "x.mid", plain=True)
            assert read_midi(again, song.steps_per_beat) == song, name


def test_the_grid_is_met_within_half_a_step(archive):
    for data in list(archive.values())[:6]:
        song = read_midi(data)
        per_step = int.from_bytes(data[12:14], "big") / 4
        notes = m.walk(data)
        place = {part: i for i, part in enumerate(m.table(notes).parts)}
        there = {(n["onset"], n["pitch"], n["part"]) for n in song.notes}
        for n in notes:
            at, part = n.start / per_step - song.report.phase, place[n.track, n.channel, n.program]
            near = {math.floor(at + 0.5 - 1e-9), math.floor(at + 0.5 + 1e-9)}
            assert any((max(step, 0), n.pitch, part) in there for step in near)
        error = np.mean(
            [abs(x - round(x)) for x in (n.start / per_step - song.report.phase for n in notes)]
        )
        assert song.report.quantisation_error == pytest.approx(error, abs=1e-9)


# ------------------------------------------------------------------------------------ time and grid
@pytest.mark.parametrize("division", DIVISIONS)
def test_every_division_on_every_grid(division):
    data = ZOO[f"division {division}"]
    for grid in GRIDS:
        song = read_midi(data, steps_per_beat=grid)
        assert rows(song) == [(i * grid, grid, 50 + i, 80, 0) for i in range(20)]
        assert song.report.quantisation_error == song.report.phase == 0


@pytest.mark.parametrize("grid", [0, 5, 16, -4, 4.5, "4", None])
def test_other_grids_are_refused(grid):
    with pytest.raises(OptionError, match="steps_per_beat"):
        read_midi(ZOO["format 0"], steps_per_beat=grid)


def test_formats_are_the_same_music():
    left, right = [m.note(0, 240, 60), m.note(240, 480, 62)], [m.note(120, 480, 40, channel=1)]
    together = read_midi(m.midi(m.track(left, right), format=0))
    apart = read_midi(m.midi(m.track(left), m.track(right)))
    assert (
        rows(together) == rows(apart) == [(0, 2, 60, 80, 0), (1, 3, 40, 80, 1), (2, 2, 62, 80, 0)]
    )


def test_format_2_patterns_stand_side_by_side_and_the_report_says_so():
    song = read_midi(ZOO["format 2"])
    assert song.notes["onset"].min() == 0
    assert (2, 2, 30, 80, 1) in rows(song)
    assert len(song.parts) == 2
    assert any("format 2" in remark for remark in song.report.remarks)


def test_running_status_and_wide_numbers_change_nothing():
    plain = read_midi(m.midi(m.track(SCALE)))
    same = [m.note(a[0], b[0], a[1][1], a[1][2], release=None) for a, b in SCALE]
    for options in (
        {"running": True},
        {"width": 2},
        {"width": 4, "running": True},
        {"end": 99999},
        {"close": False},
    ):
        assert read_midi(m.midi(m.track(same, **options))) == plain


def test_running_status_goes_on_after_a_text_as_real_files_have_it():
    body = b"\0\x90\x3c\x50\x60\xff\x01\x02hi\0\x3c\x00\0\xff\x2f\0"
    assert rows(read_midi(m.midi(m.chunk(b"MTrk", body), division=96))) == [(0, 4, 60, 80, 0)]


def test_tempo_changes_do_not_move_a_note():
    assert read_midi(ZOO["many tempi"]) == read_midi(m.midi(m.track(SCALE)))
    assert read_midi(ZOO["many tempi"]).source_tempo == pytest.approx(40, rel=1e-6)


@pytest.mark.parametrize(
    ("frames", "ticks"), [(25, 40), (24, 80), (30, 10), (29, 100), (25, 1), (30, 255)]
)
def test_smpte_seconds_are_laid_on_120_bpm(frames, ticks):
    per_second = (30000 / 1001 if frames == 29 else frames) * ticks
    notes = [m.note(round(i * per_second), round((i + 0.5) * per_second), 60 + i) for i in range(8)]
    song = read_midi(m.midi(m.track(m.tempo(0, 33), notes), division=m.smpte(frames, ticks)))
    assert rows(song) == [(8 * i, 4, 60 + i, 80, 0) for i in range(8)]
    assert any("SMPTE" in remark for remark in song.report.remarks)


@pytest.mark.parametrize("shift", [0, 17, 40, -40])
def test_one_constant_phase_is_taken_out(shift):
    notes = [m.note(480 + 120 * i + shift, 540 + 120 * i + shift, 60 + i % 12) for i in range(50)]
    song = song_of(notes)
    assert song.notes["onset"].tolist() == [4 + i for i in range(50)]
    assert song.report.phase == pytest.approx(shift / 120, abs=1e-6)
    assert song.report.quantisation_error < 1e-6


@pytest.mark.parametrize(
    ("per_beat", "grids"),
    [
        ((0, 160, 320), (3, 6, 12, 24)),
        ((0, 320), (3, 6, 12, 24)),
        ((0, 80, 240, 320), (6, 12, 24)),
        ((0, 60, 120, 300), (8, 24)),
        ((0, 120, 160, 320, 360), (12, 24)),
        ((0, 240), (4,)),
        ((0, 120, 240, 360), (4,)),
    ],
)
def test_the_report_names_the_grid_that_fits(per_beat, grids):
    notes = [
        m.note(480 * beat + at, 480 * beat + at + 30, 60 + i)
        for beat in range(32)
        for i, at in enumerate(per_beat)
    ]
    song = song_of(notes)
    assert song.report.better_grid in grids
    better = song_of(notes, steps_per_beat=song.report.better_grid)
    assert better.report.better_grid == song.report.better_grid
    assert better.report.quantisation_error < 1e-6
    assert (song.report.quantisation_error > 0.05) == (4 not in grids)


# ------------------------------------------------------------------------------------------- meters
@pytest.mark.parametrize(
    ("shape", "beats"),
    [
        ((3, 4), 3),
        ((6, 8), 3),
        ((5, 4), 5),
        ((2, 4), 2),
        ((4, 4), 4),
        ((12, 8), 6),
        ((2, 2), 4),
        ((7, 8), 3.5),
        ((9, 8), 4.5),
    ],
)
def test_bar_lines_follow_the_time_signature(shape, beats):
    for grid in (2, 4, 12, 24):
        song = song_of(m.meter(0, *shape), m.note(0, 480 * 63, 60), steps_per_beat=grid)
        assert set(np.diff(song.bar_lines())) == {beats * grid}
        assert song.meter == f"{shape[0]}/{shape[1]}"


def test_changing_meters_and_none():
    song = song_of(
        m.meter(0, 3, 4), m.meter(1440 * 4, 6, 8), m.meter(1440 * 6, 5, 4), m.note(0, 480 * 40)
    )
    assert np.diff(song.bar_lines())[:8].tolist() == [12] * 6 + [20] * 2
    assert song.meter == "5/4 3/4 6/8"
    assert read_midi(m.midi(TWO)).meter == "4/4"
    assert read_midi(m.midi(TWO)).report.remarks == ()


@pytest.mark.parametrize("shape", [(1, 0), (1, 2), (0, 2), (4, 200), (255, 2), (1, 7), (200, 0)])
def test_implausible_meters_become_4_4_and_the_report_says_so(shape):
    song = song_of(m.meta(0, 0x58, bytes([*shape, 24, 8])), m.note(0, 480 * 20))
    assert np.diff(song.bar_lines()).tolist() == [16] * 5
    assert song.meter == "4/4"
    assert any("4/4" in remark for remark in song.report.remarks)


# fmt: off
# Bars with a time signature of their own: (step, sign) of each, the first bar lines, the meter.
ODD_BARS = {
    "a pickup": ([(0, 1, 4), (4, 3, 4)], [0, 4, 16, 28, 40], "3/4"),
    "a pickup of an 8th": ([(0, 1, 8), (2, 6, 8)], [0, 2, 14, 26, 38], "6/8"),
    "a pickup of three beats": ([(0, 3, 4), (12, 4, 4)], [0, 12, 28, 44], "4/4"),
    "a pickup of a 16th": ([(0, 1, 16), (1, 4, 4)], [0, 1, 17, 33], "4/4"),
    "one beat inside": ([(0, 4, 4), (32, 1, 4), (36, 4, 4)], [0, 16, 32, 36, 52, 68], "4/4"),
    "three beats, each a bar": ([(0, 2, 4), (16, 1, 4), (28, 2, 4)],
        [0, 8, 16, 20, 24, 28, 36], "2/4"),
    "a cadenza": ([(0, 4, 4), (16, 33, 8), (82, 4, 4)], [0, 16, 82, 98, 114], "4/4 33/8"),
    "a cadenza at the end": ([(0, 3, 4), (156, 40, 4)], [0, 12, 24], "40/4 3/4"),
    "a half in 3/2": ([(0, 3, 2), (24, 1, 2), (32, 3, 2)], [0, 24, 32, 56], "3/2"),
    "an 8th inside, told twice": ([(0, 4, 4), (16, 1, 8), (18, 4, 4), (34, 4, 4)],
        [0, 16, 18, 34, 50], "4/4"),
}
# fmt: on


def song_of_meters(*signs, beats=79):
    """A Song in these time signatures, (step, numerator, denominator), with a note on each beat."""
    notes = [m.note(480 * beat, 480 * beat + 470, 60 + beat % 12) for beat in range(beats)]
    return song_of([m.meter(120 * step, *sign) for step, *sign in signs], notes)


@pytest.mark.parametrize("case", ODD_BARS)
def test_one_short_or_long_bar_leaves_the_others_as_they_are(case, tmp_path):
    signs, lines, meter = ODD_BARS[case]
    song = song_of_meters(*signs)
    assert song.bar_lines()[: len(lines)].tolist() == lines
    assert song.meter == meter
    assert list(song.meters) == signs
    assert not any("time signature" in remark for remark in song.report.remarks)

    again = read_midi(song.canonical().write_midi(tmp_path / "again.mid"))
    assert again.bar_lines().tolist() == song.bar_lines().tolist()
    assert again.meters == song.meters
    # The bars alone, as a picture's song has them, say the same.
    bars = replace(song, meters=(), source_tempo=None).canonical()
    again = read_midi(bars.write_midi(tmp_path / "bars.mid"))
    assert again.bar_lines(song.end).tolist() == song.bar_lines(song.end).tolist()


def test_a_pickup_is_bar_1():
    song = song_of_meters((0, 1, 4), (4, 3, 4))
    columns = {
        "bars:1": range(4),
        "bars:2": range(4, 16),
        "bars:2-3": range(4, 28),
    }
    for text, due in columns.items():
        mask = masks.from_text(text, song)
        assert np.flatnonzero(mask.any(axis=0)).tolist() == list(due), text
    editor = Editor(song)
    editor.add_bars(2)
    assert np.array_equal(editor.mask, masks.bars(song, 2))
    numbers = show(song).get_xticks()
    assert numbers[:4].tolist() == [0, 4, 16, 28]


def test_only_the_stretch_of_an_implausible_meter_is_read_as_4_4(tmp_path):
    song = song_of_meters((0, 1, 4), (80, 3, 4), (116, 0, 4), (148, 3, 4))
    lines = [0, 16, 32, 48, 64, 80, 92, 104, 116, 132, 148, 160, 172]
    assert song.bar_lines()[: len(lines)].tolist() == lines
    assert song.meters == ((0, 4, 4), (80, 3, 4), (116, 4, 4), (148, 3, 4))
    told = [remark for remark in song.report.remarks if "time signature" in remark]
    assert told == [
        "implausible time signature 1/4 at step 0 and 1 more: bars of 4/4 assumed there"
    ]
    again = read_midi(song.canonical().write_midi(tmp_path / "again.mid"))
    assert again.bar_lines().tolist() == song.bar_lines().tolist()


def test_a_meter_of_one_beat_throughout_is_not_believed_however_often_it_is_told():
    for signs in ([(0, 1, 4)], [(4 * i, 1, 4) for i in range(60)], [(0, 4, 4), (0, 1, 4)]):
        song = song_of_meters(*signs)
        assert np.diff(song.bar_lines()).tolist() == [16] * 20
        assert song.meters == ()
        assert "implausible time signature 1/4: bars of 4/4 assumed" in song.report.remarks


def test_of_several_meters_at_one_tick_the_last_one_holds():
    three = [m.meter(0, 4, 4), m.meter(0, 2, 4), m.meter(0, 3, 4), m.meter(1440, 4, 4)]
    for tracks in ([three], [three[:1], three[1:2], three[2:]]):
        song = read_midi(m.midi(*(m.track(track) for track in tracks), m.track(SCALE)))
        assert song.meters == ((0, 3, 4), (12, 4, 4))
        assert song.bar_lines()[:4].tolist() == [0, 12, 28, 44]


# -------------------------------------------------------------------------------------------- parts
def test_parts_by_track_channel_and_program():
    song = read_midi(
        m.midi(
            m.track(m.tempo(0, 100), m.name("conductor")),
            m.track(
                m.name("Piano"),
                m.program(0, 5, 3),
                m.note(0, 100, 60),
                m.note(10, 100, 61, channel=3),
                m.program(480, 9),
                m.note(480, 600, 62),
                m.note(490, 600, 63, channel=3),
                m.program(960, 0),
                m.note(960, 1000, 64),
            ),
            m.track(m.program(0, 1)),
            m.track(m.note(0, 100, 70)),
            m.track(m.name("Piano"), m.note(0, 100, 80)),
        )
    )
    by_pitch = {n["pitch"].item(): n["part"].item() for n in song.notes}
    assert by_pitch == {60: 0, 61: 1, 62: 2, 63: 1, 64: 0, 70: 3, 80: 4}
    assert song.parts[0] == "Piano"
    assert song.parts[3] == "part 3"
    assert len(set(song.parts)) == 5
    assert all(song.parts[i].startswith("Piano") for i in (1, 2, 4))


def test_drums_are_left_out_and_counted_or_kept_as_a_part(tmp_path):
    out, kept = read_midi(ZOO["drums"]), read_midi(ZOO["drums"], drums=True)
    assert rows(out) == rows(read_midi(m.midi(m.track(SCALE))))
    assert out.report.drums == out.report.dropped == 2
    assert any("drums" in remark for remark in out.report.remarks)
    assert kept.parts == ("Kit (drums)", "part 1")
    assert kept.report.dropped == 0
    assert len(kept.notes) == len(out.notes) + 2
    assert read_midi(m.midi(m.track(m.note(0, 9, 36, channel=9))), drums=True).parts == ("drums",)
    again = kept.write_midi(tmp_path / "kit.mid")
    assert [n.pitch for n in m.walk(again.read_bytes()) if n.channel == 9] == [36, 38]
    assert read_midi(again, drums=True) == kept
    assert read_midi(again, drums=True).parts == kept.parts
    assert read_midi(again).report.drums == 2
    with pytest.raises(MidiError, match="drums"):
        read_midi(m.midi(m.track(m.note(0, 9, 36, channel=9))))


def test_the_pedal_lengthens_notes_when_asked_to():
    events = [
        m.pedal(240, 960),
        m.note(0, 480, 60),
        m.note(0, 120, 62),
        m.note(480, 1200, 64),
        m.note(600, 720, 65),
        m.note(480, 600, 67, channel=1),
        m.control(1440, 64, 63),
        m.note(1440, 1560, 69),
    ]
    assert song_of(events).report.pedals == song_of(events, pedal=True).report.pedals == 1
    lengths = {
        False: {60: 4, 62: 1, 64: 6, 65: 1, 67: 1, 69: 1},
        True: {60: 8, 62: 1, 64: 6, 65: 3, 67: 1, 69: 1},
    }
    for pedal, due in lengths.items():
        song = song_of(events, pedal=pedal)
        assert {n["pitch"].item(): n["duration"].item() for n in song.notes} == due


def test_a_pedal_that_is_never_released_and_one_pressed_twice():
    """Notes last to the last end of a note or longer, not beyond the track; a re-strike cuts."""
    events = [m.control(0, 64, 127), m.note(0, 120, 60), m.note(480, 600, 60), m.note(480, 960, 62)]
    song = song_of(events, end=1920, pedal=True)
    assert rows(song)[0] == (0, 4, 60, 80, 0)
    assert song.report.shortened == 1
    assert all(4 <= n["duration"] <= 12 for n in song.notes[1:])
    pressed_again = song_of(
        [m.control(0, 64, 64), m.control(240, 64, 127), m.note(0, 120), m.control(480, 64, 0)],
        pedal=True,
    )
    assert rows(pressed_again) == [(0, 4, 60, 80, 0)]


@pytest.mark.parametrize("number", [120, 123, 124, 125, 126, 127])
def test_controllers_that_end_all_notes_of_their_channel(number):
    events = [
        m.on(0, 60),
        m.on(0, 60, 90),
        m.on(120, 64),
        m.on(120, 67, channel=1),
        m.control(480, number, 0),
        m.off(600, 60),
        m.note(720, 960, 60),
        m.on(960, 72),
        m.off(1200, 67, channel=1),
        m.control(1440, number, 0),
    ]
    other = m.track(m.note(0, 1440, 40))
    song = read_midi(m.midi(m.track(events, end=4800), other))
    assert [row[:4] for row in rows(song)] == [
        (0, 12, 40, 80),
        (0, 4, 60, 90),
        (1, 3, 64, 80),
        (1, 9, 67, 80),
        (6, 2, 60, 80),
        (8, 4, 72, 80),
    ]
    assert song.report.unended == 0
    assert song.report.merged == 1


@pytest.mark.parametrize(
    ("number", "length"), [(120, 8), (121, 8), (123, 16), (126, 16), (7, 16), (66, 16)]
)
def test_controllers_120_and_121_end_what_the_pedal_holds(number, length):
    events = [m.pedal(0, 1920), m.note(0, 480, 60), m.control(960, number, 0)]
    assert rows(song_of(events, pedal=True)) == [(0, length, 60, 80, 0)]
    assert rows(song_of(events)) == [(0, 4, 60, 80, 0)]


def test_after_silence_the_pedal_is_still_down_and_after_a_reset_it_is_up():
    for number, length in ((120, 12), (121, 4)):
        events = [
            m.pedal(0, 1920),
            m.note(0, 120, 62),
            m.control(240, number, 0),
            m.note(480, 960, 60),
        ]
        song = song_of(events, pedal=True)
        assert rows(song) == [(0, 2, 62, 80, 0), (4, length, 60, 80, 0)], number


def test_overlapping_notes_end_first_in_first_out():
    song = m.exact(
        m.midi(m.track(m.on(0, 60, 10), m.on(100, 60, 20), m.off(150, 60), m.off(480, 60)))
    )
    assert rows(song) == [(0, 100, 60, 10, 0), (100, 380, 60, 20, 0)]
    assert song.report.shortened == 1
    same = m.exact(ZOO["unison"])
    assert rows(same) == [(0, 200, 60, 99, 0)]
    assert same.report.merged == 1


def test_notes_without_length_or_end():
    song = read_midi(ZOO["zero length"])
    assert rows(song) == [(0, 1, 60, 80, 0), (4, 4, 62, 80, 0)]
    assert song.report.zero_length == 1
    song = read_midi(ZOO["unended"])
    assert rows(song) == [(0, 16, 60, 80, 0), (4, 4, 62, 80, 0), (6, 10, 65, 80, 0)]
    assert song.report.unended == 2
    other = read_midi(m.midi(m.track(m.on(0, 60), end=480), m.track(m.note(0, 4800, 40))))
    assert rows(other) == [(0, 40, 40, 80, 1), (0, 4, 60, 80, 0)]


def test_what_a_picture_has_no_place_for_is_counted():
    counts = {
        k: v
        for k, v in vars(song_of(SCALE).report).items()
        if k not in ("phase", "quantisation_error", "remarks")
    }
    assert {type(count) for count in counts.values()} == {int}
    song = read_midi(ZOO["bends and the like"])
    assert rows(song) == rows(read_midi(m.midi(m.track(SCALE))))
    assert song.report.bends == 1
    assert song.report.controllers == 1


# ------------------------------------------------------------------------------------ words, chords
def test_chords_are_read_from_markers_else_from_lyrics():
    words = [
        (0, "C:maj"),
        (480, "verse"),
        (960, "G:7/3"),
        (1920, "X"),
        (2400, "N"),
        (2880, "Bb:min7"),
    ]
    due = (Chord(0, 8, "C:maj"), Chord(8, 8, "G:7/3"), Chord(20, 4, "N"), Chord(24, 16, "Bb:min7"))
    for kind in (m.marker, m.lyric):
        song = song_of([kind(*w) for w in words], m.note(0, 4800))
        assert song.chords == due
    both = song_of(
        [m.marker(*w) for w in words], m.lyric(0, "D:min"), m.lyric(960, "A:7"), m.note(0, 4800)
    )
    assert both.chords == due


def test_words_are_no_chords():
    for kind in (m.text, m.lyric, m.marker):
        words = [
            "A",
            "mi",
            "ca:",
            "C",
            "Verse: 1",
            "G:",
            ":",
            "1:2",
            "@KMIDI",
            "\\N ",
            "a:b:c",
            "C:xyz",
            "Amen",
        ]
        assert (
            song_of([kind(480 * i, w) for i, w in enumerate(words)], m.note(0, 4800)).chords == ()
        )
    assert song_of(m.text(0, "C:maj"), m.note(0, 480)).chords == ()  # karaoke text is no lyric


def test_chords_are_estimated_only_where_asked_and_none_are_named():
    three = ((48, 52, 55), (53, 57, 60), (55, 59, 62))
    triads = [m.note(1920 * i, 1920 * i + 1920, p) for i, chord in enumerate(three) for p in chord]
    assert song_of(triads).chords == ()
    assert [c.label for c in song_of(triads, estimate=True).chords] == ["C:maj", "F:maj", "G:maj"]
    assert song_of(triads).with_chords().chords == song_of(triads, estimate=True).chords
    named = song_of(triads, m.marker(0, "Eb:dim"), estimate=True)
    assert [c.label for c in named.chords] == ["Eb:dim"]


# ----------------------------------------------------------------------------- sources and wrappers
def test_bytes_files_paths_gzip_and_riff_are_the_same(tmp_path):
    data = ZOO["markers"]
    song, path = read_midi(data), tmp_path / "süß & quer.mid"
    sources = [
        bytearray(data),
        memoryview(data),
        io.BytesIO(data),
        path,
        str(path),
        os.fsencode(path).decode(),
    ]
    path.write_bytes(data)
    for wrapped in (
        gzip.compress(data),
        m.riff(data),
        m.riff(data, b"LIST\x05\0\0\0INFOx\0"),
        gzip.compress(m.riff(data)),
        gzip.compress(data[:100]) + gzip.compress(data[100:]),
    ):  # two members, as `cat a.gz b.gz` makes
        (tmp_path / f"{len(sources)}.mid").write_bytes(wrapped)
        sources += [wrapped, io.BytesIO(wrapped), tmp_path / f"{len(sources)}.mid"]
    for source in sources:
        again = read_midi(source)
        assert again == song
        assert again.parts == song.parts
        assert again.report == song.report
    with path.open("rb") as file:
        assert read_midi(file) == song
    with gzip.open(tmp_path / "6.mid") as file:
        assert read_midi(file) == song
    assert read_midi(path).name == "süß & quer"


def test_alien_chunks_are_passed_over():
    alien = m.chunk(b"XFIH", b"\x90\x3c\x50") + m.chunk(b"XFKM", b"")
    data = m.header(2) + alien + TWO + alien + m.track(m.note(0, 480, 40)) + alien
    assert read_midi(data) == read_midi(m.midi(TWO, m.track(m.note(0, 480, 40))))


def test_no_warning_comes_out_of_reading():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in ZOO.values():
            read_midi(data, drums=True, pedal=True, estimate=True)


def test_five_hundred_mutations():
    findings, outcomes = fuzz_midi.fuzz(500)
    assert findings == {}
    assert min(outcomes[kind] for kind in ("MidiError", "Song", "salvaged")) > 20
    assert sum(outcomes.values()) == 500


def test_more_tracks_than_a_short_sort_holds():
    """Above 32 tracks, pitches of all tracks no longer fit 16 bits."""
    tracks = [
        m.track(*(m.note(20 * i + t, 20 * i + t + 30, 40 + (i + t) % 50, 1 + t) for i in range(12)))
        for t in range(70)
    ]
    for count in (32, 33, 70):
        assert m.disagreement(m.midi(*tracks[:count])) == "", count


# The songs that come with pomkit


def test_a_shipped_song_is_read_by_its_name_unless_a_file_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = read_midi("ode_to_joy")
    assert shipped == read_midi(songs()["ode_to_joy"])
    Song([(0, 4, 60, 80, 0)]).write_midi(tmp_path / "ode_to_joy")
    assert read_midi("ode_to_joy").notes.tolist() == [(0, 4, 60, 80, 0)]


@pytest.mark.parametrize("name", ["ode_to_joi", "no_such_song.mid"])
def test_an_unknown_name_is_told_which_songs_there_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MidiError) as caught:
        read_midi(name)
    assert ("a shipped song: amazing_grace, auld_lang_syne" in str(caught.value)) == (
        "." not in name
    )
    assert len(str(caught.value)) <= 300

"""Every thing that a MIDI file holds and a Song does not keep is counted, and told in a line."""

import midi_files as m
import pretty_midi
import pytest

from pomkit import ReadReport, Song, read_midi
from pomkit.music.grid import LOSSES

NOTE = m.note(0, 960, 60)

# What stands beside one note, and how often each thing is to be counted.
CASES = {
    "pedals": ([m.pedal(0, 400), m.pedal(500, 900)], {"pedals": 2}),
    "bends": ([m.bend(0, 1), m.bend(9, 2)], {"bends": 2}),
    "controllers": ([m.control(0, 7, 9), m.control(0, 10, 9)], {"controllers": 2}),
    "aftertouch of both kinds": ([m.aftertouch(0, 60), m.pressure(1)], {"pressures": 2}),
    "release velocities": (
        [
            [m.on(0, 70 + i), m.off(100, 70 + i, velocity=value)]
            for i, value in enumerate((0, 1, 64, 127))
        ],
        {"releases": 2},
    ),
    "a program that no note has": ([m.program(0, 5), m.program(960, 6)], {"programs": 1}),
    "a program on another channel": ([m.program(0, 5, 1)], {"programs": 1}),
    "tempi at one step": ([m.tempo(0, 90), m.tempo(0, 100), m.tempo(1, 110)], {"signs": 2}),
    "tempi alike": ([m.tempo(0, 90), m.tempo(1, 90), m.tempo(480, 90)], {}),
    "a tempo of 0": ([m.meta(0, 0x51, bytes(3))], {"signs": 1}),
    "meters at one step": ([m.meter(0, 3, 4), m.meter(0, 2, 4)], {"signs": 1}),
    "keys at one step and after the end": (
        [m.key(0), m.key(0, 1), m.key(9600, 2)],
        {"signs": 2},
    ),
    "no key": ([m.meta(0, 0x59, b"\x09\0")], {"others": 1}),
    "lyrics": ([m.lyric(0, "la"), m.lyric(480, "lu")], {"lyrics": 2}),
    "chords as lyrics": ([m.lyric(0, "C:maj"), m.lyric(480, "lu")], {"lyrics": 1}),
    "markers": ([m.marker(0, "verse")], {"markers": 1}),
    "chords among markers": (
        [m.marker(0, "C:maj"), m.marker(9, "verse"), m.marker(480, "X"), m.lyric(0, "G:maj")],
        {"markers": 1, "lyrics": 1},
    ),
    "texts": ([m.text(0, "x"), m.text(0, "y", 2), m.text(0, "z", 7)], {"texts": 3}),
    "system messages": ([m.sysex(0), m.sysex(9, b"\1\xf7", 0xF7)], {"system": 2}),
    "other meta events": (
        [m.meta(0, 0x21, b"\0"), m.meta(0, 0x54, bytes(5)), m.meta(0, 0x7F, b"x"), m.meta(9, 0x60)],
        {"others": 4},
    ),
    "nothing": ([m.name("Piano"), m.program(0, 3), m.tempo(0, 90), m.meter(0, 3, 4)], {}),
}


def losses(report: ReadReport) -> dict[str, int]:
    """The counts that are not 0."""
    return {name: getattr(report, name) for name in LOSSES if getattr(report, name)}


@pytest.mark.parametrize("case", CASES)
def test_every_loss_is_counted_and_told(case):
    events, wanted = CASES[case]
    report = read_midi(m.midi(m.track(*events, NOTE))).report
    assert losses(report) == wanted
    assert list(report.remarks) == [
        f"{LOSSES[name]} ({wanted[name]}): not in the picture, kept in the file"
        for name in LOSSES
        if name in wanted
    ]


def test_the_name_of_a_track_without_notes_is_a_text():
    head = m.track(m.name("Suite"))
    assert read_midi(m.midi(head, m.track(m.name("Piano"), NOTE))).report.texts == 1


def test_the_pedal_is_no_loss_where_notes_are_held():
    data = m.midi(m.track(m.pedal(0, 1400), NOTE))
    assert read_midi(data, pedal=True).report.remarks == ()
    assert read_midi(data, pedal=True).report.pedals == 1


def test_a_written_song_loses_nothing(tmp_path):
    song = read_midi(m.midi(m.track(m.name("Piano"), m.program(0, 3), NOTE)))
    written = song.with_chords().write_midi(tmp_path / "song.mid", plain=True)
    assert losses(read_midi(written).report) == {}


def test_what_pretty_midi_has_is_counted():
    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(0)
    piano.notes.append(pretty_midi.Note(80, 60, 0, 1))
    piano.pitch_bends.append(pretty_midi.PitchBend(5, 0.5))
    piano.control_changes += [pretty_midi.ControlChange(number, 100, 0.5) for number in (64, 7, 10)]
    midi.instruments.append(piano)
    midi.lyrics.append(pretty_midi.Lyric("la", 0.2))
    report = Song.from_pretty_midi(midi).report
    assert losses(report) == {"pedals": 1, "bends": 1, "controllers": 2, "lyrics": 1}
    assert "pitch bends (1): not in the picture" in report.remarks

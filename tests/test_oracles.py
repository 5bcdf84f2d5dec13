"""What we write, other programs read: the same tempo, metre, key, instruments and notes.

mido, pretty_midi and music21; mftext and midi2abc (Debian's abcmidi), timidity, MuseScore. `make
oracles` installs the programs; where one is missing, its tests are skipped and say so.
"""

import os
import re
import shutil
import subprocess
import wave
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import midi_files as m
import mido
import pretty_midi
import pytest

from pomkit import Song, read_midi

# The soundfont that pretty_midi brings.
FONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
DRUMS = -1  # stands for the program of what is a drum
TICKS = 120  # of a 16th in the files that pomkit writes anew


class Reading(NamedTuple):
    """What a program finds in a file; None: it does not say.

    Times are ticks. A key is its tonic's pitch class, and 12 more in minor. A note is (onset, end,
    pitch, program).
    """

    tempi: list[tuple[int, float]] | None = None
    meters: list[tuple[int, int, int]] | None = None
    keys: list[tuple[int, int]] | None = None
    notes: list[tuple[int, int, int, int]] | None = None


# Songs, and what should be read of them


JIG = Song(
    [(0, 2, 76, 90, 0), (2, 2, 74, 81, 0), (4, 2, 72, 90, 0), (6, 4, 79, 90, 0), (12, 9, 76, 70, 0)]
    + [(onset, 6, 43, 80, 1) for onset in range(0, 48, 6)],
    parts=("Violin", "Bass"),
    programs=(40, 32),
    meters=((0, 6, 8),),
    tempi=((0, 90.0), (24, 120.0)),
    keys=((0, "G"),),
)
GROOVE = Song(
    [(onset, 1, 42, 90, 0) for onset in range(0, 64, 2)]
    + [(onset, 1, key, 90, 0) for onset in range(0, 64, 16) for key in (36, 38)]
    + [(onset, 3, 40, 90, 1) for onset in range(0, 64, 4)]
    + [(0, 16, pitch, 60, 2) for pitch in (60, 64, 67)],
    parts=("drums", "Bass", "Piano"),
    programs=(0, 33, 0),
    tempi=((0, 104.0), (16, 60.0), (40, 61.5)),
    meters=((0, 4, 4), (32, 3, 4)),
    keys=((0, "Am"), (32, "F#")),
)


def key_number(name: str) -> int:
    """A key as pretty_midi counts it: "Am" is 21."""
    tonic = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]]
    tonic += name.count("#") - name.count("b")
    return tonic % 12 + 12 * name.endswith("m")


def expected_of(song: Song) -> Reading:
    """What a song that is written anew says."""
    programs = [
        DRUMS if channel == 9 else program
        for program, channel in zip(song.programs, song.channels, strict=True)
    ]
    return Reading(
        [(step * TICKS, bpm) for step, bpm in song.tempi],
        [(step * TICKS, *sign) for step, *sign in song.time_signatures()],
        [(step * TICKS, key_number(name)) for step, name in song.keys],
        sorted(
            (onset * TICKS, (onset + long) * TICKS, pitch, programs[part])
            for onset, long, pitch, _, part in song.notes.tolist()
        ),
    )


def off_the_grid(notes: int, step: int, pitches: tuple[int, ...], channel: int) -> list:
    """Notes one after the other, each a few ticks early or late."""
    played = []
    for i in range(notes):
        begin = i * step + 3 + 5 * (i % 3)
        end = (i + 1) * step - 11
        played.append(m.note(begin, end, pitches[i % len(pitches)], channel=channel))
    return played


# A trio at 384 ticks a beat, played with a human hand, with all that a song does not hold.
TRIO = m.midi(
    m.track(
        m.tempo(0, 90), m.tempo(384 * 6, 120), m.meter(0, 6, 8), m.key(0, 1, 1), m.lyric(40, "la"),
    ),
    m.track(
        m.name("Violin"), m.program(0, 40, 2), m.pedal(100, 300, 2), m.program(384 * 6, 41, 2),
        off_the_grid(24, 192, (76, 74, 71, 79), 2),
    ),
    m.track(m.name("Bass"), m.program(0, 32, 5), off_the_grid(8, 576, (40, 47), 5)),
    m.track(m.name("Kit"), off_the_grid(24, 192, (42, 36), 9)),
    division=384,
)  # fmt: skip
# One track of two channels, a pickup, three signatures at one tick.
FLAT = m.midi(
    m.track(
        m.meter(0, 4, 4), m.meter(0, 1, 4), m.meter(240, 3, 4), m.tempo(0, 72), m.key(0, -3, 0),
        m.program(0, 73, 0), m.program(0, 42, 1),
        off_the_grid(20, 120, (72, 75, 79, 77), 0), off_the_grid(10, 240, (48, 43), 1),
    ),
    division=240, format=0,
)  # fmt: skip
SOURCES = {"trio": TRIO, "flat": FLAT}
REGION = (12, 24)  # steps


def recomposed(data: bytes) -> Song:
    """A file as a Song with other notes in a region of its first part."""
    song = read_midi(data, drums=True)
    onset = song.notes["onset"]
    inside = (song.notes["part"] == 0) & (onset >= REGION[0]) & (onset < REGION[1])
    assert inside.any()
    new = [(step, 2, 50 + step, 90, 0) for step in range(*REGION, 3)]
    return song.with_notes([*song.notes[~inside].tolist(), *new])


def outside(reading: Reading, ticks: int, melody: set[int]) -> list[tuple[int, int, int, int]]:
    """The notes of a reading that lie outside the region or in other parts.

    Args:
        reading: of a file.
        ticks: of a step.
        melody: the programs of the first part.
    """
    return [
        note
        for note in reading.notes or []
        if note[3] not in melody or not REGION[0] <= round(note[0] / ticks) < REGION[1]
    ]


# How programs read


def interpret(events: list[tuple]) -> Reading:
    """A reading of events in their order: (tick, kind, values); the notes by their channels."""
    tempi, meters, keys, notes = [], [], [], []
    programs: dict[int, int] = {}
    sounding: dict[tuple[int, int], tuple[int, int]] = {}
    for tick, kind, *values in events:
        if kind == "tempo":
            tempi.append((tick, round(60e6 / values[0], 3)))
        elif kind == "meter":
            meters.append((tick, *values))
        elif kind == "key":
            keys.append((tick, values[0]))
        elif kind == "program":
            programs[values[0]] = values[1]
        else:
            channel, pitch, velocity = values
            if (channel, pitch) in sounding:
                begin, program = sounding.pop((channel, pitch))
                notes.append((begin, tick, pitch, program))
            if velocity:
                program = DRUMS if channel == 9 else programs.get(channel, 0)
                sounding[channel, pitch] = (tick, program)
    return Reading(last(tempi), last(meters), last(keys), sorted(notes))


def last(told: list[tuple]) -> list[tuple]:
    """Of several at one tick the last one."""
    return [(tick, *values) for tick, values in {tick: rest for tick, *rest in told}.items()]


def by_mido(path: Path) -> Reading:
    events = []
    for track in mido.MidiFile(path).tracks:
        ticks = accumulate(message.time for message in track)
        events += [(tick, message) for tick, message in zip(ticks, track, strict=True)]
    told = []
    for tick, message in sorted(events, key=lambda event: event[0]):
        if message.type == "set_tempo":
            told.append((tick, "tempo", message.tempo))
        elif message.type == "time_signature":
            told.append((tick, "meter", message.numerator, message.denominator))
        elif message.type == "key_signature":
            told.append((tick, "key", key_number(message.key)))
        elif message.type == "program_change":
            told.append((tick, "program", message.channel, message.program))
        elif message.type in ("note_on", "note_off"):
            velocity = message.velocity if message.type == "note_on" else 0
            told.append((tick, "note", message.channel, message.note, velocity))
    return interpret(told)


MFTEXT = re.compile(
    r"Time=(?P<tick>\d+)\s+(?:"
    r"Tempo, microseconds-per-MIDI-quarter-note=(?P<tempo>\d+)"
    r"|Time signature=(?P<above>\d+)/(?P<below>\d+)"
    r"|Key signature, sharp/flats=(?P<sharps>-?\d+)\s+minor=(?P<minor>\d)"
    r"|Program, chan=(?P<of>\d+) program=(?P<program>\d+)"
    r"|Note (?P<how>on|off), chan=(?P<channel>\d+) pitch=(?P<pitch>\d+) vol=(?P<velocity>\d+))"
)


def by_mftext(path: Path) -> Reading:
    told = []
    for found in MFTEXT.finditer(run("mftext", path)):
        tick = int(found["tick"])
        if found["tempo"]:
            told.append((tick, "tempo", int(found["tempo"])))
        elif found["above"]:
            told.append((tick, "meter", int(found["above"]), int(found["below"])))
        elif found["sharps"]:
            minor = int(found["minor"])
            told.append((tick, "key", (7 * int(found["sharps"]) + 9 * minor) % 12 + 12 * minor))
        elif found["program"]:
            told.append((tick, "program", int(found["of"]) - 1, int(found["program"])))
        else:
            velocity = int(found["velocity"]) if found["how"] == "on" else 0
            told.append((tick, "note", int(found["channel"]) - 1, int(found["pitch"]), velocity))
    return interpret(sorted(told, key=lambda event: event[0]))


def by_pretty_midi(path: Path) -> Reading:
    midi = pretty_midi.PrettyMIDI(str(path))
    tick = midi.time_to_tick
    times, tempi = midi.get_tempo_changes()
    notes = [
        (tick(n.start), tick(n.end), n.pitch, DRUMS if part.is_drum else part.program)
        for part in midi.instruments
        for n in part.notes
    ]
    meters = [(tick(s.time), s.numerator, s.denominator) for s in midi.time_signature_changes]
    keys = [(tick(sign.time), sign.key_number) for sign in midi.key_signature_changes]
    tempi = [(tick(time), round(bpm, 3)) for time, bpm in zip(times, tempi, strict=True)]
    return Reading(tempi, last(meters), last(keys), sorted(notes))


def by_music21(path: Path) -> Reading:
    """What music21 finds; it knows no pitch of a drum."""
    music21 = pytest.importorskip("music21", reason="music21 is not installed here")
    ticks = mido.MidiFile(path).ticks_per_beat
    score = music21.converter.parse(path, quantizePost=False, forceSource=True)
    notes = []
    for part in score.parts:
        # The first one it guesses by the name of the part, where that is one of an instrument.
        *_, instrument = part.recurse().getElementsByClass("Instrument")
        is_drums = isinstance(instrument, music21.instrument.UnpitchedPercussion)
        program = DRUMS if is_drums else instrument.midiProgram
        for element in part.flatten().notes:
            begin = round(float(element.offset) * ticks)
            end = round(float(element.offset + element.quarterLength) * ticks)
            notes += [(begin, end, pitch.midi, program) for pitch in element.pitches]
    # Signs behind the end of a part stand at its end.
    flat = max(score.parts, key=lambda part: part.highestTime).flatten()
    at = [(sign, round(float(sign.offset) * ticks)) for sign in flat]
    kinds = music21.tempo.MetronomeMark, music21.meter.TimeSignature, music21.key.Key
    tempi, meters, keys = ([(s, t) for s, t in at if isinstance(s, kind)] for kind in kinds)
    return Reading(
        last([(tick, round(mark.getQuarterBPM(), 1)) for mark, tick in tempi]),
        last([(tick, sign.numerator, sign.denominator) for sign, tick in meters]),
        last([(tick, key.tonic.pitchClass + 12 * (key.mode == "minor")) for key, tick in keys]),
        sorted(notes),
    )


def run(program: str, *arguments: object, limit: int = 60) -> str:
    """What a program prints; skips the test where it is missing, fails it where it complains."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed here; run: make oracles")
    done = subprocess.run(
        [found, *map(str, arguments)],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# The laws


@pytest.fixture(params=["jig", "groove", "jig again", "groove again"])
def anew(request, tmp_path) -> tuple[Path, Reading]:
    """A song as a file; or such a file as a Song, and that written again on its grid."""
    song = {"jig": JIG, "groove": GROOVE}[request.param.split()[0]]
    path = song.write_midi(tmp_path / "song.mid")
    if request.param.endswith("again"):
        path = read_midi(path, drums=True).write_midi(tmp_path / "again.mid", plain=True)
    return path, expected_of(song)


@pytest.fixture(params=SOURCES)
def spliced(request, tmp_path) -> tuple[Path, Path, Song]:
    """A file, the same with a region composed anew, and that as a Song."""
    data = SOURCES[request.param]
    song = recomposed(data)
    (tmp_path / "source.mid").write_bytes(data)
    song.write_midi(tmp_path / "spliced.mid")
    return tmp_path / "source.mid", tmp_path / "spliced.mid", song


READERS: dict[str, Callable[[Path], Reading]] = {
    "mido": by_mido,
    "mftext": by_mftext,
    "pretty_midi": by_pretty_midi,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_song_is_read_as_it_was_written(reader, anew):
    path, expected = anew
    found = READERS[reader](path)
    assert found.tempi == [(tick, pytest.approx(bpm, abs=0.01)) for tick, bpm in expected.tempi]
    assert found._replace(tempi=None) == expected._replace(tempi=None)


@pytest.mark.parametrize("reader", READERS)
def test_what_was_not_composed_is_read_as_in_the_source(reader, spliced):
    source, path, song = spliced
    before = READERS[reader](source)
    after = READERS[reader](path)
    assert (after.tempi, after.meters, after.keys) == (before.tempi, before.meters, before.keys)

    ticks = mido.MidiFile(source).ticks_per_beat // song.steps_per_beat
    melody = {40, 41} if 40 in song.programs else {73}
    assert outside(after, ticks, melody) == outside(before, ticks, melody)
    new = sorted(set(after.notes) - set(outside(after, ticks, melody)))
    assert [round(begin / ticks) for begin, *_ in new] == list(range(*REGION, 3))
    assert [pitch for _, _, pitch, _ in new] == [50 + step for step in range(*REGION, 3)]


@pytest.mark.filterwarnings("ignore")
def test_music21_reads_the_same(anew):
    path, expected = anew
    found = by_music21(path)
    assert found.tempi == [(tick, pytest.approx(bpm, abs=0.1)) for tick, bpm in expected.tempi]
    assert found.meters == expected.meters
    assert found.keys == expected.keys
    assert found.notes == [note for note in expected.notes if note[3] != DRUMS]


def check_by_timidity(path: Path) -> None:
    """timidity plays every note, each with its program, as long as the file lasts."""
    config = path.with_name("timidity.cfg")
    config.write_text(f'soundfont "{FONT}"\n')
    sound = path.with_suffix(".wav")
    told = run("timidity", "-c", config, "-Ow", "-s", 8000, "-o", sound, path)
    assert "Notes lost totally: 0" in told
    with wave.open(str(sound)) as file:
        played = file.getnframes() / file.getframerate()
    # Its last notes ring on.
    end = mido.MidiFile(path).length
    assert end - 0.1 < played < end + 3

    counted = run("timidity", "-c", config, "-Ol", "-o", "-", path)
    found = re.findall(r"Tonebank 0 (\d+) \(start at \S+ (\d+) times note on", counted)
    notes = Counter(program for *_, program in by_mido(path).notes if program != DRUMS)
    assert {int(program): int(count) for program, count in found} == notes


def test_timidity_plays_a_song(anew):
    path, _ = anew
    check_by_timidity(path)


def test_timidity_plays_what_was_composed(spliced):
    _, path, _ = spliced
    check_by_timidity(path)


def test_musescore_reads_the_same(anew, tmp_path):
    path, expected = anew
    run("musescore3", "-o", tmp_path / "song.musicxml", path)
    root = ElementTree.parse(tmp_path / "song.musicxml").getroot()
    assert first_of(root, "sound[@tempo]", "tempo") == pytest.approx(expected.tempi[0][1], abs=0.1)

    signs = [(int(t.findtext("beats")), int(t.findtext("beat-type"))) for t in root.iter("time")]
    assert set(signs) == {(above, below) for _, above, below in expected.meters}
    programs = {int(told.text) - 1 for told in root.iter("midi-program")}
    assert programs >= {note[3] for note in expected.notes} - {DRUMS}

    # A note that is tied counts once.
    pitches = [
        pitch_of(note.find("pitch"))
        for note in root.iter("note")
        if note.find("pitch") is not None and note.find("tie[@type='stop']") is None
    ]
    assert sorted(pitches) == sorted(note[2] for note in expected.notes if note[3] != DRUMS)


def test_musescore_reads_the_signs_of_the_source(spliced):
    *paths, _ = spliced
    heads = []
    for path in paths:
        run("musescore3", "-o", path.with_suffix(".musicxml"), path)
        root = ElementTree.parse(path.with_suffix(".musicxml")).getroot()
        tempi = [sound.get("tempo") for sound in root.iter("sound") if sound.get("tempo")]
        told = ("part-name", "midi-program", "fifths", "beats", "beat-type")
        heads.append([tempi, *([tag.text for tag in root.iter(name)] for name in told)])
    assert heads[0] == heads[1]


def first_of(root: ElementTree.Element, tag: str, name: str) -> float:
    """A number that the first element of a tag has."""
    return float(root.find(f".//{tag}").get(name))


def pitch_of(pitch: ElementTree.Element) -> int:
    """The number of a pitch in MusicXML."""
    letter = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[pitch.findtext("step")]
    alter = int(pitch.findtext("alter") or 0)
    return 12 * (int(pitch.findtext("octave")) + 1) + letter + alter


def test_midi2abc_reads_the_same_head(anew):
    path, expected = anew
    (_, above, below), *_ = expected.meters
    text = run("midi2abc", path)
    # It tells the last key of all, and the first tempo, without its decimals.
    assert f"M: {above}/{below}" in text
    assert f"Q:1/4={int(expected.tempi[0][1])}" in text
    programs = {int(number) for number in re.findall(r"%%MIDI program (\d+)", text)}
    assert programs >= {note[3] for note in expected.notes} - {DRUMS}


def test_midi2abc_reads_the_head_of_the_source(spliced):
    source, path, _ = spliced
    heads = [re.findall(r"^[MQKL]:.*", run("midi2abc", file), re.M) for file in (source, path)]
    assert heads[0] == heads[1]

"""A song on paper: bars, voices and values, MusicXML that others read, and drawn pages."""

import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pomkit import Chord, OptionError, PomkitError, Song, read_midi
from pomkit.music.notation import cut_at_tempi, score_bars, staves_of, told_tempi
from pomkit.music.spelling import bass_of, key_of, lowest_fifth, octave_of, spell
from pomkit.music.tables import GRIDS, columns_of, notes_of, untangle

MUSESCORE = shutil.which("musescore3") or shutil.which("mscore3")
needs_musescore = pytest.mark.skipif(MUSESCORE is None, reason="MuseScore 3 is not installed here")
VALUES = {Fraction(2) ** n * dots for n in range(-6, 4) for dots in (1, Fraction(3, 2))}

JIG = Song(
    [(0, 2, 76, 90, 0), (2, 2, 74, 90, 0), (4, 2, 72, 90, 0), (6, 4, 79, 90, 0), (12, 9, 76, 90, 0)]
    + [(onset, 6, 43, 80, 1) for onset in (0, 6, 12, 18)],
    parts=("Violin", "Bass"),
    programs=(40, 32),
    meters=((0, 6, 8),),
    tempi=((0, 90.0), (12, 120.0)),
    keys=((0, "G"),),
    name="A jig",
)
PIANO = Song(
    [(0, 8, 72, 90, 0), (8, 24, 71, 90, 0), (0, 16, 64, 90, 0), (2, 3, 67, 90, 0)]
    + [(0, 32, 36, 80, 0), (4, 4, 52, 80, 0), (12, 9, 55, 80, 0), (24, 8, 48, 80, 0)],
    parts=("Piano",),
    chords=(Chord(0, 16, "C:maj"), Chord(16, 8, "F#:7/3"), Chord(24, 8, "N")),
)
GROOVE = Song(
    [(onset, 1, 42, 90, 0) for onset in range(0, 32, 2)]
    + [(onset, 1, 36, 90, 0) for onset in (0, 8, 10, 16, 24)]
    + [(onset, 1, 38, 90, 0) for onset in (4, 12, 20, 28)]
    + [(onset, 3, 40, 90, 1) for onset in range(0, 32, 4)],
    parts=("drums", "Bass"),
    programs=(0, 33),
    tempi=((0, 104.0),),
)
PICKUP = Song(
    [(0, 4, 67, 90, 0), (4, 8, 72, 90, 0), (12, 4, 71, 90, 0), (16, 26, 72, 90, 0)],
    meters=((0, 1, 4), (4, 3, 4), (28, 7, 8)),
    keys=((0, "Bbm"), (28, "D")),
)
TRIPLETS = Song(
    [(2 * i, 2, 60 + i, 90, 0) for i in range(9)] + [(18, 7, 50, 90, 0), (27, 20, 51, 90, 0)],
    steps_per_beat=6,
)
SONGS = {"jig": JIG, "piano": PIANO, "groove": GROOVE, "pickup": PICKUP, "triplets": TRIPLETS}


def rows(song: Song) -> list[tuple[int, int, int, int]]:
    """(onset, duration, pitch, part) of the notes, those of drums a step long."""
    drums = [channel == 9 for channel in song.channels]
    table = song.notes[["onset", "duration", "pitch", "part"]].tolist()
    return sorted((o, 1 if drums[part] else d, pitch, part) for o, d, pitch, part in table)


def joined(song: Song) -> list[tuple[int, int, int, int]]:
    """The notes that stand on a song's staves, ties joined; as `rows`, but drums as written."""
    bars = score_bars(song)
    found = []
    for part in range(len(song.parts)):
        for staff in staves_of(song, part, cut_at_tempi(song, bars) if part == 0 else bars):
            for bar, voices in zip(bars, staff.bars, strict=True):
                for piece in (piece for voice in voices for piece in voice):
                    begin = bar.begin + piece.begin * song.steps_per_beat
                    found += [
                        (begin, piece.length * song.steps_per_beat, tone.pitch, part, tone.tie)
                        for tone in piece.tones
                    ]
    return tie_together(found)


def tie_together(found) -> list[tuple[int, int, int, int]]:
    """Notes of (onset, length, pitch, part, tie), those that are tied as one."""
    whole = []
    sounding: dict[tuple[int, int], list] = {}
    for onset, length, pitch, part, tie in sorted(found, key=lambda row: (row[0], row[2])):
        place = (part, pitch)
        if tie in ("stop", "continue"):
            assert abs(sounding[place][0] + sounding[place][1] - onset) < 1e-3
            sounding[place][1] += length
        else:
            sounding[place] = [onset, length]
        if tie in ("", "stop"):
            begin, total = sounding.pop(place)
            whole.append((round(begin), round(total), pitch, part))
    assert not sounding
    return sorted(whole)


@st.composite
def songs(draw):
    """Songs of two parts on any grid, in many metres, with notes that overlap."""
    per_beat = draw(st.sampled_from(GRIDS))
    meter = draw(st.sampled_from([(4, 4), (3, 4), (6, 8), (7, 8), (5, 4), (2, 2), (12, 8)]))
    bars = draw(st.sampled_from([(), (0, per_beat, 5 * per_beat)]))
    row = st.tuples(
        st.integers(0, 12 * per_beat),
        st.integers(1, 4 * per_beat),
        st.integers(40, 80),
        st.just(80),
        st.integers(0, 1),
    )
    notes = Song(draw(st.lists(row, min_size=1, max_size=14))).notes
    columns, _, _ = untangle(columns_of(notes))
    whole = 4 * meter[0] * per_beat % meter[1] == 0
    meters = ((0, *meter),) if whole and not bars else ()
    return Song(notes_of(columns), bars=bars, meters=meters, steps_per_beat=per_beat)


# On staves


@settings(max_examples=60, deadline=None)
@given(songs())
def test_what_stands_on_staves_is_the_song(song):
    assert joined(song) == rows(song)


@settings(max_examples=60, deadline=None)
@given(songs())
def test_voices_fill_their_bars_with_values_that_have_a_sign(song):
    bars = score_bars(song)
    for part in range(len(song.parts)):
        for staff in staves_of(song, part, bars):
            for bar, voices in zip(bars, staff.bars, strict=True):
                assert len(voices) <= 2
                for voice in voices:
                    ends = [piece.begin + piece.length for piece in voice]
                    assert [piece.begin for piece in voice] == [0, *ends[:-1]]
                    assert ends[-1] == bar.length
                    written = [p.length * 3 / 2 if p.triplet else p.length for p in voice]
                    assert set(written) <= VALUES


def written(song: Song) -> list[list[str]]:
    """The first voice of each bar of the first staff, in quarters; rests with an r."""
    (staff, *_) = staves_of(song, 0, score_bars(song))
    return [
        [f"{'' if p.tones else 'r'}{p.length}" for voice in bar[:1] for p in voice]
        for bar in staff.bars
    ]


@pytest.mark.parametrize(
    ("meter", "notes", "expected"),
    [
        ((4, 4), [(0, 5), (5, 11)], ["1", "1/4", "3/4", "2"]),
        ((4, 4), [(2, 4)], ["r1/2", "1", "r1/2", "r2"]),
        ((4, 4), [(6, 4)], ["r1", "r1/2", "1/2", "1/2", "r1/2", "r1"]),
        ((4, 4), [(4, 8)], ["r1", "2", "r1"]),
        ((4, 4), [(0, 14)], ["2", "3/2", "r1/2"]),
        ((6, 8), [(0, 4), (4, 4)], ["1", "1/2", "1/2", "r1"]),
        ((6, 8), [(0, 12)], ["3"]),
        ((3, 4), [(0, 12)], ["3"]),
        ((3, 4), [(4, 8)], ["r1", "2"]),
    ],
)
def test_values_show_the_beats(meter, notes, expected):
    song = Song([(onset, long, 60, 80, 0) for onset, long in notes], meters=((0, *meter),))
    assert written(song)[0] == expected


def test_triplets_stand_under_brackets():
    staff, _ = staves_of(TRIPLETS, 0, score_bars(TRIPLETS))
    beat = staff.bars[0][0][:3]
    assert [piece.bracket for piece in beat] == ["start", "", "stop"]
    assert {piece.length for piece in beat} == {Fraction(1, 3)}


def test_a_pickup_is_part_of_a_bar_of_the_metre():
    first, second, *_, last = score_bars(PICKUP)
    assert (first.sign, first.length, first.missing) == ((3, 4), 1, 2)
    assert (second.sign, second.begin, second.number) == ((3, 4), 4, 2)
    assert (last.sign, last.length) == ((7, 8), Fraction(7, 2))


def test_bars_whose_length_is_not_that_of_the_metre_have_their_own():
    song = Song([(0, 40, 60, 80, 0)], bars=(0, 16, 28, 44), meters=((0, 4, 4),))
    assert [bar.sign for bar in score_bars(song)] == [(4, 4), (3, 4), (4, 4)]


def test_a_song_without_metres_is_in_common_time():
    assert {bar.sign for bar in score_bars(PIANO)} == {(4, 4)}


def test_bars_by_hand_follow_the_metres():
    assert JIG.bar_lines().tolist() == [0, 12, 24]
    assert PICKUP.bar_lines().tolist() == [0, 4, 16, 28, 42]
    late = Song([(0, 20, 60, 80, 0)], meters=((0, 4, 4), (64, 3, 4)))
    assert late.bar_lines().tolist() == [0, 16, 32]


@pytest.mark.parametrize("meter", [(0, 0, 4), (0, 4, 0), (0, 4, 3), (0, 256, 4), (0, 4.5, 4)])
def test_metres_that_cannot_be_are_refused(meter):
    with pytest.raises(OptionError, match="meters"):
        Song([(0, 4, 60, 80, 0)], meters=(meter,))


def test_hands_that_lie_apart_have_two_staves():
    bars = score_bars(PIANO)
    upper, lower = staves_of(PIANO, 0, bars)
    assert min(upper.pitches) >= 60 > max(lower.pitches)
    assert len(staves_of(JIG, 0, score_bars(JIG))) == 1


def test_small_changes_of_tempo_have_no_mark():
    song = Song([(0, 64, 60, 80, 0)], tempi=((0, 100), (8, 101), (16, 104), (24, 105), (32, 90)))
    assert told_tempi(song) == [(0, 100), (16, 104), (32, 90)]


def test_a_held_note_is_cut_where_the_tempo_changes():
    song = Song([(0, 16, 60, 80, 0)], tempi=((0, 100), (4, 140)))
    (bar,) = cut_at_tempi(song, score_bars(song))
    assert bar.marks == (1,)
    (staff,) = staves_of(song, 0, [bar])
    assert [piece.tones[0].tie for piece in staff.bars[0][0]] == ["start", "stop"]


def test_songs_too_large_for_a_score_are_refused_at_once():
    with pytest.raises(OptionError, match="cut the song"):
        score_bars(Song([(0, 2**20, 60, 80, 0)]))
    rng = np.random.default_rng(0)
    crowd = np.stack([rng.integers(0, 380, 2500), np.full(2500, 40)], axis=1)
    notes = [(onset, long, i % 128, 80, 0) for i, (onset, long) in enumerate(crowd.tolist())]
    song = Song(notes, steps_per_beat=24, bars=(0, 384))
    with pytest.raises(OptionError, match="overlap|staff"):
        staves_of(song, 0, score_bars(song))


# Names


def test_names_lie_within_their_octave_and_give_their_pitch():
    semitones = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    for key in ("C", "Cb", "C#", "Am", "Abm", "A#m", "F#", "Eb"):
        for pitch in range(128):
            name = spell(pitch, lowest_fifth(key))
            tone = semitones[name[0]] + name.count("#") - name.count("b")
            assert 12 * (octave_of(pitch, name) + 1) + tone == pitch


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("C", "C C# D Eb E F F# G G# A Bb B"),
        ("Am", "C C# D D# E F F# G G# A Bb B"),
        ("Ab", "C Db D Eb E F Gb G Ab A Bb Cb"),
        ("E", "B# C# D D# E E# F# G G# A A# B"),
    ],
)
def test_a_key_spells_the_twelve_pitches(key, names):
    assert [spell(pitch, lowest_fifth(key)) for pitch in range(60, 72)] == names.split()


def test_an_estimated_key_has_few_accidentals():
    scale = [(i, 1, 59 + step, 80, 0) for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12, 0, 7))]
    assert key_of(Song(scale).notes) == "B"
    assert key_of(Song([(0, 4, 61, 80, 0)]).notes) == "C"


@pytest.mark.parametrize(
    ("label", "root", "bass"),
    [("C:maj/3", "C", "E"), ("F#:7/3", "F#", "A#"), ("C:min/b3", "C", "Eb"), ("C:maj", "C", None)],
)
def test_the_bass_of_a_chord(label, root, bass):
    assert bass_of(label, root) == bass


# As a file that others read


@pytest.fixture(scope="module")
def music21():
    return pytest.importorskip("music21", reason="music21 is not installed here")


def read_by_music21(text: str, song: Song, music21) -> list[tuple[int, int, int, int]]:
    """The pitched notes that music21 finds in a MusicXML, ties joined, in steps."""
    found = []
    names: list[str] = []
    for part in music21.converter.parse(text, format="musicxml").parts:
        if part.partName not in names:
            names.append(part.partName)
        for element in part.recurse().notes:
            onset = element.getOffsetInHierarchy(part) * song.steps_per_beat
            length = element.quarterLength * song.steps_per_beat
            if isinstance(element, music21.harmony.Harmony):
                continue
            for note in getattr(element, "notes", [element]):
                if hasattr(note, "pitch"):
                    tie = note.tie.type if note.tie else ""
                    number = song.parts.index(part.partName)
                    found.append((float(onset), float(length), note.pitch.midi, number, tie))
    return tie_together(found)


def pitched(song: Song) -> list[tuple[int, int, int, int]]:
    return [row for row in rows(song) if song.channels[row[3]] != 9]


@pytest.mark.parametrize("name", SONGS)
def test_music21_reads_the_same_notes(name, music21):
    song = SONGS[name]
    assert read_by_music21(song.to_musicxml(), song, music21) == pitched(song)


def test_music21_reads_the_same_signs(music21):
    score = music21.converter.parse(JIG.to_musicxml(), format="musicxml")
    marks = [
        (m.offset, m.getQuarterBPM()) for m in score.recurse().getElementsByClass("MetronomeMark")
    ]
    assert marks == [(0, 90), (0, 120)]
    assert {sign.ratioString for sign in score.recurse().getElementsByClass("TimeSignature")} == {
        "6/8"
    }
    assert {key.tonicPitchNameWithCase for key in score.recurse().getElementsByClass("Key")} == {
        "G"
    }
    assert [part.partName for part in score.parts] == ["Violin", "Bass"]
    assert [part.getInstrument().midiProgram for part in score.parts] == [40, 32]
    assert score.metadata.bestTitle == "A jig"


def test_the_text_says_what_the_song_does(music21):
    root = ElementTree.fromstring(PIANO.to_musicxml())
    assert root.find("identification/creator") is None
    kinds = [kind.text for kind in root.iter("kind")]
    assert kinds == ["major", "dominant-seventh", "none"] or kinds[:2] == ["major", "dominant"]
    (bass,) = root.iter("bass")
    assert (bass.findtext("bass-step"), bass.findtext("bass-alter")) == ("A", "1")
    assert len(root.findall("part")) == 1
    assert root.findtext("part/measure/attributes/staves") == "2"


def test_a_chord_within_a_note_stays_on_the_first_staff(music21):
    """It stands before the note, so many quarters after its beginning."""
    verovio = pytest.importorskip("verovio", reason="verovio is not installed here")
    toolkit = verovio.toolkit()
    toolkit.loadData(PIANO.to_musicxml())
    harmonies = re.findall(r"<harm [^>]*", toolkit.getMEI({}))
    places = [re.search(r'staff="(\d)".* tstamp="([\d.]+)"', text).groups() for text in harmonies]
    assert [(staff, float(beat)) for staff, beat in places] == [("1", 1), ("1", 1), ("1", 3)]


def test_the_same_song_gives_the_same_text(music21):
    assert GROOVE.to_musicxml() == GROOVE.to_musicxml()


def test_drums_have_no_pitch_and_each_its_instrument(music21):
    root = ElementTree.fromstring(GROOVE.to_musicxml())
    keys = {
        told.get("id"): int(told.findtext("midi-unpitched")) - 1
        for told in root.iter("midi-instrument")
        if told.find("midi-unpitched") is not None
    }
    strokes = [
        note for note in root.find("part").iter("note") if note.find("unpitched") is not None
    ]
    struck = sorted(keys[note.find("instrument").get("id")] for note in strokes)
    assert struck == sorted(GROOVE.notes["pitch"][GROOVE.notes["part"] == 0].tolist())
    assert root.find("part").find(".//pitch") is None


def test_names_that_no_xml_can_hold_are_cleaned(music21):
    song = Song([(0, 4, 60, 80, 0)], parts=("a\x01<&>",), name="\x02é")
    root = ElementTree.fromstring(song.to_musicxml())
    assert root.findtext("part-list/score-part/part-name") == "a<&>"


@pytest.mark.parametrize("pitch", [0, 11, 12, 127])
def test_the_lowest_and_highest_pitches_are_written(pitch, music21):
    song = Song([(0, 4, pitch, 80, 0)])
    assert read_by_music21(song.to_musicxml(), song, music21) == [(0, 4, pitch, 0)]


def test_it_is_written_to_a_file(tmp_path, music21):
    text = JIG.to_musicxml(tmp_path / "new" / "jig.musicxml")
    assert (tmp_path / "new" / "jig.musicxml").read_text(encoding="utf-8") == text
    with pytest.raises(OptionError, match="musicxml"):
        JIG.to_musicxml(tmp_path / "jig.mxl")


def test_a_song_without_parts_has_no_score():
    with pytest.raises(OptionError, match="no score"):
        Song([]).to_musicxml()


@pytest.mark.parametrize(("module", "method"), [("music21", "to_musicxml"), ("verovio", "score")])
def test_without_the_extra_one_error_says_how_to_get_it(module, method, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PomkitError, match=rf'{module}.*pip install "pomkit\[score\]"'):
        getattr(JIG, method)()


@needs_musescore
@pytest.mark.parametrize("name", SONGS)
def test_musescore_plays_the_same_notes(name, tmp_path, music21):
    """MuseScore reads the MusicXML and writes it as MIDI; a staff is a track of it."""
    song = SONGS[name]
    song.to_musicxml(tmp_path / "song.musicxml")
    subprocess.run(
        [MUSESCORE, "-o", str(tmp_path / "song.mid"), str(tmp_path / "song.musicxml")],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    back = read_midi(tmp_path / "song.mid", song.steps_per_beat, drums=True)
    assert sorted(row[:3] for row in rows(back)) == sorted(row[:3] for row in rows(song))
    assert set(zip(back.programs, [c == 9 for c in back.channels], strict=True)) == set(
        zip(song.programs, [c == 9 for c in song.channels], strict=True)
    )
    assert [(step, round(bpm)) for step, bpm in back.tempi] == list(song.tempi or [(0, 120)])
    assert back.bar_lines().tolist() == song.bar_lines().tolist()


# As drawn pages


@pytest.fixture(scope="module")
def sheet(music21):
    pytest.importorskip("verovio", reason="verovio is not installed here")
    return GROOVE.score()


def test_pages_are_svg_that_a_notebook_shows(sheet):
    assert len(sheet.pages) == 1
    root = ElementTree.fromstring(sheet.pages[0])
    assert root.tag.endswith("svg")
    shown = sheet._repr_html_()
    assert shown.count("data:image/svg+xml;base64,") == 1
    assert "background: white" in shown


def test_every_note_is_drawn(sheet):
    heads = re.findall(r'class="note"', sheet.pages[0])
    assert len(heads) == len(GROOVE.notes)


def test_a_long_song_has_pages(music21, tmp_path):
    pytest.importorskip("verovio", reason="verovio is not installed here")
    song = Song([(4 * i, 4, 60 + i % 12, 80, 0) for i in range(400)], parts=("Flute",))
    drawn = song.score()
    assert len(drawn.pages) > 1
    paths = drawn.save(tmp_path / "long.svg")
    assert [path.name for path in paths[:2]] == ["long-1.svg", "long-2.svg"]
    assert paths[0].read_text(encoding="utf-8") == drawn.pages[0]
    with pytest.raises(OptionError, match="svg"):
        drawn.save(tmp_path / "long.png")

"""The shipped songs: their texts, the MIDI files built from them, and what musicians know."""

import importlib.util
import sys
from pathlib import Path

import mir_eval
import numpy as np
import pytest

from pomkit import read_midi
from pomkit.music.chords import chord_tones, transpose_chord

SONGS = Path(__file__).parents[1] / "assets" / "songs"
spec = importlib.util.spec_from_file_location("build_songs", SONGS / "build.py")
build = importlib.util.module_from_spec(spec)
sys.modules["build_songs"] = build
spec.loader.exec_module(build)

SCORES = {path.stem: build.read_score(path) for path in sorted(SONGS.glob("*.txt"))}
MADE = {name: build.make_song(score) for name, score in SCORES.items()}
LABELLED = [name for name, song in MADE.items() if song.chords]
each_song = pytest.mark.parametrize("name", SCORES)

# Part, first bar and the first pitches from there on, written down apart from the texts.
# fmt: off
INCIPITS = {
    "amazing_grace": ("MELODY", 1, "Eb4 Ab4 C5 Ab4 C5 Bb4 Ab4 F4 Eb4 Eb4 Ab4 C5 Ab4 C5 Bb4 Eb5"),
    "auld_lang_syne": (
        "MELODY", 4, "F4 Bb4 Bb4 Bb4 D5 C5 Bb4 C5 D5 Bb4 Bb4 D5 F5 G5 G5 F5 D5 D5 Bb4"),
    "bach_chorale_passion": ("SOPRANO", 1, "A4 D5 C5 Bb4 A4 G4 A4 E5 F5 F5 E5 D5 E5 D5"),
    "bach_invention_13": ("RIGHT", 1, "E4 A4 C5 B4 E4 B4 D5 C5 E5 G#4 E5 A4"),
    "bach_invention_8": ("RIGHT", 1, "F4 A4 F4 C5 F4 F5 E5 D5 C5 D5 C5 Bb4 A4 Bb4 A4 G4 F4"),
    "bach_prelude_c": ("RIGHT", 1, "G4 C5 E5 G4 C5 E5 G4 C5 E5 G4 C5 E5 A4 D5 F5"),
    "beethoven_fuer_elise": ("RIGHT", 1, "E5 D#5 E5 D#5 E5 B4 D5 C5 A4 C4 E4 A4 B4 E4 G#4 B4 C5"),
    "jingle_bells": ("MELODY", 17, "C#5 C#5 C#5 C#5 C#5 C#5 C#5 E5 A4 B4 C#5 D5 D5 D5 D5 D5 C#5"),
    "joplin_entertainer": (
        "RIGHT", 1, "D6 E6 C6 A5 B5 G5 D5 E5 C5 A4 B4 G4 D4 E4 C4 A3 B3 A3 Ab3 G3"),
    "korobeiniki": ("MELODY", 1, "F#5 C#5 D5 E5 D5 C#5 B4 B4 D5 F#5 E5 D5 C#5 D5 E5 F#5 D5 B4 B4"),
    "ode_to_joy": ("MELODY", 1, "F#5 F#5 G5 A5 A5 G5 F#5 E5 D5 D5 E5 F#5 F#5 E5 E5"),
    "pachelbel_canon": (
        "VIOLIN1", 3, "F#5 E5 D5 C#5 B4 A4 B4 C#5 D5 C#5 B4 A4 G4 F#4 G4 E4 D4 F#4 A4"),
    "petzold_minuet_g": ("RIGHT", 1, "D5 G4 A4 B4 C5 D5 G4 G4 E5 C5 D5 E5 F#5 G5 G4 G4"),
    "petzold_minuet_g_minor": ("RIGHT", 1, "Bb5 A5 G5 A5 D5 D5 G5 G4 A4 Bb4 C5 D5 Eb5"),
    "satie_gymnopedie_1": ("MELODY", 5, "F#5 A5 G5 F#5 C#5 B4 C#5 D5 A4 F#4"),
    "when_the_saints": ("MELODY", 4, "F4 A4 Bb4 C5 F4 A4 Bb4 C5 F4 A4 Bb4 C5 A4 F4 A4 G4"),
}
# fmt: on


def pitches(names: str) -> list[int]:
    """MIDI numbers by another way than build.py's: C4 = 60 and the circle of fifths."""
    fifths = "FCGDAEB"

    def number(name: str) -> int:
        octave = int(name[-1]) - 4
        natural = 7 * (fifths.index(name[0]) - 1) % 12
        return 60 + 12 * octave + natural + name.count("#") - name.count("b")

    return [number(name) for name in names.split()]


def line(name: str, part: str) -> np.ndarray:
    song = MADE[name]
    return song.notes[song.notes["part"] == song.parts.index(part)]


def test_enough_songs_of_every_kind():
    long_with_chords = [n for n in LABELLED if len(MADE[n].bars) > 32 and len(MADE[n].parts) >= 2]
    pop = [
        n
        for n in long_with_chords
        if SCORES[n].header["meter"] == "4/4" and MADE[n].parts == ("MELODY", "PIANO")
    ]
    meters = [score.header["meter"] for score in SCORES.values()]
    assert len(SCORES) >= 14
    assert len(long_with_chords) >= 5
    assert len(pop) >= 4
    assert len({score.header["key"] for score in SCORES.values()}) >= 8
    assert meters.count("3/4") >= 2
    assert len(meters) - meters.count("3/4") - meters.count("4/4") <= 2


@each_song
def test_the_midi_file_is_what_its_text_builds(name):
    assert (SONGS / f"{name}.mid").read_bytes() == build.midi_bytes(SONGS / f"{name}.txt")


@each_song
def test_reading_gives_the_notes_back(name):
    made, read = MADE[name], read_midi(SONGS / f"{name}.mid")
    np.testing.assert_array_equal(read.notes, made.notes)
    assert (read.chords, read.bars, read.parts) == (made.chords, made.bars, made.parts)
    report = read.report
    assert (report.phase, report.quantisation_error, report.kept) == (0, 0, len(made.notes))
    assert (report.merged, report.shortened, report.dropped, report.remarks) == (0, 0, 0, ())
    assert read.source_tempo == pytest.approx(float(SCORES[name].header["tempo"]), rel=1e-4)


@each_song
def test_bars_are_whole_and_none_is_empty(name):
    song, (bar, _) = MADE[name], SCORES[name].meter
    assert set(np.diff(song.bars)) == {bar}
    assert song.bars[0] == 0
    assert song.bars[-2] < song.end <= song.bars[-1]
    sounding = np.zeros(song.bars[-1], bool)
    for onset, duration, *_ in song.notes.tolist():
        sounding[onset : onset + duration] = True
    assert sounding.reshape(-1, bar).any(axis=1).all()


@each_song
def test_velocities_differ_and_the_upper_part_leads(name):
    song = MADE[name]
    assert len(set(song.notes["velocity"].tolist())) >= 5
    assert song.notes["velocity"].min() >= 30
    upper, lower = line(name, song.parts[0])["velocity"], line(name, song.parts[-1])["velocity"]
    assert upper.mean() > lower.mean()


@pytest.mark.parametrize("name", [n for n, s in SCORES.items() if "pickup" in s.header])
def test_the_upbeat_stands_at_the_end_of_the_first_bar(name):
    bar, _ = SCORES[name].meter
    assert MADE[name].notes["onset"].min() == bar - int(SCORES[name].header["pickup"].split()[0])


@pytest.mark.parametrize("name", INCIPITS)
def test_incipits(name):
    part, first, names = INCIPITS[name]
    notes = line(name, part)
    notes = notes[notes["onset"] >= MADE[name].bars[first - 1]]
    assert notes["pitch"][: len(names.split())].tolist() == pitches(names)


def test_every_song_has_its_incipit_or_a_law():
    assert set(INCIPITS) | {"chopin_prelude_7"} == set(SCORES)


def test_prelude_in_c_begins_as_everyone_knows():
    notes = MADE["bach_prelude_c"].notes
    assert notes["pitch"][:8].tolist() == pitches("C4 E4 G4 C5 E5 G4 C5 E5")
    assert notes["onset"][:8].tolist() == list(range(8))
    assert len(MADE["bach_prelude_c"].bars) - 1 == 35
    assert len(notes) == 32 * 16 + 2 * 16 + 5
    assert notes["pitch"][-5:].tolist() == pitches("C2 C3 E4 G4 C5")


def test_chopin_prelude_begins_with_its_melody():
    notes = line("chopin_prelude_7", "RIGHT")
    top = [
        int(notes["pitch"][notes["onset"] == onset].max()) for onset in np.unique(notes["onset"])
    ]
    assert top[:14] == pitches("E4 C#5 D5 B4 B4 B4 F#5 D#5 E5 A5 A5 A5 C#5 A#4")


def test_the_canon_is_a_canon():
    lead = line("pachelbel_canon", "VIOLIN1")
    for part, bars in (("VIOLIN2", 2), ("VIOLIN3", 4)):
        answer = line("pachelbel_canon", part)
        answer = answer[answer["onset"] < 18 * 16]
        for key, shift in (("onset", 16 * bars), ("duration", 0), ("pitch", 0)):
            np.testing.assert_array_equal(answer[key], lead[key][: len(answer)] + shift)
    bass = line("pachelbel_canon", "BASS")["pitch"]
    assert bass.tolist() == pitches("D3 A2 B2 F#2 G2 D2 G2 A2") * 9 + pitches("D3")


def test_invention_8_answers_in_canon_at_the_octave():
    bar, lead, answer = 12, line("bach_invention_8", "RIGHT"), line("bach_invention_8", "LEFT")
    lead = lead[lead["onset"] < 6 * bar]
    answer = answer[answer["onset"] < 7 * bar]
    np.testing.assert_array_equal(answer["onset"], lead["onset"] + bar)
    np.testing.assert_array_equal(answer["pitch"], lead["pitch"] - 12)


def test_gymnopedie_plays_its_first_31_bars_twice():
    notes, bar = MADE["satie_gymnopedie_1"].notes, 12
    first = notes[notes["onset"] < 31 * bar]
    again = notes[(notes["onset"] >= 39 * bar) & (notes["onset"] < 70 * bar)]
    np.testing.assert_array_equal(again["pitch"], first["pitch"])
    np.testing.assert_array_equal(again["onset"], first["onset"] + 39 * bar)


@pytest.mark.parametrize("name", LABELLED)
def test_chord_labels_are_harte_syntax_and_cover_the_song(name):
    song = MADE[name]
    for chord in song.chords:
        mir_eval.chord.validate_chord_label(chord.label)
        assert chord_tones(chord.label)[0] >= 0 or chord.label == "N"
    starts, ends = np.array([(c.onset, c.onset + c.duration) for c in song.chords]).T
    assert starts[0] == 0
    assert ends[-1] == song.bars[-1]
    np.testing.assert_array_equal(starts[1:], ends[:-1])


def chord_tone_share(name: str, semitones: int = 0) -> float:
    """Share of the notes struck on strong beats that belong to their chord.

    The labels are moved by `semitones`.
    """
    song, (bar, _) = MADE[name], SCORES[name].meter
    hits = []
    for onset, duration, label in song.chords:
        tones = chord_tones(transpose_chord(label, semitones))[1].copy()
        # A bass note that the label names is one of its notes: "E:min/b7" has a D.
        root, _, bass = mir_eval.chord.encode(label)
        if root >= 0:
            tones[(root + bass + semitones) % 12] = True
        here = song.notes[(song.notes["onset"] >= onset) & (song.notes["onset"] < onset + duration)]
        strong = here["onset"] % (8 if bar == 16 else bar) == 0
        if label != "N":
            hits += tones[here["pitch"][strong] % 12].tolist()
    return float(np.mean(hits))


@pytest.mark.parametrize("name", LABELLED)
def test_notes_on_strong_beats_belong_to_their_chord(name):
    """Nine of ten notes agree, but for Chopin's prelude.

    It strikes a suspension on nearly every downbeat.
    """
    assert chord_tone_share(name) >= (0.7 if name == "chopin_prelude_7" else 0.9)
    assert chord_tone_share(name, semitones=1) <= 0.4


FIELDS_OF_README = ("title", "composer", "year", "key", "meter")


def test_readme_lists_every_song_as_it_is():
    text = (SONGS / "README.md").read_text(encoding="utf-8")
    lines = text.split("| chords |\n")[1].split("\n\n")[0].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    songs = {cells[0].strip("`"): cells[1:] for cells in table}
    assert set(songs) == set(SCORES)
    for name, score in SCORES.items():
        *header, bars, parts, chords = songs[name]
        assert header == [score.header[field] for field in FIELDS_OF_README]
        assert bars == str(len(MADE[name].bars) - 1)
        assert parts == ", ".join(score.parts)
        assert chords == ("yes" if MADE[name].chords else "no")


def test_readme_example_builds(tmp_path):
    text = (SONGS / "README.md").read_text(encoding="utf-8")
    example = text[text.index("title: A little tune") :]
    rows = example[: example.index("```")].splitlines()
    lines = [row.split("    ")[0] for row in rows]  # no comments
    path = tmp_path / "tune.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    song = build.make_song(build.read_score(path))
    melody = song.notes[song.notes["part"] == 0]
    assert melody["pitch"].tolist() == pitches("C5 E5 G5 A5 G5 G5 C5 E5")
    assert melody["duration"].tolist() == [4, 4, 8, 6, 2, 24, 8, 8]
    assert [c.label for c in song.chords] == ["C:maj", "F:maj", "C:maj", "G:7"]


HEADER = "".join(
    f"{field}: x\n" for field in ("title", "composer", "year", "key", "source", "remarks")
)


@pytest.mark.parametrize(
    ("bars", "complaint"),
    [
        ("MELODY: C5:8 C5:7", "bar 1 holds 15 sixteenths"),
        ("MELODY: C5:16 | D5:16", "2 bars in the block of bars 1-1"),
        ("MELODY: H5:16", "not understood"),
        ("MELODY: C5 C5:8 C5:8", "first note needs a length"),
        ("MELODY: C5:8~ D5:8", "tie leads to other pitches"),
        ("MELODY: C5:16~", "tied to nothing"),
        ("MELODY: C5:16\nMELODY.2: r:8 C5:8", "while it still sounds"),
        ("MELODY: (fff) C5:16", "'fff' is none of"),
        ("MELODY: roll(C3 E3)", "'roll' is not defined"),
        ("MELODY: two(C3)", "the pattern has 2"),
        ("MELODY: =3", "not written yet"),
        ("DRUMS: C3:16", "'DRUMS' is no part"),
        ("MELODY: C5:16\nchords: C:major", "no chord"),
        ("MELODY: C5:16\nchords: C:maj*8 G:7*4", "holds 12 sixteenths"),
    ],
)
def test_a_wrong_text_is_refused(tmp_path, bars, complaint):
    path = tmp_path / "wrong.txt"
    path.write_text(
        f"{HEADER}meter: 4/4\ntempo: 100\nparts: MELODY\npattern two: a:8 b\nbars 1-1\n{bars}\n"
    )
    with pytest.raises(build.PomkitError, match="(?s)" + complaint.replace("(", r"\(")):
        build.make_song(build.read_score(path))


def test_check_finds_a_stale_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "HERE", tmp_path)
    path = tmp_path / "tune.txt"
    path.write_text(f"{HEADER}meter: 4/4\ntempo: 100\nparts: MELODY\nbars 1-1\nMELODY: C5:16\n")
    assert build.main(["--check"]) == 1
    assert not path.with_suffix(".mid").exists()
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    path.write_text(path.read_text().replace("C5:16", "C5:8 D5"))
    assert build.main(["--check"]) == 1
    assert "tune.mid" in capsys.readouterr().out

"""A song's changes in its own file: what changes, where it comes to stand, what stays."""

import gzip
from dataclasses import replace

import bad_files
import fuzz_midi
import midi_files as m
import mido
import numpy as np
import pytest
from splice_laws import alter, breaches, found
from test_midi import ZOO

from pomkit import MidiError, OptionError, Song, masks, parse, read_midi, render
from pomkit.music.changes import with_region
from pomkit.music.splice import splice

LATE = 30  # ticks that PLAYED lies behind the grid
# A player who is late, with notes that end anywhere. A step has 120 ticks.
PLAYED = m.midi(
    m.track(m.tempo(0, 90), m.meter(0, 6, 8)),
    m.track(
        m.name("Violin"), m.program(0, 40),
        m.note(LATE, 955, 72), m.note(960 + LATE, 1433, 74), m.note(1440 + LATE, 1917, 72),
    ),
    m.track(m.name("Bass"), m.program(0, 32, 1), m.note(LATE, 1900, 40, channel=1)),
)  # fmt: skip


def readable(data, **options):
    """The song, or None where the file cannot be read."""
    try:
        return read_midi(data, **options)
    except MidiError:
        return None


def is_read_by_mido(data):
    try:
        return bool(m.messages(data))
    except Exception:
        return False


def file_of(*events, **options):
    return m.midi(m.track(*events), **options)


def spliced(data, *rows, drop=(), **options):
    """The file with `rows` for notes besides its own, less those with the numbers `drop`."""
    song = read_midi(data, **options)
    kept = [row for i, row in enumerate(song.notes.tolist()) if i not in drop]
    return splice(song.with_notes([*kept, *rows]))


def notes(data):
    """(start, end, pitch, channel) of all notes, in ticks, by track."""
    return [(n.start, n.end, n.pitch, n.channel) for n in m.walk(data)]


# -------------------------------------------------------------------------- what is not changed
@pytest.mark.parametrize("name", ZOO)
def test_an_unchanged_song_gives_its_source(name):
    for options in ({}, {"drums": True, "pedal": True, "steps_per_beat": 24}):
        song = read_midi(ZOO[name], **options)
        assert splice(song) == (ZOO[name], ())
        assert splice(song.with_notes(song.notes)) == (ZOO[name], ())


def test_an_unchanged_song_gives_the_source_of_every_file_that_can_be_read(tmp_path):
    for name in bad_files.FILES.keys() - bad_files.PATHS.keys():
        data = bad_files.make(name, tmp_path, 0.01).read_bytes()
        song = readable(data)
        assert song is None or splice(song).data == song.source


@pytest.mark.parametrize("wrap", [gzip.compress, m.riff])
def test_the_source_is_the_file_without_its_wrapping(wrap):
    assert splice(read_midi(wrap(PLAYED))).data == PLAYED


# --------------------------------------------------------------------------------- changed songs
@pytest.mark.parametrize("name", ZOO)
def test_what_changes_is_read_again_and_nothing_else_changes(name):
    for seed, options in enumerate(({}, {"drums": True, "steps_per_beat": 3}, {"pedal": True})):
        song = read_midi(ZOO[name], **options)
        changed = alter(song, seed)
        assert breaches(song, changed) == ""
        assert splice(changed) == splice(alter(song, seed))


def test_the_same_of_damaged_files_that_can_be_read_and_of_the_fuzzers():
    songs = [readable(data) for data in map(fuzz_midi.mutated, range(60))]
    songs += [readable(data, pedal=True) for data in fuzz_midi.seeds()[-9:]]
    for seed, song in enumerate(filter(None, songs)):
        reads = is_read_by_mido(song.source)
        assert breaches(song, alter(song, seed), mido_reads=reads) == ""


def test_the_same_of_pop909(corpus_archive):
    import tarfile

    with tarfile.open(corpus_archive) as archive:
        members = [each for each in archive if each.name.endswith(".mid")][:4]
        files = [archive.extractfile(each).read() for each in members]
    for seed, data in enumerate(files):
        song = read_midi(data)
        assert breaches(song, alter(song, seed, 0.05)) == ""


# --------------------------------------------------------------------------- the rules, one by one
def test_a_new_note_lies_as_the_file_lies_in_the_track_and_channel_of_its_part():
    song = read_midi(PLAYED)
    assert song.report.phase == pytest.approx(LATE / 120)
    data, remarks = spliced(PLAYED, (4, 3, 50, 99, 1))
    assert remarks == ()
    new = set(notes(data)) - set(notes(PLAYED))
    assert new == {(4 * 120 + LATE, 7 * 120 + LATE, 50, 1)}
    (note,) = [n for n in m.walk(data) if n.pitch == 50]
    assert (note.track, note.channel, note.program, note.velocity) == (2, 1, 32, 99)


def test_a_removed_note_loses_its_pair_and_all_others_keep_their_ticks():
    data, remarks = spliced(PLAYED, drop=[1])
    before = found(PLAYED)
    after = found(data)
    assert remarks == ()
    gone = before.notes - after.notes
    assert sorted(gone) == [(1, LATE, (0x90, 72, 80)), (1, 955, (0x90, 72, 0))]
    assert after.notes < before.notes
    assert after.others == before.others


def test_a_new_note_ends_at_the_tick_of_the_one_whose_end_it_takes_over():
    """Rule 2: its onset lies in the mask, and the picture holds the old tail."""
    data, _ = spliced(PLAYED, (3, 5, 72, 70, 0), drop=[1])
    assert (3 * 120 + LATE, 955, 72, 0) in notes(data)
    # A note that ends elsewhere ends on the grid.
    data, _ = spliced(PLAYED, (3, 4, 72, 70, 0), drop=[1])
    assert (3 * 120 + LATE, 7 * 120 + LATE, 72, 0) in notes(data)


def test_a_note_that_is_cut_keeps_its_start_and_ends_on_the_grid():
    """Rule 3: it begins before the mask, where the picture is silent."""
    data, _ = spliced(PLAYED, (0, 5, 72, 80, 0), drop=[1])
    changed = set(notes(data)) ^ set(notes(PLAYED))
    assert changed == {(LATE, 955, 72, 0), (LATE, 5 * 120 + LATE, 72, 0)}
    # What follows may take over its old end.
    data, _ = spliced(PLAYED, (0, 2, 72, 80, 0), (4, 4, 72, 80, 0), drop=[1])
    mine = [note for note in notes(data) if note[2] == 72][:2]
    assert mine == [(LATE, 2 * 120 + LATE, 72, 0), (4 * 120 + LATE, 955, 72, 0)]


def test_a_note_whose_velocity_alone_changes_keeps_its_ticks():
    data, _ = spliced(PLAYED, (0, 8, 72, 33, 0), drop=[1])
    assert notes(data) == notes(PLAYED)
    assert [n.velocity for n in m.walk(data)] == [33, 80, 80, 80]


def test_of_two_parts_on_one_pitch_each_keeps_its_own_note():
    """Rule 4: the picture shows them as one."""
    two = m.midi(
        m.track(m.note(0, 470, 60)),
        m.track(m.note(0, 955, 60, channel=1), m.note(1440, 1500, 62)),
    )
    song = read_midi(two)
    mask = masks.box(song, (60, 60), (6, 8))
    silent = render(song).copy()
    silent[mask] = 0
    changed, _ = with_region(song, mask, silent)
    assert notes(splice(changed).data) == [(0, 470, 60, 0), (0, 720, 60, 1), (1440, 1500, 62, 0)]


@pytest.mark.parametrize("channel", [0, 1])
def test_no_channel_sounds_a_pitch_twice_at_once(channel):
    """Rule 7, for a channel that two tracks share, and for two channels."""
    two = m.midi(m.track(m.note(0, 480, 60)), m.track(m.note(960, 1440, 60, channel=channel)))
    data, remarks = spliced(two, (2, 2, 60, 70, 1), (6, 4, 60, 70, 0))
    new = set(notes(data)) - set(notes(two))
    if channel == 0:
        assert new == {(720, 960, 60, 0)}
        assert [remark[-1] for remark in remarks] == ["1", "1"]
        assert "cut" in remarks[0] and "left out" in remarks[1]
    else:
        assert new == {(240, 480, 60, 1), (720, 1200, 60, 0)}
        assert remarks == ()


def test_at_one_tick_ends_stand_before_beginnings():
    """Rule 8."""
    one = file_of(m.note(0, 480, 60), m.note(480, 960, 60), m.note(1440, 1920, 60))
    data, _ = spliced(one, (8, 4, 60, 70, 0))
    assert notes(data) == [
        (0, 480, 60, 0),
        (480, 960, 60, 0),
        (960, 1440, 60, 0),
        (1440, 1920, 60, 0),
    ]


def test_controllers_bends_and_pedal_stay_and_those_that_act_on_new_notes_are_told():
    """Rule 8."""
    busy = file_of(
        m.pedal(240, 960), m.bend(1200, 0x3000), m.bend(1320), m.control(1440, 7, 0),
        m.control(1680, 7, 90), m.control(1680, 11, 0), m.note(0, 120, 40), m.note(1920, 2400, 40),
    )  # fmt: skip
    rows = [(3, 1, 60, 70, 0), (10, 1, 62, 70, 0), (12, 1, 64, 70, 0), (14, 1, 66, 70, 0)]
    data, remarks = spliced(busy, *rows)
    assert found(data).others == found(busy).others
    told = ["pedal", "bent", "volume is 0", "expression is 0"]
    assert [word in remark for word, remark in zip(told, remarks, strict=True)] == [True] * 4
    assert all(remark.endswith(": 1") for remark in remarks)
    # The pedal holds the first one when it is read so.
    held = read_midi(data, pedal=True).notes
    assert held["duration"][held["pitch"] == 60].tolist() == [5]


def test_what_the_picture_cannot_show_stays():
    """Rule 9: pitches of the border rows."""
    data = file_of(m.note(0, 475, 3), m.note(0, 475, 60), m.note(0, 475, 125))
    song = read_midi(data)
    everything = masks.everything(song.end)
    changed, _ = with_region(song, everything, np.zeros((128, song.end, 3), np.uint8))
    assert notes(splice(changed).data) == [(0, 475, 3, 0), (0, 475, 125, 0)]


@pytest.mark.parametrize("division", [480, m.smpte(25, 40), m.smpte(29, 80)])
@pytest.mark.parametrize("format", [0, 1, 2])
def test_format_and_division_stay(format, division):
    """Rule 10."""
    tracks = [m.track(m.note(0, 400, 60)), m.track(m.note(200, 900, 64, channel=3))]
    data = m.midi(*tracks[: 1 if format == 0 else 2], format=format, division=division)
    song = read_midi(data)
    changed = song.with_notes([*song.notes.tolist()[1:], (8, 4, 67, 70, len(song.parts) - 1)])
    result = splice(changed).data
    assert result[:14] == data[:14]
    assert breaches(song, changed) == ""


def test_patterns_of_format_2_share_no_channel():
    pattern = m.track(m.note(0, 480, 60))
    data = m.midi(pattern, m.track(m.note(480, 960, 60)), format=2)
    result, remarks = spliced(data, (0, 4, 60, 70, 1))
    assert remarks == ()
    assert notes(result) == [(0, 480, 60, 0), (0, 480, 60, 0), (480, 960, 60, 0)]


def test_ports_share_no_channel():
    def data(port):
        second = m.track(m.meta(0, 0x21, bytes([port])), m.note(480, 960, 60))
        return m.midi(m.track(m.note(0, 480, 60)), second)

    assert len(notes(spliced(data(0), (0, 4, 60, 70, 1)).data)) == 2
    assert len(notes(spliced(data(1), (0, 4, 60, 70, 1)).data)) == 3


# ------------------------------------------------------------------------------ kinds of files
def test_running_status_goes_on():
    events = [m.note(120 * i, 120 * i + 100, 60 + i % 20) for i in range(100)]
    data = m.midi(m.track(events, running=True))
    result, _ = spliced(data, drop=[99])
    assert len(result) < len(data)
    assert notes(result) == notes(data)[:-1]


def test_notes_that_overlap_on_one_pitch_are_read_in_the_order_of_their_starts():
    overlapping = file_of(m.on(0, 60), m.on(240, 60), m.off(720, 60), m.off(960, 60))
    assert notes(spliced(overlapping, drop=[0]).data) == [(240, 960, 60, 0)]
    assert notes(spliced(overlapping, drop=[1]).data) == [(0, 240, 60, 0)]
    # The second one ends earlier than the first did, which the second cuts.
    data, _ = spliced(overlapping, (2, 2, 60, 80, 0), drop=[1])
    assert read_midi(data).notes.tolist() == [(0, 2, 60, 80, 0), (2, 2, 60, 80, 0)]


def test_a_note_without_an_end_lasts_as_long_as_its_track_did():
    unended = file_of(m.note(0, 480, 60), m.on(240, 64))
    data, _ = spliced(unended, (8, 4, 67, 70, 0))
    assert sorted(notes(data)) == [(0, 480, 60, 0), (240, 480, 64, 0), (960, 1440, 67, 0)]


def test_a_pedal_that_is_never_released_holds_to_the_last_note_and_that_is_told():
    held = file_of(m.control(0, 64, 127), m.note(0, 120, 60), m.note(240, 480, 62))
    assert read_midi(held, pedal=True).notes["duration"].tolist() == [4, 2]
    data, remarks = spliced(held, (8, 4, 64, 70, 0), pedal=True)
    assert read_midi(data, pedal=True).notes["duration"].tolist() == [12, 10, 4]
    assert "holds otherwise than the song has them: 2" in remarks[-1]
    assert len(spliced(held, (8, 4, 64, 70, 0)).remarks) == 1


def test_a_note_without_length_takes_a_tick():
    data = file_of(m.note(0, 1, 60), m.note(4, 4, 62, channel=9), division=1)
    _, remarks = spliced(data, (50, 20, 62, 70, 1), drums=True, steps_per_beat=12)
    assert "left out" in remarks[0]


def test_a_track_without_an_end_gets_one_where_it_changes():
    data = m.midi(m.track(m.note(0, 480, 60), m.note(480, 960, 62), close=False))
    result, _ = spliced(data, drop=[1])
    assert notes(result) == [(0, 480, 60, 0)]
    assert result.endswith(b"\xff\x2f\x00")
    assert found(result).ends == [960]


def test_ends_without_a_note_stay_and_cut_what_is_new():
    stray = file_of(m.note(0, 120, 60), m.off(480, 60), m.note(1920, 2040, 62))
    data, remarks = spliced(stray, (2, 6, 60, 70, 0))
    assert (240, 480, 60, 0) in notes(data)
    assert "are ended there: 1" in remarks[0]
    assert (0, 480, (0x80, 60, 64)) in found(data).notes


def test_controllers_that_end_notes_cut_what_is_new():
    lifted = file_of(m.note(0, 120, 60), m.control(480, 123, 0), m.note(1920, 2040, 62))
    data, remarks = spliced(lifted, (2, 6, 64, 70, 0))
    assert [n for n in notes(data) if n[2] == 64] == [(240, 480, 64, 0)]
    assert "are ended there: 1" in remarks[0]


def test_texts_chunks_of_other_kinds_and_bytes_after_the_end_stay():
    name = m.meta(0, 0x03, "主旋律".encode("shift_jis"))
    song = m.track(name, m.lyric(0, "la"), m.sysex(60), m.note(0, 480, 60), m.note(480, 960, 62))
    strange = m.chunk(b"XFIH", b"what is this\0")
    data = m.midi(song, claimed=2) + strange + m.track(m.note(0, 480, 40, channel=2)) + b"rest"
    result, _ = spliced(data, (12, 4, 41, 70, 1), drop=[2])
    assert strange in result
    assert result.endswith(b"rest")
    # mido reads no chunks of other kinds.
    before, after = (found(file.replace(strange, b"")) for file in (data, result))
    assert after.others == before.others
    assert [n.pitch for n in m.walk(result.replace(strange, b""))] == [60, 40, 41]


def test_a_delta_time_that_no_number_holds_is_divided():
    """Where notes go, their neighbours may come to stand very far apart."""
    far = 2**27
    data = m.midi(
        m.track(m.note(0, far, 60), m.text(2 * far, "near"), m.text(3 * far, "far")),
        m.track(m.note(0, 9, 64)),
        division=32767,
    )
    song = read_midi(data, steps_per_beat=1)
    result = splice(song.with_notes(song.notes[song.notes["pitch"] == 64])).data
    assert found(result).ends == [3 * far, 9]
    assert read_midi(result, steps_per_beat=1).notes["pitch"].tolist() == [64]


def test_a_part_that_changes_its_program_gets_notes_of_each():
    """Rule 6: a new note plays with the program that its channel has at that tick."""
    both = file_of(m.program(0, 5), m.note(0, 480, 60), m.program(960, 7), m.note(960, 1440, 62))
    data, remarks = spliced(both, (4, 2, 64, 70, 0), (14, 2, 65, 70, 1))
    assert {n.pitch: n.program for n in m.walk(data)} == {60: 5, 62: 7, 64: 5, 65: 7}
    assert remarks == ()
    data, remarks = spliced(both, (14, 2, 65, 70, 0))
    assert "another program" in remarks[0]


@pytest.mark.parametrize("format", [0, 1])
def test_a_part_that_comes_gets_a_track_and_a_free_channel(format):
    data = m.midi(m.track(m.note(0, 480, 60), m.note(0, 480, 64, channel=1)), format=format)
    song = read_midi(data)
    rows = [*song.notes.tolist(), (2, 2, 60, 70, 2)]
    more = replace(
        song, notes=rows, parts=(*song.parts, "Flöte"), programs=(0, 0, 73), channels=(0, 1, 1)
    )
    result, remarks = splice(more)
    assert remarks == ()
    again = read_midi(result)
    assert again.notes.tolist() == more.notes.tolist()
    assert (again.programs, again.channels) == ((0, 0, 73), (0, 1, 2))
    assert len(mido.MidiFile(file=m.io.BytesIO(result)).tracks) == 1 + format
    assert again.parts[2] == "Flöte" or format == 0


def test_ticks_coarser_than_the_grid_are_told():
    data = file_of(m.note(0, 1, 60), m.note(2, 3, 62), division=1)
    _, remarks = spliced(data, (5, 2, 64, 70, 0))
    assert remarks == ("notes moved, since the ticks of the file are coarser than the grid: 1",)


# -------------------------------------------------------------------------------------- the tempo
@pytest.mark.parametrize("first", [0, 240])
def test_one_tempo_takes_the_place_of_all(first):
    head = m.track(m.name("head"), m.tempo(first, 90), m.tempo(960, 150), m.meter(0, 3, 4))
    data = m.midi(head, m.track(m.tempo(480, 60), m.note(0, 480, 60)))
    song = read_midi(data)
    result, remarks = splice(song, bpm=100)
    assert remarks == ()
    assert read_midi(result).tempi == ((0, pytest.approx(100)),)
    assert notes(result) == notes(data)
    assert len(tempi_of(result)) == 1
    assert found(result).others - tempi_of(result) == found(data).others - tempi_of(data)


def tempi_of(data):
    """The changes of tempo among the events of a file."""
    others = found(data).others
    return type(others)([event for event in others if event[2][:2] == (0xFF, 0x51)])


def test_every_pattern_has_the_tempo_and_smpte_has_none():
    pattern = m.track(m.tempo(0, 90), m.note(0, 480, 60))
    song = read_midi(m.midi(pattern, m.track(m.note(0, 480, 62)), format=2))
    assert len(tempi_of(splice(song, bpm=100).data)) == 2
    film = m.midi(m.track(m.note(0, 480, 60)), division=m.smpte(25, 40))
    result, remarks = splice(read_midi(film), bpm=100)
    assert result == film
    assert "SMPTE" in remarks[0]


# ------------------------------------------------------------------ damaged files, and other grids
LOUD = PLAYED.replace(bytes([0x91, 40, 80]), bytes([0x91, 40, 200]))


@pytest.mark.parametrize("damaged", [PLAYED[:-6], LOUD], ids=["cut", "velocity 200"])
def test_of_a_damaged_file_what_was_read_is_written_as_a_valid_one(damaged):
    song = read_midi(damaged, salvage=True)
    result, remarks = splice(song)
    assert len(remarks) == 1
    assert "damaged" in remarks[0]
    assert read_midi(result) == song
    assert len(mido.MidiFile(file=m.io.BytesIO(result)).tracks) == 3
    assert read_midi(splice(song, bpm=70).data).source_tempo == pytest.approx(70)


def test_two_files_are_read_on_one_grid():
    song = read_midi(PLAYED)
    on_grid = read_midi(PLAYED, phase=0)
    assert on_grid.report.phase == 0
    assert read_midi(PLAYED, phase=song.report.phase) == song
    assert breaches(on_grid, alter(on_grid, 1)) == ""
    data, _ = splice(on_grid.with_notes([*on_grid.notes.tolist(), (5, 1, 80, 70, 0)]))
    assert (600, 720, 80, 0) in notes(data)
    with pytest.raises(OptionError, match="phase is 0.7"):
        read_midi(PLAYED, phase=0.7)


def test_what_else_a_song_has_otherwise_than_its_file_is_told():
    song = read_midi(PLAYED)
    other = replace(song, tempi=((0, 70.0),), programs=(1, 2), chords=((0, 4, "C:maj"),))
    result, remarks = splice(other)
    assert result == PLAYED
    assert [remark.split()[0] for remark in remarks] == ["tempi", "programs", "chords"]
    assert [remark.split()[0] for remark in splice(other, bpm=80).remarks] == ["programs", "chords"]


# ------------------------------------------------------------------------------ as songs write it
def test_a_song_writes_its_own_file_unless_it_is_asked_for_a_plain_one(tmp_path):
    song = read_midi(PLAYED)
    changed = song.with_notes(song.notes[1:])
    for each in (song, changed):
        path = each.write_midi(tmp_path / "song.mid")
        assert path.read_bytes() == each.to_midi().data == splice(each).data
        plain = read_midi(each.write_midi(tmp_path / "plain.mid", plain=True))
        assert plain == each
        assert {start % 120 for start, *_ in notes(plain.source)} == {0}
    faster = song.write_midi(tmp_path / "song.mid", bpm=200)
    assert read_midi(faster).source_tempo == pytest.approx(200)
    assert notes(faster.read_bytes()) == notes(PLAYED)
    with pytest.raises(OptionError, match="bpm is 3"):
        song.to_midi(bpm=3)


def test_what_could_not_be_kept_is_told_by_to_midi():
    song = read_midi(PLAYED).with_chords()
    (remark,) = song.to_midi().remarks
    assert remark == "chords stay as the file has them; plain=True writes the song's"
    plain = song.to_midi(plain=True)
    assert plain.remarks == ()
    assert read_midi(plain.data).chords == song.chords


def test_a_song_without_a_file_is_written_plainly_and_not_spliced():
    for song in (Song([(0, 4, 60, 80, 0)]), parse(render(read_midi(PLAYED)))):
        assert song.to_midi() == song.to_midi(plain=True)
        with pytest.raises(OptionError, match="has no source"):
            splice(song)

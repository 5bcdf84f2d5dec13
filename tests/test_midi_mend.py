"""What is mended in damaged MIDI files: data above 127, lengths of tracks; and MacBinary."""

import gzip

import fuzz_midi
import midi_files as m
import pytest

from pomkit import MidiError, read_midi

# Events with a byte above 127 in the place of "?", by what they are.
LOUD = {
    "volume": b"\xb0\x07?",
    "velocity": b"\x90\x48?",
    "pitch": b"\x90?\x50",
    "release": b"\x80\x48?",
    "pitch of a note-off": b"\x80?\x40",
    "controller": b"\xb0?\x40",
    "bend": b"\xe0??",
    "aftertouch": b"\xa0\x48?",
    "program": b"\xc0?",
    "pressure": b"\xd0?",
}
VALUES = (128, 144, 176, 192, 200, 208, 240, 247, 255)
SCALE = [m.note(120 * i, 120 * i + 110, 60 + i % 24, 40 + i, release=None) for i in range(24)]
NOTES = len(SCALE)


def loud_file(kind, value, tick=1200, **options):
    """A file of two tracks; in the first one stands the event of this kind."""
    event = LOUD[kind].replace(b"?", bytes([value]))
    first = m.track(SCALE, (tick, event), **options)
    return m.midi(first, m.track(m.note(0, 480, 40)))


@pytest.mark.parametrize("kind", LOUD)
@pytest.mark.parametrize("tick", [0, 1200, 9999])
def test_data_above_127_are_read_as_127_as_players_do(kind, tick):
    """At the start, in the middle and at the end of a track; mido is the oracle."""
    told = kind in ("pitch", "pitch of a note-off", "controller", "program", "pressure")
    for value in VALUES:
        for running in (False, True)[: 1 + (not told)]:
            data = loud_file(kind, value, tick, running=running)
            song = m.exact(data, salvage=True)
            assert song.notes.tolist() == m.table(m.walk(data)).rows, (value, running)
            assert song.report.clipped == LOUD[kind].count(b"?")
            assert any("above 127 read as 127" in remark for remark in song.report.remarks)
            assert not any("damage" in remark for remark in song.report.remarks)


@pytest.mark.parametrize("kind", ["volume", "velocity", "pitch"])
def test_without_salvage_the_error_says_how_much_it_would_give(kind):
    data = loud_file(kind, 200)
    count = len(m.walk(data))
    with pytest.raises(MidiError, match=rf"take {count} notes with salvage=True .1 data byte"):
        read_midi(data)
    assert read_midi(data, salvage=True).report.kept == count


def test_an_error_says_how_much_salvage_gives_of_other_damage():
    broken = m.midi(m.track(m.note(0, 480), (480, b"\x90\x3c"), close=False))
    with pytest.raises(MidiError, match="take 1 note with salvage=True$"):
        read_midi(broken)
    nothing = m.midi(m.chunk(b"MTrk", b"\0\x3c\x50\0\xff\x2f\0"))
    with pytest.raises(MidiError, match="salvage=True finds no notes in it"):
        read_midi(nothing)


def test_many_bytes_above_127_in_several_tracks_are_counted():
    events = [m.on(40 * i, 60 + i % 12, 128 + i % 128) for i in range(300)]
    track = m.track(events, [m.off(40 * i + 30, 60 + i % 12) for i in range(300)])
    data = m.midi(track, m.track(SCALE), track)
    song = m.exact(data, salvage=True)
    assert song.notes.tolist() == m.table(m.walk(data)).rows
    assert song.report.clipped == 600
    assert "600 data bytes above 127 read as 127, the first at byte 25" in song.report.remarks


def test_a_byte_above_127_after_a_delta_time_is_a_status():
    """Running status, and a pitch of 200 meant: it is program 80 of channel 8, as mido says."""
    body = b"\0\x90\x3c\x50\x60\x3c\0\0\xc8\x50\0\x90\x40\x50\x60\x40\0\0\xff\x2f\0"
    data = m.midi(m.chunk(b"MTrk", body))
    assert m.exact(data).notes.tolist() == m.table(m.walk(data)).rows
    assert m.exact(data).report.clipped == 0


def test_where_a_byte_is_lost_or_added_no_byte_is_clipped():
    """The rest of the track could be read, but each event in another place."""
    whole = loud_file("velocity", 200)
    first = whole.index(b"\x48\xc8") + 2
    stop = whole.index(b"MTrk", 20)
    for at in range(first, stop - 1):
        for data in (whole[:at] + whole[at + 1 :], whole[:at] + b"\0" + whole[at:]):
            try:
                song = read_midi(data, salvage=True)
            except MidiError:
                continue
            assert song.report.clipped == 0, at
            assert song.report.remarks, at


def test_a_track_with_other_damage_keeps_what_came_before_it():
    event = (1200, b"\xb0\x07\xff")
    broken = m.track(SCALE, event, (2000, b"\x90\x3c\x50" + b"\xff" * 6))
    good = m.track(m.note(0, 480, 40), (240, b"\xb0\x07\xff"))
    song = m.exact(m.midi(broken, good), salvage=True)
    assert song.report.clipped == 1
    assert any("before the damage: track 1" in remark for remark in song.report.remarks)
    assert song.notes["onset"][song.notes["part"] == 0].max() == 1200
    assert (song.notes["pitch"] == 40).sum() == 1


# ------------------------------------------------------------------------------------------ lengths
TRACKS = [
    m.track(m.name("A"), SCALE),
    m.track(m.name("B"), m.note(0, 960, 40)),
    m.track(m.name("C"), m.note(960, 1920, 50)),
]


def with_length(track, length):
    return track[:4] + length.to_bytes(4, "big") + track[8:]


@pytest.mark.parametrize("length", [0, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("places", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_a_track_whose_length_was_never_filled_in_goes_on_to_the_next(length, places):
    whole = read_midi(m.midi(*TRACKS))
    for ending in (True, False):  # with the ends of tracks, and without
        tracks = [
            with_length(track if ending else track[:-4], length) if i in places else track
            for i, track in enumerate(TRACKS)
        ]
        data = m.midi(*tracks)
        song = read_midi(data, salvage=True)
        assert song == whole
        assert song.parts == whole.parts
        # Only the last track may say to be longer than the file: there is nothing to be lost.
        if length == 0 or places != (2,):
            assert any("its length is" in remark for remark in song.report.remarks)
            with pytest.raises(
                MidiError, match=r"its length is .* take 26 notes with salvage=True"
            ):
                read_midi(data)


def test_an_empty_track_and_junk_after_the_last_one_are_no_damage():
    empty = b"MTrk\0\0\0\0"
    assert read_midi(m.midi(empty, *TRACKS, empty)) == read_midi(m.midi(*TRACKS))
    assert read_midi(m.midi(*TRACKS, empty) + bytes(50)) == read_midi(m.midi(*TRACKS))


def test_a_length_of_0_and_data_above_127_together():
    data = loud_file("volume", 255)
    broken = data[:14] + with_length(data[14:], 0)
    assert read_midi(broken, salvage=True) == read_midi(data, salvage=True)
    assert read_midi(broken, salvage=True).report.clipped == 1


# ---------------------------------------------------------------------------------------- MacBinary
def macbinary(data, name=b"song.mid", length=None, rest=b""):
    """A file as old Macintosh systems send it: a head of 128 bytes, data, and perhaps more."""
    head = bytearray(128)
    head[1] = len(name)
    head[2 : 2 + len(name)] = name
    head[65:73] = b"MidiTVOD"
    head[83:87] = (len(data) if length is None else length).to_bytes(4, "big")
    return bytes(head) + data + rest


@pytest.mark.parametrize("length", [None, 0, 2**32 - 1])
def test_macbinary_is_read(length):
    data = m.midi(*TRACKS)
    song = read_midi(data)
    for wrapped in (macbinary(data, length=length), macbinary(m.riff(data), b"x" * 63)):
        assert read_midi(wrapped) == song
        assert read_midi(gzip.compress(wrapped)) == song
        assert read_midi(wrapped).source == data
    assert read_midi(macbinary(data, rest=bytes(300))).report.remarks == ()


@pytest.mark.parametrize("head", [bytes(128), b"\0\x40" + bytes(126), b"\1\5" + bytes(126)])
def test_other_heads_are_refused(head):
    with pytest.raises(MidiError, match="MThd"):
        read_midi(head + m.midi(*TRACKS))


def test_mutated_small_files_give_a_song_or_a_midi_error():
    """A change of one byte at every place of a small file, salvaged or not."""
    events = [m.note(120 * i, 120 * i + 100, 60 + i) for i in range(4)]
    loud = (200, b"\xb0\x07\xff")
    for running in (False, True):
        data = m.midi(m.track(events, loud, running=running), m.track(m.note(0, 480, 40)))
        for at in range(14, len(data)):
            for value in (0, 128, 200, 255):
                mutated = data[:at] + bytes([value]) + data[at + 1 :]
                for salvage in (False, True):
                    try:
                        song = read_midi(mutated, salvage=salvage)
                    except MidiError as fault:
                        assert fuzz_midi.bare_message(str(fault), ("bytes",)) == ""
                    else:
                        assert fuzz_midi.untruth(song) == ""

"""Bad files and sources that are no files: MidiError, or a Song with a truthful report."""

import io
import re

import bad_files
import fuzz_midi
import midi_files as m
import pytest
from test_midi import SCALE, ZOO, accounted, rows

from pomkit import MidiError, read_midi

# fmt: off
SMALL = m.midi(m.track(m.name("A"), m.tempo(0, 100), m.note(0, 480, 60), m.sysex(480),
    m.note(480, 960, 62, release=None), m.program(960, 5), m.note(960, 1440, 64), running=True),
    m.track(m.name("B"), m.note(240, 1200, 40), m.pedal(300, 500), m.note(1200, 1440, 43),
    m.marker(1440, "C:maj")))
# fmt: on


def test_a_file_cut_anywhere_is_refused_or_told_truly():
    whole = read_midi(SMALL)
    for size in range(len(SMALL)):
        try:
            song = read_midi(SMALL[:size])
        except MidiError as fault:
            assert fuzz_midi.bare_message(str(fault), ("bytes",)) == ""
        else:
            assert fuzz_midi.untruth(song) == ""
            assert fuzz_midi.unusual(song.report)
            assert accounted(song.report) <= accounted(whole.report)


def test_what_is_salvaged_grows_with_the_file():
    whole, before = read_midi(SMALL, salvage=True), set()
    assert whole == read_midi(SMALL)
    assert whole.report == read_midi(SMALL).report
    onsets = {(n["onset"].item(), n["pitch"].item(), n["part"].item()) for n in whole.notes}
    for size in range(len(SMALL)):
        try:
            song = read_midi(SMALL[:size], salvage=True)
        except MidiError:
            assert not before
            continue
        found = {(n["onset"].item(), n["pitch"].item(), n["part"].item()) for n in song.notes}
        assert before <= found <= onsets
        assert fuzz_midi.unusual(song.report)
        assert fuzz_midi.untruth(song) == ""
        before = found
    assert before == onsets


def test_salvage_tells_where_the_damage_is():
    damaged = m.midi(
        m.track(m.note(0, 480, 60), (480, b"\x90\x3c\x50" + b"\xff" * 5), m.note(960, 1440, 62)),
        m.track(m.note(0, 480, 50)),
    )
    with pytest.raises(MidiError, match="salvage"):
        read_midi(damaged)
    song = read_midi(damaged, salvage=True)
    assert (0, 4, 60, 80, 0) in rows(song)
    assert 62 not in song.notes["pitch"]
    assert any("damage" in remark for remark in song.report.remarks)


def test_of_several_damaged_tracks_the_first_is_named():
    """Damage in runs was told from the last track to the first."""
    head = m.header(4)
    good = m.track(m.note(0, 480, 60))
    # After 8 bytes of head each: data above 127 at byte 7 (and a byte after the end of the track:
    # so it is not mended), a program without number at byte 6.
    in_run = m.chunk(b"MTrk", b"\0\x90\x3c\x50\0\x90\x3c\xff\0\xff\x2f\0\0")
    in_walk = m.chunk(b"MTrk", b"\0\x90\x3c\x50\0\xc0")
    data = head + good + in_run + in_walk + in_run
    first = len(head + good)
    second = first + len(in_run)
    third = second + len(in_walk)
    told = [
        f"track 2, byte {first + 15}: a status byte where data should be",
        f"track 3, byte {second + 14}: an event without its data",
        f"track 4, byte {third + 15}: a status byte where data should be",
    ]
    with pytest.raises(MidiError) as fault:
        read_midi(data)
    assert told[0] in str(fault.value)
    remarks = read_midi(data, salvage=True).report.remarks
    damage = [r.partition("damage: ")[2] for r in remarks if "damage: " in r]
    assert damage == told


@pytest.mark.parametrize(
    ("tail", "back", "reason"),
    [
        (b"\0\xff\x01", 0, "a number without an end"),  # the length is not there
        (b"\0\xff\x01\x81", 1, "a number without an end"),  # half of the length
        (b"\0\xf0\x80\x80", 2, "a number without an end"),
        (b"\x81", 1, "a number without an end"),  # half of a delta time
        (b"\0\xff\x01\x01", 0, "an event without its data"),
    ],
)
def test_a_number_at_the_end_of_a_track_does_not_reach_into_the_next(tail, back, reason):
    """It was told of a byte of the next chunk; now of its own first byte, `back` from the end."""
    before = b"\0\x90\x3c\x50\x60\x80\x3c\x40\0\xc0\5"
    first = m.header(2) + m.chunk(b"MTrk", before + tail)
    data = first + m.track(m.note(0, 480, 50))
    fault = f"track 1, byte {len(first) - back}: {reason}"
    with pytest.raises(MidiError, match=re.escape(fault)):
        read_midi(data)
    song = read_midi(data, salvage=True)
    assert sorted(song.notes["pitch"].tolist()) == [50, 60]


@pytest.fixture(scope="module")
def child():
    with fuzz_midi.Child() as reader:
        yield reader


@pytest.mark.parametrize("name", [n for n in bad_files.FILES if bad_files.possible(n)])
def test_bad_files(name, child, tmp_path):
    """At a size that makes the test quick; `python tests/fuzz_midi.py --bad` makes them 10 MB."""
    path = bad_files.make(name, tmp_path, megabytes=0.3)
    for wanted in ({}, {"salvage": True, "pedal": True, "drums": True, "estimate": True}):
        answer = child.ask(path=str(path), **wanted)
        assert not answer["problem"], answer
        assert not bad_files.surprise(name, answer, **wanted), answer
    bad_files.remove(path)


@pytest.mark.parametrize(
    "name",
    ["zeros", "ones", "track of zeros", "note-ons", "notes, one a tick", "texts of no bytes"],
)
def test_large_bad_files(name, child, tmp_path):
    for megabytes in (7.9, 10):
        answer = child.ask(path=str(bad_files.make(name, tmp_path, megabytes)))
        assert not answer["problem"], answer
        assert not bad_files.surprise(name, answer), answer


def test_a_file_opened_as_text_and_one_that_is_closed(tmp_path):
    (tmp_path / "x.mid").write_bytes(m.midi(m.track(SCALE)) + b"\xff\xfe")
    with (
        (tmp_path / "x.mid").open(encoding="utf-8") as file,
        pytest.raises(MidiError, match="x.mid"),
    ):
        read_midi(file)
    with pytest.raises(MidiError):
        read_midi(io.StringIO("MThd"))
    with (tmp_path / "x.mid").open("rb") as file:
        pass
    with pytest.raises(MidiError, match="x.mid"):
        read_midi(file)


class Odd:
    """A file object that is not quite like a file on the disk."""

    name = "odd.mid"

    def __init__(self, data=b"", most=None, fault=None):
        self.file, self.most, self.fault = io.BytesIO(data), most, fault

    def read(self, size=-1):
        if self.fault:
            raise self.fault
        if self.most is None:  # without an end
            assert 0 <= size < 2**27, "all of an endless file was asked for"
            return b"M" * size
        return self.file.read(self.most if size < 0 else min(size, self.most))


def test_file_objects_that_are_endless_broken_or_give_little_at_a_time():
    for odd in (Odd(), Odd(fault=OSError("the network is gone"))):
        with pytest.raises(MidiError, match="odd.mid"):
            read_midi(odd)
    assert read_midi(Odd(ZOO["drums"], most=100)) == read_midi(ZOO["drums"])


@pytest.mark.parametrize("path", ["", "no\0where.mid", "x" * 5000, "missing/file.mid"])
def test_paths_that_cannot_be(path):
    with pytest.raises(MidiError, match=";"):
        read_midi(path)

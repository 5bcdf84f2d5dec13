"""The law parse(render(c)) == c, the paper's variants, and bad pictures."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from conftest import make_song
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pomkit import (
    Chord,
    OptionError,
    PictureError,
    PomkitError,
    Song,
    data,
    fold,
    from_binary,
    masks,
    parse,
    read_midi,
    render,
    to_binary,
    unfold,
)
from pomkit.music.binary import binary_losses, split_binary
from pomkit.music.harmony import estimate_chords
from pomkit.music.images import read_image
from pomkit.music.palette import paint_chords, palette, read_chords
from pomkit.music.pixels import (
    BORDER,
    PITCHES,
    belonging,
    draw_spans,
    notes_of_spans,
    pitch_of_row,
    read_spans,
    row_of_pitch,
)
from pomkit.music.tables import GRIDS, NOTE_DTYPE

NOTE = st.tuples(
    st.integers(0, 60),
    st.integers(1, 30),
    st.integers(0, 127),
    st.integers(1, 127),
    st.integers(0, 2),
)
CHORD = st.tuples(
    st.integers(0, 60), st.integers(1, 30), st.sampled_from(list(palette()) + ["C:9", "E:min/b3"])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(NOTE, max_size=40), st.lists(CHORD, max_size=6), st.integers(0, 12))
def test_parse_inverts_render(notes, chords, border):
    song = Song(np.array(notes, NOTE_DTYPE), tuple(Chord(*c) for c in chords)).canonical(
        border=border
    )
    again = parse(render(song, border=border), border=border)
    assert again == song
    assert again.report.dropped == 0


def test_parse_inverts_render_on_shipped_songs():
    for path in data.songs().values():
        song = read_midi(path)
        for parts in (None, *([i] for i in range(len(song.parts)))):
            c = song.canonical(parts)
            assert parse(render(song, parts=parts)) == c
            assert c.report.kept + c.report.merged + c.report.dropped == len(song.notes)


def test_parse_inverts_render_on_a_corpus(corpus_archive):
    songs = data.read_corpus(corpus_archive, progress=False).songs
    assert len(songs) == 879
    for song in songs[::9]:
        for parts in (None, [0], ["PIANO"]):
            c = song.canonical(parts)
            assert parse(render(c)) == c
            assert len(c.chords) > 10
            assert c.report.kept + c.report.merged + c.report.dropped == len(song.notes)


def test_a_note_is_red_then_green_at_twice_its_velocity():
    picture = render(Song(np.array([(2, 3, 60, 100, 0)], NOTE_DTYPE)), width=8)
    expected = np.zeros((128, 8, 3), np.uint8)
    expected[67, 2] = (200, 0, 0)
    expected[67, 3:5] = (0, 200, 0)
    assert np.array_equal(picture, expected)
    early = render(Song(np.array([(2, 3, 60, 100, 0)], NOTE_DTYPE)), width=8, onsets="early")
    assert early[67, 1].tolist() == [255, 0, 0]
    assert (early[67, 2:5] == (0, 200, 0)).all()


def test_windows_are_columns_of_the_whole_and_a_sounding_note_begins_anew(rng):
    song = make_song(rng).canonical()
    whole, part = render(song), render(song, 100, 64)
    same = (part == whole[:, 100:164]).all(axis=2)
    assert same[:, 1:].all()
    cut = ~same[:, 0]
    assert cut.any()
    assert (part[cut, 0, 0] > 0).all()
    assert (whole[cut, 100, 1] > 0).all()


def test_early_onsets_lose_little_and_count_nothing_new(rng):
    song = Song(
        np.array([(i * 5 + 1, 3, 40 + i, 64, 0) for i in range(20)], NOTE_DTYPE)
    ).canonical()
    # Where notes leave gaps, early onsets say as much.
    assert parse(render(song, onsets="early"), onsets="early") == song


def test_fold_is_invertible_and_as_in_the_paper(rng):
    picture = rng.integers(0, 256, (128, 512, 3), dtype=np.uint8)
    square = fold(picture)
    assert square.shape == (256, 256, 3)
    assert np.array_equal(square[:128], picture[:, :256])
    assert np.array_equal(square[128:, 0], picture[:, 511])
    assert np.array_equal(unfold(square), picture)


def test_black_and_white_keeps_what_one_bit_can(rng):
    song = Song(
        np.array(
            [(0, 4, 31, 80, 0), (8, 8, 94, 80, 0), (60, 9, 60, 80, 0), (3, 3, 30, 80, 0)],
            NOTE_DTYPE,
        )
    )
    image = to_binary(song)
    assert image.shape == (64, 64)
    assert set(np.unique(image)) == {0, 255}
    assert from_binary(image).notes[["onset", "duration", "pitch"]].tolist() == [
        (0, 4, 31),
        (8, 8, 94),
        (60, 4, 60),
    ]


def test_palette_is_invertible_and_never_looks_like_paint():
    colours = np.array([(0, 0, 0), *palette().values()], float)
    distance = np.linalg.norm(colours[:, None] - colours, axis=-1) + 1e9 * np.eye(len(colours))
    assert len(palette()) == 12 * 14 + 1
    assert distance.min() > 12
    song = Song(
        np.zeros(0, NOTE_DTYPE), tuple(Chord(i * 3, 3, label) for i, label in enumerate(palette()))
    )
    noisy = render(song).astype(int) + np.random.default_rng(0).integers(-5, 6, (128, song.end, 3))
    assert [
        c.label for c in parse(np.clip(noisy, 0, 255).astype(np.uint8), threshold=10).chords
    ] == list(palette())


def test_orphan_green_is_refused_and_counted():
    picture = np.zeros((128, 10, 3), np.uint8)
    picture[60, 4:7, 1] = 100
    song = parse(picture)
    assert len(song.notes) == 0
    assert song.report.dropped == 3


def test_estimated_chords_survive_the_picture():
    song = read_midi(next(iter(data.songs().values())))
    with_chords = Song(song.notes, estimate_chords(song.notes, song.end)).canonical()
    assert parse(render(with_chords)).chords == with_chords.chords != ()


def file_of(image, kind="PNG", **options):
    """The bytes of an image file."""
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def f1(song, other, *fields):
    """F1 of the notes' fields, 1 where both songs have the same notes."""
    a, b = ({tuple(row) for row in s.notes[list(fields)].tolist()} for s in (song, other))
    return 2 * len(a & b) / (len(a) + len(b))


@pytest.mark.parametrize("steps_per_beat", GRIDS)
def test_the_law_holds_at_every_grid(rng, steps_per_beat):
    song = Song(make_song(rng).notes, steps_per_beat=steps_per_beat).canonical()
    again = parse(render(song), steps_per_beat=steps_per_beat)
    assert again == song
    assert again.steps_per_beat == steps_per_beat == song.steps_per_beat
    back = from_binary(to_binary(song), steps_per_beat=steps_per_beat)
    assert back.steps_per_beat == steps_per_beat
    assert back.bar_lines()[1] == 4 * steps_per_beat


@settings(max_examples=100, deadline=None)
@given(
    st.lists(NOTE, max_size=30),
    st.lists(CHORD, max_size=6),
    st.integers(0, 70),
    st.integers(1, 80),
    st.sampled_from(["start", "early"]),
    st.integers(0, 12),
)
def test_a_window_is_what_the_plain_loop_draws(notes, chords, start, width, onsets, border):
    song = Song(np.array(notes, NOTE_DTYPE), tuple(Chord(*c) for c in chords)).canonical(
        border=border
    )
    plain = np.zeros((128, width + start + 200, 3), np.uint8)
    for onset, duration, pitch, velocity, _ in song.notes.tolist():
        plain[127 - pitch, onset : onset + duration, 1] = 2 * velocity
    for onset, duration, pitch, velocity, _ in song.notes.tolist():
        first = max(onset, start)
        if onset + duration > start and onsets == "start":
            plain[127 - pitch, first] = (2 * velocity, 0, 0)
        elif onset + duration > start and start < onset < start + width:
            plain[127 - pitch, onset - 1] = (255, 0, 0)
    for onset, duration, label in song.chords:
        plain[np.r_[:border, 128 - border : 128], onset : onset + duration] = palette()[label]
    assert np.array_equal(
        render(song, start, width, onsets=onsets, border=border), plain[:, start : start + width]
    )


def test_an_image_of_a_picture_is_the_picture(tmp_path, rng):
    """File, bytes, PIL image, array, palette, transparency, folded: all are read as the same song."""
    song = make_song(rng, end=256).canonical()
    song = Song(
        song.notes[song.notes["onset"] + song.notes["duration"] <= 256], song.chords
    ).canonical()
    picture = render(song, width=256 + 256)
    image = Image.fromarray(picture)
    image.save(tmp_path / "p.png")
    image.save(tmp_path / "p.bmp")
    clear = np.dstack([picture, np.where(picture.any(axis=2), 255, 0).astype(np.uint8)])
    few = Image.fromarray(
        np.where(picture > 0, 200, 0).astype(np.uint8) * (np.arange(3) < 2).astype(np.uint8)
    )
    for source in (
        tmp_path / "p.png",
        str(tmp_path / "p.bmp"),
        file_of(picture),
        io.BytesIO(file_of(picture)),
        image,
        picture,
        clear,
        Image.fromarray(clear),
        file_of(clear),
        fold(picture),
        file_of(fold(picture)),
    ):
        assert np.array_equal(read_image(source), picture)
        assert parse(source) == song
    assert np.array_equal(
        read_image(file_of(few.convert("P", palette=Image.Palette.ADAPTIVE))), np.asarray(few)
    )
    # Half transparent, on black.
    half = np.dstack([picture, np.full(picture.shape[:2], 128, np.uint8)])
    assert np.abs(read_image(half).astype(int) - picture / 2).max() <= 1


def test_runs_of_grey_are_notes():
    lit = np.zeros((128, 40), np.uint8)
    lit[60, 3:7] = 200
    lit[60, 9] = 100
    lit[70, 30:40] = 254
    lit[2, 5] = 255  # in the border
    expected = [(3, 4, 67, 100), (9, 1, 67, 50), (30, 10, 57, 127)]
    for source in (
        lit,
        lit[..., None],
        Image.fromarray(lit),
        file_of(lit),
        np.dstack([lit, np.full_like(lit, 255)]),
    ):
        song = parse(source)
        assert song.notes[["onset", "duration", "pitch", "velocity"]].tolist() == expected
        assert song.chords == ()
    one_bit = lit > 0
    for source in (
        one_bit,
        Image.fromarray(lit).convert("1", dither=0),
        file_of(Image.fromarray(one_bit)),
    ):
        assert {n["pitch"] for n in parse(source).notes} == {67, 57}


def test_paint_is_a_mask_and_no_note(rng):
    song = make_song(rng).canonical()
    picture = render(song)
    mask = masks.box(picture, (50, 70), (100, 140))
    kept = np.where(mask[..., None], 0, picture)
    for paint in ((255, 255, 255), (0, 0, 255)):
        painted = picture.copy()
        painted[mask] = paint
        again = parse(file_of(painted))
        assert again == parse(kept)
        assert np.array_equal(masks.from_image(read_image(painted)), mask)
        assert str(mask.sum()) in again.report.remarks[0]
        assert again.report.dropped == parse(kept).report.dropped


def test_other_colours_are_refused_and_counted():
    picture = np.zeros((128, 40, 3), np.uint8)
    picture[60, 4:7, 1] = 100
    picture[61, 3] = (80, 0, 0)
    picture[62, 5:9] = (0, 0, 90)
    picture[70:80, :, 0] = 60  # enough pure ink: this is no JPEG
    song = parse(picture)
    assert song.report.dropped == 3 + 4
    assert len(song.notes) == 1 + 400


@pytest.mark.parametrize(
    "quality, subsampling, least",
    [(95, 0, 0.999), (90, 0, 0.97), (85, 0, 0.93), (95, 2, 0.95), (85, 2, 0.85)],
)
def test_a_jpeg_comes_back_nearly_whole(quality, subsampling, least):
    songs = [read_midi(path).with_chords().canonical() for path in list(data.songs().values())[::4]]
    found = [
        parse(file_of(render(s), "JPEG", quality=quality, subsampling=subsampling)) for s in songs
    ]
    assert (
        np.mean([f1(s, other, "onset", "pitch") for s, other in zip(songs, found, strict=True)])
        >= least
    )


def test_noise_is_looked_for_only_at_threshold_zero(rng):
    picture = render(make_song(rng).canonical())
    jpeg = np.asarray(Image.open(io.BytesIO(file_of(picture, "JPEG", quality=95, subsampling=0))))
    assert f1(parse(jpeg), parse(picture), "onset", "pitch") > 0.8
    spans = read_spans(jpeg, threshold=60)
    assert len(parse(jpeg, threshold=60).notes) == spans.onset.sum()  # plain pixels
    assert read_image(picture) is picture


def test_sustain_belongs_to_the_onset_before_it(rng):
    state = rng.choice(3, size=(128, 50), p=(0.4, 0.2, 0.4))
    good, refused = belonging(state == 1, state == 2)
    for row, line in enumerate(state):
        alive = False
        for column, cell in enumerate(line):
            alive = cell == 1 or cell == 2 and alive
            assert good[row, column] == (cell == 2 and alive)
    assert refused == (state == 2).sum() - good.sum() > 0


@pytest.mark.parametrize("n", [1, 3])
def test_notes_are_the_runs_that_begin_with_an_onset(rng, n):
    """Of one picture and of many, against a plain loop; sustain without an onset is no note."""
    state = rng.choice(3, size=(n, 128, 30), p=(0.4, 0.2, 0.4))
    velocity = rng.integers(1, 128, state.shape, dtype=np.uint8)
    expected = []
    for clip, row, step in np.argwhere(state == 1).tolist():
        end = step + 1
        while end < 30 and state[clip, row, end] == 2:
            end += 1
        loud = int(velocity[clip, row, step])
        expected.append((step, end - step, 127 - row, loud, clip))
    assert notes_of_spans(state == 1, state == 2, velocity).tolist() == expected
    if n == 1:
        assert notes_of_spans(state[0] == 1, state[0] == 2, velocity[0]).tolist() == expected


def test_what_is_drawn_of_spans_is_read_as_they_were(rng):
    state = rng.choice(3, size=(128, 30), p=(0.4, 0.2, 0.4))
    sustain, _ = belonging(state == 1, state == 2)
    sustain[:BORDER] = sustain[-BORDER:] = False
    onset = state == 1
    onset[:BORDER] = onset[-BORDER:] = False
    velocity = rng.integers(1, 128, state.shape, dtype=np.uint8)
    spans = read_spans(draw_spans(onset, sustain, velocity))
    assert np.array_equal(spans.onset, onset)
    assert np.array_equal(spans.sustain, sustain)
    assert np.array_equal(spans.velocity[onset], velocity[onset])
    assert (spans.refused, spans.paint) == (0, 0)


def test_rows_and_pitches_tell_each_other():
    assert (row_of_pitch(127), row_of_pitch(0), pitch_of_row(67)) == (0, 127, 60)
    rows = np.arange(PITCHES)
    assert np.array_equal(row_of_pitch(pitch_of_row(rows)), rows)


def test_chords_of_the_palette_come_back_from_any_column():
    """Law: what is painted is read, from whatever step on."""
    chords = [Chord(4 * i, 4, label) for i, label in enumerate(palette())]
    for start in (0, 3, 50):
        picture = np.zeros((PITCHES, 4 * len(chords) - start, 3), np.uint8)
        paint_chords(picture, chords, start)
        found = {step: label for step, _, label in read_chords(picture)}
        assert found == {max(c.onset - start, 0): c.label for c in chords if c.onset + 4 > start}


def test_a_song_is_split_and_joined_and_its_losses_are_counted():
    for path in list(data.songs().values())[::3]:
        song = read_midi(path)
        images = split_binary(song)
        back = from_binary(images)
        lit = render(song.canonical(border=0), border=0).any(axis=2)[33:97]
        assert images.shape[1:] == (64, 64)
        assert np.array_equal(np.concatenate(list(images), axis=1)[:, : lit.shape[1]] > 0, lit)
        assert all(np.array_equal(image, to_binary(song, 64 * i)) for i, image in enumerate(images))
        loss = binary_losses(song)
        assert loss.kept == len(back.notes)
        assert loss.kept + loss.merged + loss.dropped == len(song.notes)
        assert len(split_binary(back)) <= len(images)
        assert from_binary(split_binary(back)) == back
    song = Song(
        np.array(
            [(62, 4, 60, 80, 0), (66, 2, 60, 99, 0), (0, 1, 20, 80, 0), (0, 3, 40, 80, 0)],
            NOTE_DTYPE,
        )
    )
    loss = binary_losses(song)
    assert (loss.kept, loss.merged, loss.dropped) == (2, 1, 1)
    assert "2 velocities" in loss.remarks[0]
    assert from_binary(split_binary(song)).notes[["onset", "duration", "pitch"]].tolist() == [
        (0, 3, 40),
        (62, 6, 60),
    ]


BAD = [
    np.zeros((64, 4, 3), np.uint8),
    np.full((128, 4, 3), np.nan),
    np.full((128, 4), -1.0),
    np.full((128, 4, 3), 2**16),
    np.zeros((128, 0, 3), np.uint8),
    "no picture",
    None,
    3,
    [[1]],
    np.zeros((128, 4, 5), np.uint8),
    np.zeros((128, 4, 3, 1), np.uint8),
    np.zeros(128, np.uint8),
    np.zeros((), bool),
    np.array([None]),
    np.array("x"),
    np.zeros((300, 200), bool),
    np.zeros((128, 4), complex),
    b"",
    b"no image",
    "a\0b",
    ".",
]


@pytest.mark.parametrize("picture", BAD, ids=lambda bad: repr(bad)[:40])
def test_bad_pictures(picture):
    for call in (parse, read_image):
        with pytest.raises(PictureError):
            call(picture)


def test_any_array_is_a_song_or_refused(rng):
    for dtype in (np.uint8, bool, np.int16, np.float32, np.complex64, object, "U3", "M8[s]"):
        for shape in (
            (128, 9, 3),
            (128, 9),
            (256, 9, 3),
            (128, 9, 4),
            (256, 9),
            (128, 1, 3),
            (128, 9, 2),
            (64, 64),
            (9,),
        ):
            array = rng.integers(0, 256, shape).astype(dtype)
            for call in (parse, from_binary, read_image):
                try:
                    call(array)
                except PomkitError as fault:
                    assert len(str(fault)) > 40


def test_bad_files_are_refused_before_they_take_memory(rng):
    whole = file_of(render(make_song(rng)))
    for cut in (9, 30, 60, len(whole) // 2, 3 * len(whole) // 4):
        with pytest.raises(PictureError):
            parse(whole[:cut])

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    for width, height in ((2**16, 2**16), (2**18, 128), (2**31 - 1, 128), (5000, 5000), (0, 0)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        bomb = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(bytes(10**6)))
            + chunk(b"IEND", b"")
        )
        with pytest.raises(PictureError):
            parse(bomb)
    for i in range(100):
        bad = bytearray(whole)
        for at in rng.integers(0, len(bad), 1 + i % 8):
            bad[at] = rng.integers(256)
        with contextlib.suppress(PictureError):
            parse(bytes(bad))


def test_bad_options():
    for velocity in (0, 128, 300):
        with pytest.raises(OptionError):
            from_binary(np.ones((64, 64), bool), velocity=velocity)
    song = Song(np.zeros(0, NOTE_DTYPE))
    for options in (
        {"onsets": "late"},
        {"width": 0},
        {"width": 2**21},
        {"start": -1},
        {"border": 99},
    ):
        with pytest.raises(OptionError):
            render(song, **options)
    with pytest.raises(PictureError, match="even"):
        fold(np.zeros((128, 5, 3), np.uint8))
    with pytest.raises(PictureError):
        unfold(np.zeros((128, 4, 3), np.uint8))

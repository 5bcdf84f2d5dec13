"""Sound: length, loudness and pitch, from FluidSynth and our own tones, and the fall-back between them."""

import io
import logging
import sys
import threading
import wave
from dataclasses import replace

import numpy as np
import pytest

from pomkit import OptionError, PictureError, Song, audio, render
from pomkit.audio import LISTEN_RATE, RELEASE, listen, sound_name, synthesize, write_wav
from pomkit.music.tables import GRIDS


def song(*notes):
    return Song(
        [(onset, duration, pitch, velocity, 0) for onset, duration, pitch, velocity in notes]
    )


def works(sound):
    try:
        return bool(sound_name(sound))
    except OptionError:
        return False


SOUNDS = [
    pytest.param(s, marks=pytest.mark.skipif(not works(s), reason=f"{s} does not play here"))
    for s in ("fluidsynth", "midirenderer", "tones")
]
A4 = song((0, 8, 69, 100))


@pytest.fixture
def fresh_choice():
    """Forget which sounds work, before and after."""
    audio._probe.cache_clear()
    yield
    audio._probe.cache_clear()


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize(("rate", "bpm"), [(44100, 120), (22050, 90)])
def test_shape_length_and_peak(sound, rate, bpm):
    music = song((0, 4, 60, 90), (4, 4, 64, 90), (30, 2, 67, 90))
    sounding = synthesize(music, rate, bpm, sound)
    assert sounding.dtype == np.float32
    assert sounding.shape == (round((32 * 60 / bpm / 4 + RELEASE) * rate), 2)
    assert 0.05 - 1e-6 <= np.abs(sounding).max() <= 1
    assert np.isfinite(sounding).all()


def loudest(sounding, low, high, rate=44100):
    """The loudest frequency between two, in Hz, to a few hundredths."""
    mono = sounding.mean(axis=1)
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono)), 2**21))
    steps = np.array([low, high]) * 2**21 / rate
    first, last = steps.astype(int)
    return (first + spectrum[first:last].argmax()) * rate / 2**21


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("rate", [44100, 48000])
def test_a4_is_440_hz(sound, rate):
    """Long enough to tell a tenth of a hertz; at the rate of the wheel, and at another one."""
    held = synthesize(song((0, 32, 69, 100)), rate, sound=sound)
    assert loudest(held[rate // 20 :], 420, 460, rate) == pytest.approx(440, abs=1)


DUET = Song(
    [(0, 16, 69, 100, 0), (16, 16, 69, 100, 0), (32, 16, 69, 100, 0), (16, 16, 45, 100, 1)],
    parts=("Violin", "Bass"),
    programs=(40, 32),
    tempi=((0, 90.0), (16, 60.0), (32, 180.0)),
)


@pytest.mark.parametrize("sound", SOUNDS)
def test_two_instruments_through_changes_of_tempo(sound):
    """Four beats at 90, four at 60, four at 180: the bass sounds from 2.67 to 6.67 seconds."""
    sounding = synthesize(DUET, sound=sound)
    begins = np.cumsum([0, 4 * 60 / 90, 4 * 60 / 60, 4 * 60 / 180])
    assert len(sounding) == round((begins[-1] + RELEASE) * 44100)
    assert 0.05 - 1e-6 <= np.abs(sounding).max() < 1

    # How much lies around 110 Hz in each of the three; what rings on is left out.
    low = []
    for begin, end in zip(begins + 0.4, begins[1:], strict=False):
        part = sounding[round(begin * 44100) : round(end * 44100)].mean(axis=1)
        power = np.abs(np.fft.rfft(part)) ** 2
        frequency = np.fft.rfftfreq(len(part), 1 / 44100)
        low.append(power[(frequency > 100) & (frequency < 120)].sum() / power.sum())
    assert low[1] > 10 * max(low[0], low[2])


@pytest.mark.parametrize("sound", SOUNDS)
def test_tempo_moves_onsets(sound):
    """A note four steps in begins after half a second at 120 BPM and a whole one at 60."""
    late = song((4, 4, 72, 100))
    for bpm, begins in ((120, 0.5), (60, 1.0)):
        loud = np.abs(synthesize(late, 22050, bpm, sound)).max(axis=1) > 0.01
        assert np.argmax(loud) / 22050 == pytest.approx(begins, abs=0.03)


@pytest.mark.parametrize("sound", SOUNDS)
def test_silence_where_nothing_sounds(sound):
    gap = synthesize(song((0, 2, 60, 100), (60, 2, 60, 100)), sound=sound)
    quiet, loud = gap[round(4 * 44100) : round(7 * 44100)], gap[: 44100 // 4]
    assert np.abs(quiet).max() < 0.02 * np.abs(loud).max()


@pytest.mark.parametrize("sound", SOUNDS)
def test_louder_velocity_is_louder(sound):
    power = [np.square(synthesize(song((0, 8, 64, v)), sound=sound)).mean() for v in (80, 100, 127)]
    assert power[0] < power[1] < power[2]


@pytest.mark.parametrize("sound", SOUNDS)
def test_many_loud_notes_do_not_clip(sound):
    wall = song(*[(0, 16, pitch, 127) for pitch in range(24, 104)])
    sounding = synthesize(wall, 22050, sound=sound)
    assert np.abs(sounding).max() == pytest.approx(0.95, abs=0.001)
    assert (np.abs(sounding) > 0.949).sum() < 20  # scaled, not cut off at the top


@pytest.mark.parametrize("sound", SOUNDS)
def test_a_restruck_note_sounds_again(sound):
    """Two quarters on one pitch, the second from where the first ends: both attacks are loud."""
    twice = np.abs(synthesize(song((0, 8, 60, 100), (8, 8, 60, 100)), 22050, sound=sound)).max(
        axis=1
    )
    assert twice[22050 : 22050 + 4000].max() > 0.7 * twice[:4000].max()


@pytest.mark.parametrize("sound", SOUNDS)
def test_sixteen_parts_are_all_pianos(sound):
    """No part may land on the drum channel: part 9 alone sounds as part 0 alone."""
    parts = [Song([(0, 8, 69, 100, part)]) for part in (0, 9, 15)]
    first, *others = [np.abs(np.fft.rfft(synthesize(p, 22050, sound=sound)[:, 0])) for p in parts]
    for other in others:
        assert np.abs(first - other).max() < 0.05 * first.max()


def on_grid(grid):
    """One tune, given in beats, as a Song of `grid` steps a beat."""
    tune = [(0, 1, 60), (0, 6, 48), (1, 1, 64), (2, 1, 64), (3, 3, 67), (7, 2, 72)]
    return Song(
        [(onset * grid, duration * grid, pitch, 90, 0) for onset, duration, pitch in tune],
        steps_per_beat=grid,
    )


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("bpm", [120, 97.3])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_tune_sounds_the_same_on_every_grid(grid, bpm, sound):
    heard = synthesize(on_grid(grid), 22050, bpm, sound)
    assert len(heard) == round((9 * 60 / bpm + RELEASE) * 22050)  # nine beats
    assert np.array_equal(heard, synthesize(on_grid(4), 22050, bpm, sound))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_picture_sounds_on_the_grid_that_is_named(grid):
    music = on_grid(grid)
    picture = render(music)
    heard = synthesize(picture, 8000, sound="tones", steps_per_beat=grid)
    assert np.array_equal(heard, synthesize(music.canonical(), 8000, sound="tones"))
    assert len(synthesize(picture, 8000, sound="tones")) == round(
        (9 * grid * 0.125 + RELEASE) * 8000
    )  # else 16ths


def test_triplets_stand_between_the_beats():
    """The second of three notes in a beat begins a third of a beat after it."""
    late = Song([(4, 2, 72, 100, 0)], steps_per_beat=3)
    assert np.flatnonzero(synthesize(late, 24000, sound="tones").any(axis=1))[0] == pytest.approx(
        4 / 3 * 12000, abs=2
    )


# Two beats at 60 BPM, then 180: a note each at steps 0, 8 and 20.
SLOW_THEN_FAST = replace(
    song((0, 2, 72, 100), (8, 2, 72, 100), (20, 2, 72, 100)), tempi=((0, 60.0), (8, 180.0))
)


@pytest.mark.parametrize("sound", SOUNDS)
def test_a_song_sounds_at_its_own_tempi(sound):
    sounding = synthesize(SLOW_THEN_FAST, 22050, sound=sound)
    assert len(sounding) == round((2 + 14 / 4 / 3 + RELEASE) * 22050)
    # The third note begins three beats at 180 BPM after the second: at 3 s.
    power = np.abs(sounding).max(axis=1)
    assert power[round(2.9 * 22050) : round(2.98 * 22050)].max() < 0.3 * power.max()
    assert power[3 * 22050 : round(3.1 * 22050)].max() > 0.5 * power.max()


@pytest.mark.parametrize("sound", SOUNDS)
def test_a_number_overrides_the_tempi(sound):
    plain = replace(SLOW_THEN_FAST, tempi=())
    assert np.array_equal(
        synthesize(SLOW_THEN_FAST, 8000, 97, sound), synthesize(plain, 8000, 97, sound)
    )


def test_before_its_first_tempo_a_song_runs_at_120():
    late = replace(song((0, 16, 60, 100)), tempi=((8, 60.0),))
    assert len(synthesize(late, 8000, sound="tones")) == round((1 + 2 + RELEASE) * 8000)


def test_a_picture_of_a_song_is_a_piano_at_120():
    band = replace(SLOW_THEN_FAST, programs=(40,))
    piano = replace(SLOW_THEN_FAST, tempi=())
    assert np.array_equal(synthesize(render(band), 8000), synthesize(render(piano), 8000))


def spectrum(music, sound):
    """The share of each frequency in a sound."""
    heard = np.abs(np.fft.rfft(synthesize(music, 22050, sound=sound)[:22050, 0]))
    return heard / heard.sum()


@pytest.mark.parametrize("sound", SOUNDS[:2])
def test_parts_sound_with_their_programs(sound):
    piano, violin = (spectrum(replace(A4, programs=(program,)), sound) for program in (0, 40))
    assert np.abs(piano - violin).sum() > 0.5


@pytest.mark.parametrize("sound", SOUNDS[:2])
def test_parts_that_share_a_channel_keep_their_programs(sound):
    """Part 15 has the channel of part 0, and plays before and after it."""
    notes = [(0, 4, 69, 100, 15), (16, 4, 69, 100, 0), (32, 4, 69, 100, 15)]
    programs = (0,) * 15 + (40,)
    mixed = synthesize(Song(notes, programs=programs), 8000, sound=sound)
    violin = synthesize(Song(notes[::2], programs=programs), 8000, sound=sound)
    piano = synthesize(Song(notes[1:2], programs=programs), 8000, sound=sound)
    last = slice(4 * 8000, 5 * 8000)
    assert correlation(mixed[last], violin[last]) > 0.95
    middle = slice(2 * 8000, 3 * 8000)
    assert correlation(mixed[middle], piano[middle]) > 0.95


def correlation(first, second):
    """How alike two sounds are, 1: but for their loudness."""
    return np.corrcoef(first[:, 0], second[:, 0])[0, 1]


@pytest.mark.parametrize("sound", SOUNDS)
def test_drums_sound_as_drums(sound):
    """A snare is bright: far more lies above 3 kHz than with the same low key on a piano."""
    key = song((0, 4, 38, 100))
    piano = spectrum(key, sound)
    drums = spectrum(Song(key.notes, parts=("drums",)), sound)
    assert drums[3000:].sum() > 3 * piano[3000:].sum()


@pytest.mark.skipif(not works("midirenderer"), reason="midirenderer does not play here")
def test_the_wheel_is_not_asked_for_more_than_memory_holds():
    with pytest.raises(OptionError, match="midirenderer"):
        synthesize(song((0, 4, 60, 80), (15_000, 4, 60, 80)), 8000, sound="midirenderer")


def test_tones_are_stereo_as_at_a_piano():
    low, high = (
        np.square(synthesize(song((0, 8, p, 100)), sound="tones")).mean(axis=0) for p in (36, 96)
    )
    assert low[0] > 2 * low[1]
    assert high[1] > 2 * high[0]


def test_the_same_song_sounds_the_same():
    assert np.array_equal(synthesize(A4, sound="tones"), synthesize(A4, sound="tones"))


def test_a_picture_sounds_as_its_song():
    assert np.array_equal(
        synthesize(render(A4), sound="tones"), synthesize(A4.canonical(), sound="tones")
    )


@pytest.mark.parametrize("music", [Song([]), np.zeros((128, 64, 3), np.uint8)])
def test_no_notes_are_a_short_silence(music):
    silence = synthesize(music, 8000)
    assert silence.shape == (round(RELEASE * 8000), 2)
    assert not silence.any()


@pytest.mark.skipif(not works("midirenderer"), reason="midirenderer does not play here")
def test_without_fluidsynth_the_wheel_plays_and_says_so(monkeypatch, fresh_choice):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    assert sound_name() == "midirenderer, TimGM6mb"
    assert np.array_equal(synthesize(A4), synthesize(A4, sound="midirenderer"))


def test_without_synthesisers_tones_play_and_say_so(monkeypatch, caplog, fresh_choice):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    with caplog.at_level(logging.WARNING, "pomkit"):
        sounding = synthesize(A4)
    assert np.abs(sounding).max() >= 0.05 - 1e-6
    assert sound_name() == "plain tones"
    assert "FluidSynth does not play here" in caplog.text
    assert "pip install pyfluidsynth" in caplog.text
    assert "pip install midirenderer" in caplog.text


@pytest.mark.parametrize("sound", ["fluidsynth", "midirenderer"])
def test_a_synthesiser_that_is_missing_is_refused(monkeypatch, fresh_choice, sound):
    monkeypatch.setitem(sys.modules, sound, None)
    with pytest.raises(OptionError, match=rf"pip install (py)?{sound}"):
        synthesize(A4, sound=sound)


def test_a_silent_font_is_passed_over(monkeypatch, fresh_choice, tmp_path):
    """Of two fonts the first one is silent, the second one plays."""
    monkeypatch.setattr(
        audio, "_fonts", lambda: iter([tmp_path / "mute.sf2", tmp_path / "good.sf2"])
    )
    monkeypatch.setattr(
        audio,
        "by_fluidsynth",
        lambda score, font: np.full((score.samples, 2), font.stem == "good"),
    )
    assert sound_name() == "FluidSynth, good"


def test_a_soundfont_of_ones_own(monkeypatch, tmp_path, fresh_choice):
    monkeypatch.setenv("POMKIT_SOUNDFONT", str(tmp_path / "missing.sf2"))
    with pytest.raises(OptionError, match=r"missing\.sf2"):
        synthesize(A4)
    damaged = tmp_path / "damaged.sf2"
    damaged.write_bytes(b"RIFF....sfbk")
    monkeypatch.setenv("POMKIT_SOUNDFONT", str(damaged))
    assert sound_name() == "plain tones"


@pytest.mark.skipif(not works("fluidsynth"), reason="FluidSynth does not play here")
def test_fluidsynth_names_the_soundfont_and_keeps_stderr_clean(capfd):
    synthesize(A4, sound="fluidsynth")
    assert sound_name("fluidsynth").startswith("FluidSynth, ")
    captured = capfd.readouterr()
    assert captured.err == ""


def test_threads_do_not_disturb_each_other():
    found = {}
    expected = synthesize(A4, 22050)

    def play(number):
        found[number] = synthesize(A4, 22050)

    threads = [threading.Thread(target=play, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(found[i], expected, atol=0.02) for i in range(4))


def test_listen_embeds_little_and_says_which_sound(capsys):
    import soundfile

    rng = np.random.default_rng(0)
    places = rng.integers((0, 40), (200, 90), (150, 2)).tolist()
    music = song(*[(onset, 4, pitch, 90) for onset, pitch in places])
    player = listen(music)
    seconds = len(synthesize(music, LISTEN_RATE)) / LISTEN_RATE
    assert len(player.data) <= 8000 * seconds
    html = player._repr_html_()
    assert "data:audio/mpeg;base64," in html
    assert len(html) <= 8000 * seconds
    assert sound_name() in capsys.readouterr().out
    heard, rate = soundfile.read(io.BytesIO(player.data))
    assert heard.ndim == 1
    assert len(heard) / rate == pytest.approx(seconds, abs=0.2)
    assert np.abs(heard).max() > 0.05


def test_listen_keeps_the_tempo_of_every_grid(capsys):
    for music, options in ((on_grid(12), {}), (render(on_grid(12)), {"steps_per_beat": 12})):
        listen(music, **options)
        assert capsys.readouterr().out.endswith(f"; {9 * 0.5 + RELEASE:.1f} s\n")


@pytest.mark.parametrize("channels", [0, 1, 2])
def test_write_wav(tmp_path, channels):
    shape = (800, channels) if channels else (800,)
    written = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    path = write_wav(tmp_path / "new" / "sound.wav", written, 8000)
    assert [f.name for f in path.parent.iterdir()] == ["sound.wav"]
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (
            max(channels, 1),
            2,
            8000,
        )
        read = np.frombuffer(file.readframes(800), "<i2").reshape(shape) / 32767
    assert np.abs(read - written).max() < 1 / 32767


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 2), int), np.zeros(()), np.full(4, np.nan), np.full(4, 2.0)]
)
def test_write_wav_refuses_what_is_no_sound(tmp_path, bad):
    with pytest.raises(OptionError):
        write_wav(tmp_path / "sound.wav", bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        dict(sample_rate=4000),
        dict(sample_rate=200_000),
        dict(bpm=0),
        dict(bpm=float("nan")),
        dict(sound="organ"),
    ],
)
def test_bad_options(options):
    with pytest.raises(OptionError):
        synthesize(A4, **options)


def test_bad_music():
    with pytest.raises(OptionError, match="steps_per_beat"):
        synthesize(render(A4), steps_per_beat=5)
    with pytest.raises(PictureError):
        synthesize(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(OptionError, match="minutes"):
        synthesize(song((0, 4, 60, 80), (100_000, 4, 60, 80)))

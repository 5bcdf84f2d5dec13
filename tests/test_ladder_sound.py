"""The laws of sound in the ladder: mel bank, Griffin-Lim, recordings, DiffRoll, spectrograms."""

import numpy as np
import pytest
import torch
from conftest import make_song, seeded

from pomkit import OptionError, Song, inpaint, load_model, masks, render, save_model
from pomkit.data.windows import Windows
from pomkit.ladder import recordings
from pomkit.ladder.diffroll import DiffRoll, with_gaps
from pomkit.ladder.recordings import open_recordings, record, take_of
from pomkit.ladder.sound import (
    COLUMN,
    FRAMES,
    HOP,
    MelScale,
    audio_of,
    bank_inverse,
    from_log,
    griffin_lim,
    istft,
    log_mel,
    magnitudes_of,
    mel_bank,
    mel_of,
    sound_of,
    spectral_convergence,
    spectral_flux,
    stft,
    to_log,
)
from pomkit.ladder.spectrogram import RINGING, SpectrogramDiffusion, audible, note_planes
from pomkit.ladder.system import HIDDEN, ONSET, window_cells
from pomkit.training import TrainOptions

# Plain tones need no library and no soundfont.
TONES = {"sound": "tones"}


def picture_of(*notes, width=64):
    return render(Song([(*note, 90, 0) for note in notes]), 0, width)


@pytest.fixture
def audio() -> torch.Tensor:
    """Two seconds of three notes, float32 (32000,)."""
    return torch.from_numpy(
        sound_of(picture_of((0, 8, 60), (4, 6, 67), (8, 8, 48), width=16), "tones")
    )


# Spectrograms


def test_the_mel_bank_is_that_of_an_independent_library():
    """Numbers of librosa 0.11.0: `filters.mel(sr=16000, n_fft=2048, htk=True, norm=None)`."""
    bank = mel_bank(MelScale(80, 30, 8000)).double()
    assert bank.shape == (80, 1025)
    rows = [2.938679, 3.031129, 4.010426, 10.02622, 33.040884]
    assert bank.sum(1)[[0, 1, 10, 40, 79]].tolist() == pytest.approx(rows, abs=1e-5)
    columns = [0.055119, 0.399616, 1.0, 1.0, 0.715296]
    assert bank.sum(0)[[4, 5, 100, 400, 1000]].tolist() == pytest.approx(columns, abs=1e-5)
    centres = (bank @ torch.arange(1025).double())[[0, 7, 30, 79]]
    assert centres.tolist() == pytest.approx([19.9337, 108.8624, 1118.0872, 32736.353], rel=1e-5)
    assert float(bank.square().sum()) == pytest.approx(667.818371, rel=1e-6)


def test_other_mel_banks_are_those_of_the_library_too():
    bank = mel_bank(MelScale(160, 30, 5000)).double()
    rows = [1.310381, 1.185279, 1.490194, 2.018014, 9.18793]
    assert bank.sum(1)[[0, 1, 10, 40, 159]].tolist() == pytest.approx(rows, abs=1e-5)
    assert float(bank.square().sum()) == pytest.approx(420.869506, rel=1e-6)


def test_a_spectrogram_is_that_of_the_library():
    """Two sines of a second, through librosa's stft and mel bank, divided by the window's sum."""
    t = torch.arange(16000) / 16000
    tone = 0.3 * (2 * torch.pi * 440 * t).sin()
    tone += 0.1 * (2 * torch.pi * 1234.5 * t).sin() * (t > 0.4)
    amplitude = from_log(log_mel(tone))[[13, 14, 31, 32]][:, [2, 13, 25]]
    wanted = [
        [0.137951, 0.138042, 0.137949],
        [0.175150, 0.175287, 0.175150],
        [0.000000, 0.093934, 0.085571],
        [0.000000, 0.017104, 0.000000],
    ]
    assert amplitude == pytest.approx(np.array(wanted), abs=1.1e-4)


def test_loudness_goes_there_and_back():
    amplitude = torch.logspace(-4, 0, 30)[1:]
    assert from_log(to_log(amplitude)) == pytest.approx(amplitude, rel=1e-4)
    assert to_log(torch.tensor([0.0, 1e-5, 1.0, 3.0])).tolist() == [-1, -1, 1, 1]
    assert from_log(torch.tensor([-1.0])).item() == 0


def test_the_fourier_transform_has_an_inverse(audio):
    assert istft(stft(audio)) == pytest.approx(audio, abs=1e-5)
    both = torch.stack([audio, audio.flip(0)])
    assert torch.equal(stft(both)[1], stft(audio.flip(0)))


def test_griffin_lim_comes_nearer_with_every_iteration(audio):
    magnitude = stft(audio).abs()
    reached = []
    for iterations in (0, 1, 2, 4, 8, 16):
        sound = griffin_lim(magnitude, iterations, momentum=0, generator=seeded())
        reached.append(spectral_convergence(sound, magnitude))
    assert reached == sorted(reached, reverse=True)
    assert reached[-1] < 0.5 * reached[0]


def test_momentum_brings_griffin_lim_farther(audio):
    magnitude = stft(audio).abs()
    plain, fast = (
        spectral_convergence(
            griffin_lim(magnitude, 24, momentum=momentum, generator=seeded()), magnitude
        )
        for momentum in (0, 0.99)
    )
    assert fast < 0.8 * plain


def test_magnitudes_of_a_mel_spectrogram_fall_into_its_bins(audio):
    mel = log_mel(audio)
    again = mel_bank() @ magnitudes_of(mel)
    wanted = from_log(mel)
    assert (again - wanted).norm() < 0.25 * wanted.norm()
    assert bank_inverse().shape == (1025, 80)


def test_sound_of_a_spectrogram_has_that_spectrogram(audio):
    mel = log_mel(audio)
    wanted = from_log(mel)
    heard = from_log(log_mel(audio_of(mel, seed=1)))
    noise = from_log(log_mel(audio_of(mel[:, torch.randperm(64, generator=seeded())])))
    assert (heard - wanted).norm() < 0.3 * (noise - wanted).norm()


def test_silence_in_silence_out():
    silence = np.zeros(4 * COLUMN, np.float32)
    mel = log_mel(silence)
    assert (mel == -1).all()
    assert (audio_of(mel) == 0).all()
    assert (mel_of(np.zeros((128, 8, 3), np.uint8), **TONES) == -1).all()


@pytest.mark.parametrize("column", [0, 5, 23])
def test_frames_lie_under_their_columns(column):
    """A note that begins in column c is first heard in the frames of c, and not before."""
    mel = mel_of(picture_of((column, 4, 69), width=32), **TONES)
    assert mel.shape == (80, FRAMES * 32)
    loud = mel.max(axis=0)
    first = int(np.flatnonzero(loud > loud.max() - 0.1)[0])
    assert FRAMES * column <= first < FRAMES * (column + 1)
    # A frame sees 64 ms to either side: two frames of 31 ms.
    assert (loud[: max(FRAMES * column - 2, 0)] == -1).all()


def test_the_loudest_bin_is_that_of_the_pitch():
    mel = mel_of(picture_of((0, 16, 81), width=16), **TONES)
    centre = (mel_bank() * torch.linspace(0, 8000, 1025)).sum(1) / mel_bank().sum(1)
    assert float(centre[mel[:, 8].argmax()]) == pytest.approx(880, rel=0.05)


def test_flux_sees_what_is_blurred_in_time(audio):
    mel = log_mel(audio).numpy()
    blurred = (mel + np.roll(mel, 1, axis=1) + np.roll(mel, -1, axis=1)) / 3
    assert spectral_flux(blurred) < 0.8 * spectral_flux(mel)


@pytest.mark.parametrize(
    "values", [{"bins": 0}, {"bins": 2.5}, {"high": 9000.0}, {"low": 8000.0}, {"low": -1.0}]
)
def test_a_mel_scale_that_cannot_be_is_refused(values):
    with pytest.raises(OptionError, match="mel scale"):
        MelScale(**values)


def test_what_is_no_sound_is_refused():
    with pytest.raises(OptionError, match="has no column"):
        log_mel(np.zeros(COLUMN - 1))
    with pytest.raises(OptionError, match="no mel scale"):
        MelScale.from_dict({"bands": 3})


# Recordings


@pytest.fixture
def plain_tones(monkeypatch):
    """Windows are played with plain tones, which is quick."""
    usual = recordings.mel_of
    monkeypatch.setattr(recordings, "mel_of", lambda *args: usual(*args, **TONES))


def songs_with_names(rng, count: int) -> list[Song]:
    songs = [make_song(rng, 60, end=100) for _ in range(count)]
    for number, song in enumerate(songs):
        object.__setattr__(song, "name", f"{number}.mid")
    return songs


def test_a_recording_is_what_playing_its_window_gives(rng, tmp_path, plain_tones):
    songs = songs_with_names(rng, 2)
    made = record([*songs, Song([])], 2, tmp_path / "sounds.safetensors", seed=3)
    assert made.songs == ["0.mid", "0.mid", "1.mid", "1.mid"]
    window = Windows([songs[1]], recordings.RECORDED, seed=3)[2]
    assert np.array_equal(made[2].cells, window_cells(window.picture))
    assert made[2].mel == pytest.approx(mel_of(window.picture, **TONES), abs=1e-3)


def test_a_loop_over_recordings_meets_each_once(rng, tmp_path, plain_tones):
    made = record(songs_with_names(rng, 2), 2, tmp_path / "sounds.safetensors")
    takes = list(made)
    assert len(takes) == len(made) == 4
    assert np.array_equal(takes[3].mel, made[3].mel)
    with pytest.raises(IndexError, match="take 4 of 4"):
        made[4]


def test_a_window_gets_a_recording_of_its_own_song(rng, tmp_path, plain_tones):
    songs = songs_with_names(rng, 2)
    path = str(tmp_path / "sounds.safetensors")
    made = record(songs, 1, path)
    window = Windows(songs, 64, seed=1)[0]
    take = take_of(window, rng, path)
    assert np.array_equal(take.mel, made[made.songs.index(window.song)].mel)
    # Of another song there is none: it is played.
    other = window._replace(song="other.mid")
    assert np.array_equal(take_of(other, rng, path).cells, window_cells(window.picture))
    with pytest.raises(OptionError, match="record the songs again"):
        take_of(window, rng, path, MelScale(40))


def test_a_part_of_a_recording_keeps_cells_and_frames_together(rng, tmp_path, plain_tones):
    take = record(songs_with_names(rng, 1), 1, tmp_path / "sounds.safetensors")[0]
    part = take.part(32, 128)
    assert np.array_equal(part.cells[:, :96], take.cells[:, 32:])
    assert np.array_equal(part.mel[:, : 96 * FRAMES], take.mel[:, 32 * FRAMES :])
    assert (part.cells[:, 96:] == 0).all()
    assert (part.mel[:, 96 * FRAMES :] == -1).all()


def test_what_holds_no_recordings_is_one_clear_error(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no tensors")
    for path in (tmp_path / "a.safetensors", tmp_path / "missing"):
        with pytest.raises(OptionError, match=r"holds no recordings .*; make a file"):
            open_recordings(str(path))
    with pytest.raises(OptionError, match="no song has notes"):
        record([Song([])], 1, tmp_path / "b")
    with pytest.raises(OptionError, match="record fewer windows"):
        recordings.check_size(2**40)


def test_recording_is_one_command(tmp_path, monkeypatch, rng, plain_tones, capsys):
    monkeypatch.setattr(recordings, "songs_of", lambda data: songs_with_names(rng, 2))
    out = tmp_path / "out" / "sounds.safetensors"
    assert recordings.main(["--out", str(out), "--each", "1", "--bins", "40"]) == 0
    assert open_recordings(str(out)).scale == MelScale(40)
    assert recordings.main(["--out", str(out), "--each", "0"]) == 2
    assert "windows of each song" in capsys.readouterr().err


# DiffRoll


@pytest.fixture
def heard() -> tuple[np.ndarray, np.ndarray]:
    """A picture and its spectrogram."""
    picture = picture_of((0, 4, 60), (8, 8, 64), (32, 4, 67), (48, 8, 72))
    return picture, mel_of(picture, **TONES)


@pytest.fixture
def diffroll() -> DiffRoll:
    """A small untrained network that says something."""
    torch.manual_seed(0)
    model = DiffRoll("toy").eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def logits_of(model, cells, mel) -> torch.Tensor:
    told = torch.from_numpy(mel)[None]
    return model(cells, told, torch.ones(1))


def test_without_sound_nothing_of_it_is_known(diffroll, heard):
    """What is not told does not leak, wherever the frames are."""
    picture, mel = heard
    cells = torch.full((1, 64, 64), HIDDEN)
    known = logits_of(diffroll, cells, mel)
    for other in (np.full_like(mel, -1), mel[:, ::-1].copy()):
        assert not torch.allclose(logits_of(diffroll, cells, other), known, atol=1e-3)

    gap = slice(FRAMES * 20, FRAMES * 40)
    holes = []
    for inside in (mel, np.full_like(mel, -1)):
        told = inside.copy()
        told[:, gap] = np.nan
        told[:, : gap.start] = mel[:, : gap.start]
        told[:, gap.stop :] = mel[:, gap.stop :]
        holes.append(logits_of(diffroll, cells, told))
    assert torch.equal(*holes)


def test_a_bin_that_is_not_told_hides_its_whole_frame(diffroll, heard):
    _, mel = heard
    cells = torch.full((1, 64, 64), HIDDEN)
    told = mel.copy()
    told[3, 17] = np.nan
    whole = mel.copy()
    whole[:, 17] = np.nan
    assert torch.equal(logits_of(diffroll, cells, told), logits_of(diffroll, cells, whole))


def test_sound_reaches_the_columns_about_it_first(diffroll, heard):
    """What the sound says by itself of a column depends on the columns next to it."""
    _, mel = heard
    changed = mel.copy()
    changed[:, FRAMES * 30 : FRAMES * 31] = 0.9
    both = torch.from_numpy(np.stack([mel, changed]))
    values = diffroll.network.listen(torch.cat([by_columns_of(each) for each in both]))
    differs = (values[0] != values[1]).any(0)
    assert differs.nonzero()[:, 0].tolist() == [28, 29, 30, 31, 32]


@torch.no_grad()
def test_the_way_straight_from_sound_to_onsets_is_linear(diffroll, heard):
    """With all else at zero, an onset's logit for the mean of two sounds is the mean of theirs."""
    _, mel = heard
    for name, parameter in diffroll.named_parameters():
        if ".direct." not in name:
            torch.nn.init.zeros_(parameter)
    other = mel[:, ::-1].copy()
    cells = torch.full((1, 64, 64), HIDDEN)
    one, two, between = (logits_of(diffroll, cells, m) for m in (mel, other, (mel + other) / 2))
    assert torch.allclose(between, (one + two) / 2, atol=1e-4)
    assert (between[:, :ONSET] == 0).all()
    assert between[:, ONSET].std() > 0.1


def by_columns_of(mel):
    from pomkit.ladder.diffroll import by_columns

    return by_columns(mel[None])


def test_one_call_answers_all_its_masks(diffroll, heard):
    picture, mel = heard
    partly = mel.copy()
    partly[:, FRAMES * 16 : FRAMES * 32] = np.nan
    everything = masks.everything(picture)
    tasks = {
        "transcription": (everything, mel),
        "a gap": (masks.bars(picture, 2), partly),
        "continuation": (masks.continuation(picture, 32), None),
        "from nothing": (everything, None),
    }
    for mask, sound in tasks.values():
        out = inpaint(diffroll, picture, mask, mel=sound, calls=2, seed=0)
        assert (out[0][~mask] == picture[~mask]).all()


def test_the_sound_that_is_given_counts_where_the_window_is(diffroll):
    """Windows of a wide picture hear their own columns."""
    picture = picture_of((0, 4, 60), (100, 8, 64), width=128)
    mel = mel_of(picture, **TONES)
    told = []
    usual = diffroll.told_of
    diffroll.told_of = lambda cells, request: told.append(usual(cells, request)) or told[-1]
    inpaint(diffroll, picture, masks.continuation(picture, 16), mel=mel, calls=1, seed=0)
    starts = (0, 32, 64)
    assert len(told) == len(starts)
    for start, heard_there in zip(starts, told, strict=True):
        frames = slice(FRAMES * start, FRAMES * (start + 64))
        assert np.array_equal(heard_there[0].numpy(), mel[:, frames])


@pytest.mark.parametrize("mel", [np.zeros((40, 256)), np.zeros((80, 3)), 1, "loud", None])
def test_a_spectrogram_that_does_not_fit_is_refused(diffroll, heard, mel):
    picture, _ = heard
    given = np.full((80, 256), 2.0) if mel is None else mel
    with pytest.raises(OptionError, match=r"mel .*; give"):
        inpaint(diffroll, picture, masks.bars(picture, 2), mel=given)


def test_spans_and_wholes_of_the_sound_are_left_out(rng):
    mel = np.zeros((80, 256), np.float32)
    shares = [np.isnan(with_gaps(mel, rng)).mean() for _ in range(300)]
    kinds = np.array([np.mean([s == 0 for s in shares]), np.mean([s == 1 for s in shares])])
    assert kinds == pytest.approx([0.6, 0.15], abs=0.08)
    assert not np.isnan(mel).any()


def test_what_answers_at_once_learns_with_all_cells_hidden(rng):
    window = Windows([make_song(rng)], 64)[0]
    options = TrainOptions(process="diffroll", model="toy", width=64, own={"once": True})
    model = DiffRoll.from_options(options)
    item = model.example(window, 0.7, rng, options)
    assert item["t"] == 1
    assert item["mask"].all()
    assert not np.isnan(item["told"]).any()


def test_where_recordings_are_is_no_part_of_a_model(tmp_path):
    options = TrainOptions(width=64, model="toy", own={"sounds": "runs/sounds.safetensors"})
    for family in (DiffRoll, SpectrogramDiffusion):
        assert family.from_options(options).spec()["own"].keys() == family.traits.keys()
    with pytest.raises(OptionError, match="other"):
        DiffRoll.from_options(TrainOptions(width=64, model="toy", own={"other": 1}))


def test_the_bound_of_a_sure_network_is_its_surprise():
    """A network that says the same of each cell, whatever it sees: bits are -log2 of that."""
    model = DiffRoll("toy").eval()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    cells = torch.randint(3, (2, 64, 64), generator=seeded())
    bits = model.bits(cells, seeded())
    assert bits == pytest.approx(64 * 64 * np.log2(3), rel=0.02)


# Spectrogram diffusion


@pytest.fixture
def drawing() -> SpectrogramDiffusion:
    torch.manual_seed(0)
    return SpectrogramDiffusion("toy").eval()


def test_a_picture_without_notes_is_drawn_silent(drawing):
    mel = drawing.draw(np.zeros((128, 80, 3), np.uint8), calls=2)
    assert mel.shape == (80, 320)
    assert (mel == -1).all()


def test_what_no_note_reaches_is_silent(drawing):
    picture = picture_of((40, 4, 60), width=96)
    mel = drawing.draw(picture, calls=2)
    silent = (mel == -1).all(axis=0)
    assert silent[: FRAMES * 40].all()
    assert silent[FRAMES * (44 + RINGING) :].all()
    assert not silent[FRAMES * 40 : FRAMES * 44].any()


def test_a_note_is_audible_until_it_has_rung_out():
    cells = window_cells(picture_of((10, 3, 60), width=64))
    assert np.flatnonzero(audible(cells)).tolist() == list(range(10, 13 + RINGING))


def test_frames_that_are_given_come_back(drawing):
    picture = picture_of((0, 64, 60))
    known = np.full((80, 256), np.nan)
    known[:, 100:] = 0.25
    mel = drawing.draw(picture, calls=2, mel=known)
    assert (mel[:, 100:] == 0.25).all()
    assert not (mel[:, :100] == 0.25).any()
    # The noise alone decides the rest.
    assert np.array_equal(mel, drawing.draw(picture, calls=2, mel=known))


def test_the_window_before_is_told_and_its_end_lies_at_the_beginning():
    """A network that copies what it is told of the past gives it mirrored."""
    torch.manual_seed(0)
    model = SpectrogramDiffusion("toy").eval()
    seen = []
    model.network.draw.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    previous = torch.linspace(-1, 1, 256).expand(1, 80, 256)
    x = torch.zeros(1, 1, 80, 256)
    told = {"notes": torch.zeros(1, 2, 64, 64), "previous": previous}
    model(x, torch.ones(1), **told)
    mirrored, known = seen[0][0, -2:].detach()
    assert mirrored[0, 0] == pytest.approx(1 + 0.4)
    assert mirrored[0, -1] == pytest.approx(-1 + 0.4)
    assert (known == 1).all()


def test_a_window_before_that_is_not_known_does_not_count(drawing):
    x = torch.randn(1, 1, 80, 256, generator=seeded())
    notes = torch.from_numpy(note_planes(window_cells(picture_of((0, 8, 60)))))[None]
    nothing = torch.full((1, 80, 256), torch.nan)
    out = drawing(x, torch.ones(1), notes=notes, previous=nothing)
    assert out.isfinite().all()


@torch.no_grad()
def test_it_is_edm_at_both_ends_of_the_noise(drawing):
    """With the last layer at zero it is c_skip x alone: the picture, or its middle."""
    x = torch.randn(1, 1, 80, 256, generator=seeded())
    for parameter in drawing.network.spread.parameters():
        torch.nn.init.zeros_(parameter)
    told = {"notes": torch.zeros(1, 2, 64, 64), "previous": torch.zeros(1, 80, 256)}
    assert drawing(x, torch.tensor([1e-4]), **told) == pytest.approx(x, abs=1e-3)
    far = drawing(100 * x, torch.tensor([1e3]), **told)
    assert far == pytest.approx(torch.full_like(x, -0.4), abs=1e-3)


def test_a_loaded_model_draws_the_same_sound(drawing, tmp_path):
    again = load_model(save_model(tmp_path / "model", drawing, {"data": "none"}), "cpu")
    picture = picture_of((0, 8, 60))
    assert np.array_equal(again.draw(picture, calls=2), drawing.draw(picture, calls=2))
    assert not np.array_equal(again.draw(picture, calls=2, seed=1), drawing.draw(picture, calls=2))


def test_it_answers_no_mask(drawing):
    picture = picture_of((0, 8, 60))
    with pytest.raises(OptionError, match="draw sound, not notes"):
        inpaint(drawing, picture, masks.bars(picture, 2))


def test_notes_are_told_as_beginning_and_sounding():
    cells = window_cells(picture_of((3, 4, 95)))
    begins, sounds = note_planes(cells)
    assert np.argwhere(begins).tolist() == [[0, 3]]
    assert np.flatnonzero(sounds[0]).tolist() == [3, 4, 5, 6]
    assert cells[0, 3] == ONSET


def test_half_a_window_more_knows_its_past(rng):
    """A training window of 128 columns gives the second half with the first one as its past."""
    window = Windows([make_song(rng, 150, end=130)], 128)[0]
    options = TrainOptions(process="spectrogram", model="toy", width=128)
    model = SpectrogramDiffusion.from_options(options)
    mel = mel_of(window.picture)
    for seed in range(40):
        item = model.example(window, 0.5, np.random.default_rng(seed), options)
        if np.array_equal(item["x0"][0], mel[:, 256:]) and not np.isnan(item["previous"]).any():
            break
    assert np.array_equal(item["previous"], mel[:, :256])
    assert HOP * FRAMES == COLUMN

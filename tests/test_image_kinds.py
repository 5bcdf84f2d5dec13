"""Images of many depths, sizes and kinds: each is read as the picture that it shows, or refused."""

import io

import numpy as np
import pytest
from conftest import make_song
from PIL import Image

from pomkit import PictureError, Song, fold, masks, parse, read_midi, render
from pomkit.data import songs
from pomkit.music.images import read_image
from pomkit.studio.storage import open_contents

SONG = Song([(4 * i, 1 + i % 4, 60 + i, 20 + 6 * i, 0) for i in range(16)])
PICTURE = render(SONG, width=64)
GREY = PICTURE.max(axis=2)  # (128, 64)


def file_of(image, kind="PNG", **options):
    """The bytes of an image's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(file_of(Image.fromarray(GREY.astype(np.uint16) * 257)), id="16-bit PNG"),
        pytest.param(Image.fromarray(GREY.astype(np.int32) * 257), id="mode I, 16 bits"),
        pytest.param(Image.fromarray(GREY.astype(np.int32)), id="mode I, 8 bits"),
        pytest.param(Image.fromarray(GREY.astype(np.float32)), id="mode F"),
        pytest.param(Image.fromarray(GREY.astype(np.float32) / 255), id="mode F, 0 to 1"),
        pytest.param(GREY.astype(np.uint16) * 257, id="16-bit array"),
        pytest.param(PICTURE / 255, id="floats as matplotlib reads them"),
        pytest.param(PICTURE.astype(np.int64), id="64-bit whole numbers"),
        pytest.param(file_of(Image.fromarray(PICTURE), "WEBP", lossless=True), id="WEBP"),
        pytest.param(PICTURE.repeat(2, axis=0).repeat(2, axis=1), id="double size"),
        pytest.param(GREY.repeat(3, axis=0).repeat(3, axis=1), id="three times the size, grey"),
    ],
)
def test_any_depth_and_size_is_the_same_song(source):
    assert parse(source) == SONG


def test_a_folded_picture_is_not_taken_for_an_enlarged_one(rng):
    picture = render(make_song(rng), width=256)
    assert np.array_equal(read_image(fold(picture)), picture)


def test_a_folded_picture_of_chords_alone_is_not_taken_for_an_enlarged_one(rng):
    picture = render(Song([], make_song(rng).chords), width=256)
    assert picture.any()
    assert np.array_equal(read_image(fold(picture)), picture)


def test_an_image_for_printing_says_what_to_do():
    with pytest.raises(PictureError, match="save it as RGB"):
        read_image(file_of(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"))


def painted_image(mask, transparency):
    """A white image, opaque where a mask is True, else as opaque as it is said."""
    white = np.full((*mask.shape, 3), 255, np.uint8)
    return np.dstack([white, np.where(mask, 255, transparency).astype(np.uint8)])


@pytest.mark.parametrize("transparency", [0, 90])
@pytest.mark.parametrize(
    "form", [np.asarray, Image.fromarray, lambda a: file_of(Image.fromarray(a))]
)
def test_only_opaque_white_is_a_mask(form, transparency):
    mask = masks.bars(64, 2, 3)
    assert np.array_equal(masks.from_image(form(painted_image(mask, transparency))), mask)


@pytest.mark.parametrize("depth", [bool, np.uint8, np.uint16, np.float32])
def test_a_grey_mask_of_any_depth(depth):
    mask = masks.bars(64, 2, 3)
    bright = {bool: 1, np.uint8: 255, np.uint16: 65535, np.float32: 1}[depth]
    assert np.array_equal(masks.from_image((mask * bright).astype(depth)), mask)


def test_a_dark_mask_of_16_bits_is_no_mask():
    dark = np.full((128, 64), 20000, np.uint16)
    assert not masks.from_image(Image.fromarray(dark)).any()


def enlarged(picture, factor, how=Image.NEAREST):
    height, width, _ = picture.shape
    return Image.fromarray(picture).resize((factor * width, factor * height), how)


@pytest.mark.parametrize("quality", [95, 75])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("name", ["ode_to_joy", "satie_gymnopedie_1"])
def test_an_enlarged_jpeg_is_read_as_what_it_shows(name, factor, quality):
    picture = render(read_midi(songs()[name]), width=160)
    data = file_of(enlarged(picture, factor), "JPEG", quality=quality)
    (onsets, again) = ((each[..., 0] > 0)[8:-8] for each in (picture, read_image(data)))
    assert again.shape == onsets.shape
    assert (onsets & again).sum() >= 0.97 * onsets.sum()
    assert again.sum() <= 1.03 * onsets.sum()


@pytest.mark.parametrize("factor", [2, 3])
def test_a_mask_in_an_enlarged_jpeg_is_the_mask(factor):
    picture = render(read_midi(songs()["ode_to_joy"]), width=160)
    mask = masks.bars(picture, 3, 4)
    image = enlarged(masks.paint(picture, mask), factor)
    assert np.array_equal(masks.from_image(file_of(image, "JPEG", quality=90)), mask)


@pytest.mark.parametrize("how", [Image.BILINEAR, Image.BICUBIC, Image.LANCZOS])
@pytest.mark.parametrize("factor", [2, 3])
def test_a_smoothed_picture_is_refused(factor, how):
    picture = render(read_midi(songs()["ode_to_joy"]), width=160)
    with pytest.raises(PictureError, match="neither sharply enlarged nor folded; save"):
        parse(file_of(enlarged(picture, factor, how)))


def test_a_folded_jpeg_is_not_taken_for_an_enlarged_one():
    picture = render(read_midi(songs()["ode_to_joy"]), width=256)
    data = file_of(Image.fromarray(fold(picture)), "JPEG", quality=75)
    assert read_image(data).shape == picture.shape


def test_an_enlarged_mask_is_the_mask():
    painted = masks.paint(PICTURE, masks.bars(64, 2, 3))
    large = Image.fromarray(painted.repeat(2, axis=0).repeat(2, axis=1))
    assert np.array_equal(masks.from_image(large), masks.bars(64, 2, 3))


def test_a_studio_opens_a_webp_with_its_mask():
    painted = masks.paint(PICTURE, masks.bars(64, 2, 3))
    state = open_contents(file_of(Image.fromarray(painted), "WEBP", lossless=True)).state
    assert np.array_equal(state.mask, masks.bars(64, 2, 3))

"""Names and texts of MIDI files in the encodings that programs write."""

import midi_files as m
import pytest

from pomkit import Chord, read_midi
from pomkit.music.midi_text import decode_text

WORDS = {
    encoding: words.split("|")
    for encoding, words in {
        "utf-8": "Piano|Flöte|主旋律|ピアノ|Гитара|B♭ 🎵|Ålesund",
        "utf-8-sig": "Piano|Flöte|主旋律",
        "utf-16": "Piano|Flöte|主旋律|ピアノ",
        "utf-16-le": "Piano|Bass 1",
        "utf-16-be": "Piano|Bass 1",
        "latin-1": "Flöte|Naïve|Señor",
        "cp1252": "Flöte|Trompète|Café|Violão|Percussão|Guitare électrique|Für Elise|Größe|L’été"
        "|Été|Piano – links|Voix élevée|ÉTÉ|Flûte à bec|Coração|Klavier für 2 Hände|Œuvre"
        "|© 1999 J. Müller|Ñandú|São João|créée|1º Violín",
        "cp932": "ピアノ|ドラム|ベース|ギター|メロディ|主旋律|伴奏|日本|ピアノ 1|歌|右手|ボーカル"
        "|さくら|千本桜|第1バイオリン|E.ギター|Aメロ|チェロ|Pianoピアノ",
        "euc_jp": "ピアノ|さくら|バイオリン",
        "iso2022_jp": "ピアノ|主旋律",
        "gb18030": "主旋律|旋律|吉他|小提琴|ピアノ",
        "cp1251": "Гитара|гитара|Бас|Ударные|ГИТАРА|Скрипка 1|Мелодия|Вокал|Хор",
        "koi8_r": "Гитара|гитара|Бас|Ударные|ГИТАРА|Скрипка 1|Мелодия|Вокал|Хор",
        "cp850": "Flöte|Bässe|Klavier für 2 Hände|Trompète",
    }.items()
}
# What may be words of several encodings: nobody can tell.
DOUBTFUL = [
    ("鼓", "gb18030"),
    ("피아노", "euc_kr"),
    ("鋼琴", "big5"),
    ("ﾋﾟｱﾉ", "cp932"),
    ("Šťastný", "cp1250"),
    ("Πιάνο", "iso8859_7"),
]


@pytest.mark.parametrize("encoding", WORDS)
def test_the_right_words_in_every_encoding(encoding):
    for word in WORDS[encoding]:
        assert decode_text(word.encode(encoding)) == (word, True), word


@pytest.mark.parametrize("encoding", WORDS)
def test_a_track_has_the_name_that_it_was_given(encoding):
    for word in WORDS[encoding]:
        name = m.meta(0, 3, word.encode(encoding))
        song = read_midi(m.midi(m.track(name, m.note(0, 480))))
        assert song.parts == (word,)
        assert song.report.remarks == ()


@pytest.mark.parametrize(("word", "encoding"), DOUBTFUL)
def test_what_cannot_be_told_is_shown_byte_by_byte_and_told(word, encoding, tmp_path):
    content = word.encode(encoding)
    shown = "".join(chr(byte) if byte < 128 else f"\\x{byte:02x}" for byte in content)
    assert decode_text(content) == (shown, False)
    song = read_midi(m.midi(m.track(m.meta(0, 3, content), m.note(0, 480))))
    assert song.parts == (shown,)
    assert f"1 name or text in no known encoding, shown as bytes: {shown}" in song.report.remarks
    # What is shown is not lost when the song is written.
    assert read_midi(song.canonical().write_midi(tmp_path / "x.mid")).chords == ()


def test_every_byte_is_a_letter_or_is_shown():
    """No letter is cut out: of each byte above 127 between letters something is left."""
    for byte in range(128, 256):
        for content in (bytes([byte]), b"ab" + bytes([byte]) + b"cd"):
            text, is_known = decode_text(content)
            assert len(text) >= len(content), content
            assert is_known or f"\\x{byte:02x}" in text


def test_control_characters_and_spaces():
    assert decode_text(b"Piano\0\0") == ("Piano", True)
    assert decode_text(b" Pia\x07no\r\n") == ("Piano", True)
    assert decode_text("左\u3000手".encode()) == ("左 手", True)
    assert decode_text("a\ufdd0b".encode()) == ("a\\ufdd0b", True)
    assert decode_text(b"") == ("", True)
    assert decode_text(b"\0\0\0") == ("", True)
    assert decode_text("\ufeffPiano".encode("utf-16-le") + b"\0")[1] in (True, False)


def test_long_and_odd_texts_are_no_trouble():
    for content in (b"\xff" * 10**6, b"\xff\xfe" + b"\xd8" * 10**5, b"\x1b$B\xff", b"P\0i\0\xd8"):
        text, _ = decode_text(content)
        assert text.isprintable()


def test_chords_in_markers_of_utf_16_are_read():
    marks = [m.meta(0, 6, "C:maj".encode("utf-16")), m.meta(480, 6, "B♭:7".encode("utf-16"))]
    song = read_midi(m.midi(m.track(marks, m.note(0, 960))))
    assert song.chords == (Chord(0, 4, "C:maj"), Chord(4, 4, "Bb:7"))

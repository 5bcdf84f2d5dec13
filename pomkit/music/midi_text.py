"""Texts in MIDI files: their encoding, which no file names.

The standard says ASCII; programs write what their system has. `decode_text` tries encodings from
the strictest to the most lenient, and believes one only where what comes out looks like words:

1. A byte order mark, or a zero in every second byte, says UTF-16; certain escapes, ISO-2022-JP.
2. UTF-8 is strict: other encodings hardly ever look like it.
3. Western European (Windows 1252): few letters with accents, among others without.
4. Shift-JIS, EUC-JP and GBK with kana, and Shift-JIS where its kanji begin as in no other encoding.
5. Cyrillic (Windows 1251, KOI8-R): no capital after a small letter, and many frequent letters. The
   two encodings exchange large and small letters.
6. Chinese (GB 2312) of common characters, some of them where Korean has none of its syllables.
7. Western European of DOS (850), by the rule of 3.

Where none of them is believed, the bytes are shown:

    decode_text("ピアノ".encode("cp932"))    # ("ピアノ", True)
    decode_text(b"\\xb9\\xc4")    # (r"\\xb9\\xc4", False): "drum" in Chinese, or Korean
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

# Letters of Western European languages beyond ASCII, and signs that stand between words.
ACCENTED = re.compile("[À-ÖØ-öø-ÿŒœŠšŽžŸªº]")
WESTERN = re.compile("[ -~À-ÖØ-öø-ÿŒœŠšŽžŸªº©®°·´¿¡£§«»‘’“”„–—…™€²³½¼\t\r\n]*")
# What no word has: signs between letters, three letters with accents, a capital after a small one
# where either has an accent, an ordinal sign after no number.
NO_WESTERN_WORD = re.compile(
    "[a-zA-ZÀ-ÖØ-öø-ÿ][^ -~À-ÖØ-öø-ÿŒœŠšŽžŸ’´·–—…][a-zA-ZÀ-ÖØ-öø-ÿ]"
    "|[À-ÖØ-öø-ÿŒœŠšŽžŸ]{3}|[à-öø-ÿœšž][A-ZÀ-ÖØ-Þ]|[a-z][À-ÖØ-ÞŒŠŽŸ]|(?<![0-9a-zA-Z.])[ªº]"
)
# Kana, kanji, and what stands among them. Half-width kana are left out: most bytes can be one.
JAPANESE = re.compile("[ -~ 、-〟ぁ-ヿ㐀-䶿一-鿿！-～￥]*")
KANA = re.compile("[ぁ-ヿ]")
# A lone one beside a small Latin letter is none.
LONE_KANA = re.compile("[a-z][ぁ-ヿ](?![ぁ-ヿ一-鿿])|(?<![ぁ-ヿ一-鿿])[ぁ-ヿ][a-z]")
KANJI = re.compile("[一-鿿]")
# Of words of several kanji, no small Latin letter stands beside one.
BESIDE_KANJI = re.compile("[一-鿿][a-z]|[a-z][一-鿿]")
# First bytes of common kanji in Shift-JIS; nothing begins so in EUC-JP, GB 2312 or Big5.
SHIFT_JIS_KANJI = re.compile(rb"[\x88-\x9f]")
# Common characters in GB 2312, those that begin as no syllable of Korean does, and bytes that are
# no half-width kana.
CHINESE = re.compile(rb"(?:[ -~]|[\xb0-\xd7][\xa1-\xfe])*")
NOT_KOREAN = re.compile(rb"(?:[ -~]|[\xb0-\xc8][\xa1-\xfe])*[\xc9-\xd7][\xa1-\xfe]")
NO_KANA = re.compile(rb"[\xe0-\xfe]")
CYRILLIC = re.compile("[ -~А-яЁё№«»–—…\xa0\t\r\n]*")
CYRILLIC_LETTER = re.compile("[А-яЁё]")
NO_CYRILLIC_WORD = re.compile("[а-яё][А-ЯЁ]|[a-zA-Z][А-яЁё]|[А-яЁё][a-zA-Z]")
# The most frequent letters of Russian: more than two of three in a text.
FREQUENT = frozenset("оеаинтсрлкмдпу")
# The share of them that is asked for.
LEAST_FREQUENT = 0.5

UTF_16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
UTF_8_MARK = b"\xef\xbb\xbf"
ISO_2022_JP = re.compile(rb"\x1b(\$[@B]|\([BJ])")
# More bytes are no name, and are not judged.
MOST_JUDGED = 1000


class Encoding(NamedTuple):
    """An encoding, and whether a text that was read in it looks like words."""

    name: str
    is_believed: Callable[[str], bool]


@lru_cache(maxsize=4096)
def decode_text(content: bytes) -> tuple[str, bool]:
    """A text of a MIDI file, in whatever encoding it is.

    Args:
        content: its bytes.

    Returns:
        The text without control characters and spaces around it, and whether its encoding is known;
        where it is not, bytes above 127 stand there as "\\\\xd6".
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    is_plain = text and text.isprintable()
    if is_plain or not content:
        return text.strip(), True

    for encoding in _told_encodings(content):
        decoded = _decoded(content, encoding)
        if decoded is not None:
            return _printable(decoded), True
    if text:
        return _printable(text), True

    # The encodings of 8 bits, and of two bytes a letter.
    for name, is_believed in GUESSES if len(content) <= MOST_JUDGED else ():
        decoded = _decoded(content, name)
        if decoded is not None and is_believed(decoded.strip("\0 ")):
            return _printable(decoded), True
    return _printable(content.decode("ascii", "backslashreplace")), False


def _decoded(content: bytes, encoding: str) -> str | None:
    """The text in this encoding, or None where it is not in it."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _told_encodings(content: bytes) -> list[str]:
    """The encodings that the bytes themselves tell."""
    if content[:2] in UTF_16_MARKS:
        return [UTF_16_MARKS[content[:2]]]
    if ISO_2022_JP.search(content):
        return ["iso2022_jp"]
    if content[:3] == UTF_8_MARK:
        return ["utf-8-sig"]

    # Plain letters have a zero beside them in UTF-16. A zero at the end is one of C's strings.
    letters = content.rstrip(b"\0")
    half = len(letters) // 2
    if half and not letters[1::2].strip(b"\0") and letters[0::2].count(0) == 0:
        return ["utf-16-le"] if len(content) % 2 == 0 else []
    if half and not letters[0::2].strip(b"\0") and letters[1::2].count(0) == 0:
        return ["utf-16-be"] if len(content) % 2 == 0 else []
    return []


def _printable(text: str) -> str:
    """The text without control characters; what cannot be shown otherwise stands as its number."""
    text = text.strip("\0\ufeff")
    if text.isprintable():
        return text.strip()
    return "".join(map(_shown, text)).strip()


def _shown(letter: str) -> str:
    """A letter as it can be shown: spaces of all kinds as one, control characters not at all."""
    if letter.isprintable():
        return letter
    category = unicodedata.category(letter)
    if category.startswith("Z") or letter in "\t\r\n":
        return " "
    is_control = category in ("Cc", "Cf")
    return "" if is_control else letter.encode("ascii", "backslashreplace").decode()


def _is_western(text: str) -> bool:
    """Whether a text looks like a Western European language."""
    accents = len(ACCENTED.findall(text))
    plain = sum(letter.isascii() and letter.isalpha() for letter in text)
    is_word = WESTERN.fullmatch(text) and not NO_WESTERN_WORD.search(text)
    return bool(is_word) and accents <= 2 * plain


def _is_japanese(text: str) -> bool:
    """Whether a text looks like Japanese: it has kana."""
    is_written = JAPANESE.fullmatch(text) and not LONE_KANA.search(text)
    return bool(is_written and KANA.search(text))


def _is_shift_jis(text: str) -> bool:
    """The same of Shift-JIS, which is known by its first bytes of kanji, too."""
    if _is_japanese(text):
        return True
    kanji = KANJI.findall(text)
    is_told = any(SHIFT_JIS_KANJI.match(letter.encode("cp932")) for letter in kanji)
    is_written = JAPANESE.fullmatch(text) and not KANA.search(text)
    return bool(is_written) and is_told and not BESIDE_KANJI.search(text)


def _is_cyrillic(text: str) -> bool:
    """Whether a text looks like Russian."""
    letters = CYRILLIC_LETTER.findall(text)
    if len(letters) < 2 or not CYRILLIC.fullmatch(text) or NO_CYRILLIC_WORD.search(text):
        return False
    frequent = sum(letter.lower() in FREQUENT for letter in letters)
    return frequent >= LEAST_FREQUENT * len(letters)


def _is_chinese(text: str) -> bool:
    """Whether a text looks like Chinese, and not like Korean or kana that were read as such."""
    content = text.encode("gb18030")
    is_other = not NOT_KOREAN.match(content) or not NO_KANA.search(content)
    return bool(CHINESE.fullmatch(content)) and not is_other


GUESSES = (
    Encoding("cp1252", _is_western),
    Encoding("cp932", _is_shift_jis),
    Encoding("euc_jp", _is_japanese),
    Encoding("gb18030", _is_japanese),
    Encoding("cp1251", _is_cyrillic),
    Encoding("koi8_r", _is_cyrillic),
    Encoding("gb18030", _is_chinese),
    Encoding("cp850", _is_western),
)

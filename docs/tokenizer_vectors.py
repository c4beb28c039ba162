"""Makes tokenizer_vectors.json, the tables and test vectors that each port of the tokenizer needs.

Remake it after a change of the rules or of the texts below, from the project's folder:

    pip install -e . && python docs/tokenizer_vectors.py
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmkd_tf.edge.tokenizer import (
    FOLD,
    SEPARATORS,
    SINGLES,
    TOKENIZER_RULES,
    TextReader,
    Tokenizer,
    split_words,
)

FILE = Path(__file__).with_suffix(".json")

# "Red", "don't" and "ab茶" can't come out of any text, so no text may have their ids.
VOCABULARY = (
    "<pad> <unk> red cup tea big don t 2 pad unk Red don't ab茶 i istanbul café cafe\u0301 "
    "größe straße strasse σοφία σοφίασ σοφίας όχι привет ёжик ґанок tiếng việt tie\u0302\u0301ng "
    "ǆ θ μ µ ω ß ⱥ k å s ÿ é e\u0301 \u0301 茶 杯 茶杯 豈 々 〇 コ ー ヒ 커 피 커피 "
    "\u1112 \u1161 \u11ab ㅋ ｶ ﾞ 👍 🏽 👨 👩 👧 🇩 🇪 ❤ ☎ 🏴 1 ١٢ １２ 𠮷 𰀀 \U0003ffff \U00040000 "
    "كوب شاي\u060c כוס नमस्ते ถ้วยชา "
    "5€ x⁴ ª ａｂｃ ＡＢＣ Ա 𐐀 𝐑𝐞𝐝 " + "a" * 40 + " " + "redcup" * 10
).split()

LENGTH = 8

# What it is about -> texts. No lone surrogates: not every JSON reader takes them.
TEXTS = {
    "empty": [""],
    "only separators": [" ", "\t\r\n", "?!... --", "\u3000\u3001\u3002", "\u200d\ufe0f\ufeff"],
    "ASCII": ["red", "Red Cup, 2 PIECES of tea!", "rEd/CUP\\tea|big", "red_cup-tea.big"],
    "apostrophes part words": ["don't", "DON\u2019T", "don`t 'tea'"],
    "no letter, yet in a word": [
        "5\u20ac",
        "$5 #2 @cup",
        "x\u2074 x\xb2 \xaa",
        "tea\u2122 tea\xae",
    ],
    "digits": ["2x 1,000.50", "2 22 222", "\u0661\u0662", "\uff11\uff12", "\xbd2"],
    "only unknown words": ["cu cups cupt edr", "blue", "re d", "приве"],
    "words that look like special ones": ["<pad>", "<unk> [UNK]", "<PAD> pad PAD", "0 1 <s> </s>"],
    "vocabulary words that no text can give": ["ab茶 abc"],
    "as many words as fit": ["red cup tea big 2 t don i", "red cup tea big 2 t don 茶"],
    "more words than fit": ["red cup tea big 2 t don i cup cup", "2 " * 40, "茶" * 20],
    "nothing but separators behind the end": ["red cup tea big 2 t don i  !!! "],
    "long words": ["a" * 40, "a" * 41, "a" * 300 + " tea", "redcup" * 10, "redcup" * 11 + " red"],
    "long words of several bytes a letter": ["ж" * 100 + " cup", "а\u0301" * 50],
    "many separators between words": ["red" + " " * 100 + "cup" + "." * 30],
    "Latin letters fold": ["GRÖSSE GrÖße", "CAFÉ café", "ØŁŸ Ÿ", "ÀÞ"],
    "sharp s: one letter, never ss": ["straße STRASSE STRAẞE", "ẞ ß"],
    "dotted and dotless i": ["İSTANBUL istanbul", "Istanbul ıstanbul", "I\u0307 İ I"],
    "title-case digraphs": ["\u01c4 \u01c5 \u01c6"],
    "lower case in another block": ["Ⱥ ⱥ", "ȾƁƇ"],
    "letters without lower case": ["\u0149 ĸ ƻ \u017f s"],
    "Greek folds, final sigma too": [
        "ΣΟΦΊΑΣ σοφίας",
        "Σοφία, Όχι!",
        "\u03f4 Θ θ \u03d1",
    ],
    "micro sign stays, Greek Mu folds": ["\xb5 Μ μ"],
    "Cyrillic folds": ["ПрИВет ЁЖИК", "Ґанок ЉӀԮ"],
    "Vietnamese folds, composed and not": ["TIẾNG ViỆt", "TIE\u0302\u0301NG tiê\u0301ng", "ẠỸ"],
    "not folded: Kelvin, Angstrom, Ohm": ["\u212a K k", "\u212b Å", "\u2126 Ω"],
    "not folded: other blocks": [
        "Ա ա",
        "𐐀 𐐨",
        "ἈὈ Ა Ꭰ",
        "ꙀⱠⰀꜦ",
        "\u2167 \u2177",
        "\uff21\uff22\uff23 \uff41\uff42\uff43 ABC",
    ],
    "mathematical letters stay": ["\U0001d411\U0001d41e\U0001d41d Red"],
    "composed and combining are different words": ["café cafe\u0301", "é e\u0301 E\u0301 É"],
    "marks alone and stacked": ["\u0301", "a\u0300\u0301\u0302 \u0301 tea\u0327", "\u0301red"],
    "Devanagari, danda is no separator": ["नमस\u094dत\u0947 नमस\u094dत\u0947\u0964"],
    "Thai has no spaces": ["ถ\u0e49วยชา"],
    "ideographs are words": ["茶杯", "red茶cup杯", "茶 杯\u3001茶\u3002", "人\u3005 \u3007 〆"],
    "ideographs of other planes": ["𠮷𠀀𰀀\U0003ffff", "a𠮷a"],
    "compatibility ideographs and radicals": ["\uf900\u8c48\u2f00\u2e80", "\ufb00\ufaff"],
    "Kana": ["コ\u30fcヒ\u30fc", "\u300cコ\u300d\u3000あtea", "\u3030\u3012\u301c\u30fb"],
    "half-width Kana": ["\uff76\uff9e\uff71", "\uff65\uff66\uff61", "𛀀𛅰"],
    "Hangul": ["커피 커", "\u1112\u1161\u11ab 한", "\u314b\u314b", "ꥠퟻ"],
    "enclosed and square signs": ["\u24b6 \u2460 \u32ff \u3392"],
    "emoji are words": ["ab👍cd", "👍👍", "tea🍵!"],
    "skin tones": ["👍\U0001f3fd", "👍 \U0001f3fdred"],
    "joined emoji": ["👨\u200d👩\u200d👧", "\u2764\ufe0f\u200d🔥"],
    "keycaps": ["1\ufe0f\u20e3", "#\ufe0f\u20e32\u20e3"],
    "flags": ["\U0001f1e9\U0001f1ea", "🏴\U000e0067\U000e0062\U000e007f"],
    "variation selectors": ["\u2764\ufe0f \u2764 \u260e\ufe0e", "red\ufe0fcup", "茶\U000e0100"],
    "arrows and symbols": ["a\u2190b\u2bffc", "\u218fa", "Ⰰ"],
    "Arabic, its comma is no separator": [
        "\u0643\u0648\u0628 \u0634\u0627\u064a\u060c",
        "\u0643\u064f\u0648\u0628",
        "\u202b\u0643\u0648\u0628\u202c \u200fred",
    ],
    "Hebrew": ["\u05db\u05d5\u05e1 \u05ea\u05d4", "\u05db\u05d5\u05e1\u05be\u05db\u05d5\u05e1"],
    "spaces of all kinds": [
        "red\xa0cup\u202ftea\u2009big",
        "red\u1680cup\u205ftea\u3000big",
        "red\u2028cup\u2029tea\x85big",
        "red\u200bcup\u2060tea\xadbig",
        "red\x1ccup\x0btea\x0cbig",
    ],
    "Mongolian vowel separator is none": ["red\u180ecup"],
    "multiplication and division signs": ["2\xd72\xf72"],
    "control characters": ["red\x00cup", "\x00\x00tea", "red\x1bcup\x7ftea\x9fbig"],
    "byte order mark": ["\ufeffred", "red\ufeffcup"],
    "private use and specials": [
        "red\ue000cup\uf8fftea",
        "a\ufffdb\ufffcc",
        "red\U000f0000\U0010ffffcup",
    ],
    "last characters of their ranges": ["\ud7ff\ud7c7a", "\uffdf\uffe0a", "\U0001faff🬀"],
    "unassigned planes": ["\U00040000 \U000dffff", "\U000e0000\U00040000"],
    "noncharacters": ["\ufdd0 \uffff \U0001fffe"],
    "everything at once": ["\ufeffRed 茶👍\U0001f3fd Café\u2014Привет"],
}

# Bytes that are no UTF-8 separate words, for ports that take bytes.
BYTES = {
    "bytes that never occur": [b"red\xffcup", b"\xc0\x80tea", b"red\xf5\x80\x80\x80cup"],
    "continuation alone": [b"red\x80cup", b"\xa9\xc3\xa9"],
    "sequence cut off": [
        b"caf\xc3",
        b"red\xe8\x8ccup",
        b"red \xf0\x9f\x91",
        b"\xe8\x8c\xe8\x8c\xb6",
    ],
    "overlong": [b"\xe0\x81\xa1 tea", b"\xf0\x80\x81\xa1 tea"],
    "halves of surrogate pairs": [b"red\xed\xa0\x80cup", b"\xed\xa0\xbd\xed\xb1\x8d"],
    "beyond the last code point": [b"red\xf4\x90\x80\x80cup"],
}

# Texts as bytes: what it is about -> texts, and the numbers of bytes that they are written into.
FITTING = {
    "shorter than its bytes": (["red", "  red  cup. ", "a\x00b", "Gr\u00f6\u00dfe \u8336"], (24,)),
    "no words": (["", "  \t\n", "?!\u200d" * 9], (1, 8)),
    "as long as its bytes": (["red cup", "茶杯", "red cup  "], (6, 7, 9)),
    "white space uses one byte a time": (
        ["  red \t\n  cup", "red" + " " * 40 + "cup" + "\u3000" * 9 + "tea", " \x00red\x00\x00cup"],
        (7, 8, 11),
    ),
    "what parts words is not only white space": (
        ["red--cup, (tea) ... big!", "«red» „cup“"],
        (8, 11),
    ),
    "cut behind a word": (["red cups and more", "Größe groß", "don't panic"], (1, 5, 6, 9, 12)),
    "cut within the first word": (["y" * 30 + " red", "\u00e9" * 9, "\u0436" * 9 + " cup"], (5, 8)),
    "characters of several bytes": (
        ["é茶👍x", "1234567ö", "👍" * 9, "\U00020bb7" * 3],
        range(1, 13),
    ),
    "signs are words": (["ab茶杯cd 茶", "abc茶杯", "红cup红", "a茶b茶c"], range(4, 10)),
    "an address": (["see https://example.com/shop/Items?id=77&lang=en#top now"], (16, 32, 40)),
    "marks, joiners and flags": (
        ["e\u0301te\u0301 \u2764\ufe0f\u200d🔥", "🇩🇪 flag"],
        (4, 7, 8, 10),
    ),
    "no letter that parts": (["كوب\u060c شاي", "नमस\u094dते \u0964"], (6, 10, 13)),
}
MOST_WORDS = 4


def make() -> str:
    """Returns what the file holds: JSON in ASCII, a vector a line."""
    tokenizer = Tokenizer(VOCABULARY, LENGTH)

    def result(text: str) -> dict:
        # One word more than fits shows what is cut.
        return {"words": split_words(text)[: LENGTH + 1], "ids": tokenizer(text)}

    texts_by_topic = TEXTS | {"the ends of the ranges and their neighbours": _ends()}
    vectors = [
        {"about": about, "text": text, **result(text)}
        for about, texts in texts_by_topic.items()
        for text in texts
    ]
    byte_vectors = [
        {"about": about, "bytes": list(content), **result(content.decode(errors="replace"))}
        for about, contents in BYTES.items()
        for content in contents
    ]
    fit_vectors = [
        {"about": about, "text": text, "num_bytes": size, **_fitting(text, size)}
        for about, (texts, sizes) in FITTING.items()
        for text in texts
        for size in sizes
    ]
    lines = [
        f'"rules": {TOKENIZER_RULES}',
        f'"separators": {_rows(SEPARATORS)}',
        f'"singles": {_rows(SINGLES)}',
        f'"fold": {_rows(sorted(FOLD.items()), a_line=8)}',
        f'"vocabulary": {_rows(VOCABULARY, a_line=8)}',
        f'"length": {LENGTH}',
        f'"vectors": {_rows(vectors)}',
        f'"byte_vectors": {_rows(byte_vectors)}',
        f'"most_words": {MOST_WORDS}',
        f'"fit_vectors": {_rows(fit_vectors)}',
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _fitting(text: str, size: int) -> dict:
    """What of a text is written, 0 behind it, and which words lack room."""
    described = {"most_words": MOST_WORDS}
    reader = TextReader("text", (size,), np.dtype("uint8"), described, {})
    kept = reader(text).tobytes().rstrip(b"\0").decode()
    return {"kept": kept, "cut": reader.cut_words(text)}


def _ends() -> list[str]:
    """Puts three code points a text between letters, so that no text is cut."""
    ranges = [*SEPARATORS, *SINGLES]
    codes = {code for a, b in ranges for code in (a - 1, a, b, b + 1)}
    ends = [chr(c) for c in sorted(codes) if 0 <= c <= 0x10FFFF and not 0xD800 <= c <= 0xDFFF]
    return ["a" + "".join(end + "a" for end in ends[i : i + 3]) for i in range(0, len(ends), 3)]


def _rows(values: Iterable, a_line: int = 1) -> str:
    texts = [json.dumps(value) for value in values]
    lines = [", ".join(texts[i : i + a_line]) for i in range(0, len(texts), a_line)]
    return "[\n  " + ",\n  ".join(lines) + "\n]"


if __name__ == "__main__":
    FILE.write_text(make(), encoding="ascii")

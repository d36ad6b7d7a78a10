#!/usr/bin/env python3
"""Makes the font files of this folder from Noto Sans CJK (see README.md).

usage: subset.py FOLDER, where FOLDER has NotoSansCJK-Regular.ttc and NotoSansCJK-Bold.ttc;
needs fonttools.

The regular face has Latin and every character of GBK, so that any Chinese name can be set. The bold
face has Latin and the characters of the words that documents print themselves (src/words.rs).
"""

import pathlib
import sys

from fontTools import subset
from fontTools.ttLib import TTCollection

HERE = pathlib.Path(__file__).parent
SIMPLIFIED_CHINESE = 2  # the place of "Noto Sans CJK SC" in the collections
LATIN = set(range(0x20, 0x250)) | set(range(0x2010, 0x2050)) | {0x20AC, 0x2116, 0x2212, 0x3013}


def gbk():
    found = set()
    for lead in range(0x81, 0xFF):
        for trail in range(0x40, 0xFF):
            try:
                found |= set(map(ord, bytes([lead, trail]).decode("gbk")))
            except UnicodeDecodeError:
                pass
    return found


def printed():
    return {ord(c) for c in (HERE / "../src/words.rs").read_text() if ord(c) > 0x2E7F}


def make(folder, weight, characters):
    source = pathlib.Path(folder) / f"NotoSansCJK-{weight}.ttc"
    font = TTCollection(source).fonts[SIMPLIFIED_CHINESE]
    font.recalcTimestamp = False  # the same bytes whenever it is run
    options = subset.Options()
    options.layout_features = []
    options.hinting = False
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "BASE", "VORG", "vhea", "vmtx", "STAT"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    font.save(HERE / f"NotoSansSC-{weight}.otf")


if __name__ == "__main__":
    make(sys.argv[1], "Regular", LATIN | gbk())
    make(sys.argv[1], "Bold", LATIN | printed())

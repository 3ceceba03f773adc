#!/bin/sh
# Makes the fonts of this directory anew, the same to the byte. It needs Debian 12's fonts-noto-cjk
# (1:20220127+repack1-1) and python3-fonttools (4.38.0). Run it in this directory.
set -eu
fonts=${1:-/usr/share/fonts/opentype/noto}
for weight in Regular Bold; do
  SOURCE_DATE_EPOCH=1643241600 /usr/bin/python3 - "$fonts/NotoSansCJK-$weight.ttc" "AditJapanese-$weight.otf" "$weight" <<'PYTHON'
import sys
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection

source, target, weight = sys.argv[1:]
font = TTCollection(source).fonts[0]  # Japanese
assert font["name"].getDebugName(1).startswith("Noto Sans CJK JP")

# JIS X 0208: rows 1 to 8 (punctuation, kana, symbols) and 16 to 47 (level 1), without what the toolkit's own font draws:
# letters and digits. The space is there, as text takes it from the font of the sign before it.
wanted = set()
for row in [*range(1, 9), *range(16, 48)]:
    for cell in range(1, 95):
        try:
            wanted.add(ord(bytes([0xA0 + row, 0xA0 + cell]).decode("euc_jp")))
        except (UnicodeDecodeError, TypeError):
            pass
wanted |= set(range(0x3000, 0x3100)) | set(range(0xFF01, 0xFFF0))
wanted = {c for c in wanted if c >= 0x2E80} | {0x20, 0xA0}

options = Options()
options.layout_features = ["kern"]
options.hinting = False
options.desubroutinize = False
options.notdef_outline = True
options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 7, 13, 14]
options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "DSIG"]
subset = Subsetter(options)
subset.populate(unicodes=wanted)
subset.subset(font)

# Lines are as high as those of the toolkit's font, Noto Sans (1069 and 293 of 1000): text in two fonts has one baseline,
# and nothing is cut off below.
font["hhea"].ascent, font["hhea"].descent, font["hhea"].lineGap = 1069, -293, 0
for space in (0x20, 0xA0):
    name = font.getBestCmap()[space]
    font["hmtx"][name] = (260, font["hmtx"][name][1])
os2 = font["OS/2"]
os2.sTypoAscender, os2.sTypoDescender, os2.sTypoLineGap, os2.usWinAscent, os2.usWinDescent = 1069, -293, 0, 1069, 293

names = {1: "Adit Japanese", 2: weight, 3: "AditJapanese-" + weight, 4: "Adit Japanese " + weight, 6: "AditJapanese-" + weight}
for record in list(font["name"].names):
    if record.nameID in names:
        font["name"].setName(names[record.nameID], record.nameID, record.platformID, record.platEncID, record.langID)
cff = font["CFF "].cff
cff.fontNames = ["AditJapanese-" + weight]
top = cff.topDictIndex[0]
top.FamilyName, top.FullName = "Adit Japanese", "Adit Japanese " + weight
font.recalcTimestamp = False
font.save(target)
print(target, len(wanted), "characters")
PYTHON
done

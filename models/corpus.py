#!/usr/bin/env python3
"""Writes the training text of the bundled model, from Debian packages.

    apt-get download bible-kjv bible-kjv-text r-cran-janeaustenr
    for p in *.deb; do dpkg -x $p root; done
    corpus.py root corpus.txt [validation.txt]

validation.txt: every 20th document, which `etalon train --valid-every 20` does
not train on.

The King James Bible (1611) and the six novels of Jane Austen (1811-1817), all
in the public domain. A chapter is a document; documents are separated by two
blank lines, paragraphs and verses are one line each.
"""
import re
import struct
import subprocess
import sys
import zlib


def bible(root):
    """Chapters as (heading, verses), by the program that comes with the text."""
    text = subprocess.run(
        [root + "/usr/bin/bible", "-l9999", "-d", root + "/usr/lib/bible.data",
         "gen1:1-rev22:21"],
        check=True, capture_output=True,
        stdin=subprocess.DEVNULL).stdout.decode("latin-1")
    heading, verses = None, []
    for line in text.splitlines():
        verse = re.match(r" +\d+ +(.*)", line)  # "1 Samuel 1" is a heading
        line = line.strip()
        if verse:
            verses.append(verse.group(1))
        elif line:
            if verses:
                yield heading, verses
            heading, verses = line, []
    yield heading, verses


def strings(blob):
    """The character vector in an R serialisation (XDR, version 2 or 3)."""
    at = blob.index(b"\x00\x00\x00\x10")  # STRSXP
    count, = struct.unpack(">i", blob[at + 4:at + 8])
    at += 8
    for _ in range(count):
        length, = struct.unpack(">i", blob[at + 4:at + 8])
        at += 8
        yield blob[at:at + max(length, 0)].decode("utf-8")
        at += max(length, 0)


def novels(root):
    """The novels as lists of lines."""
    base = root + "/usr/lib/R/site-library/janeaustenr/data/Rdata"
    index = zlib.decompress(open(base + ".rdx", "rb").read(), 31)
    data = open(base + ".rdb", "rb").read()
    # The first six integer pairs of the index: offset and length.
    pairs = re.findall(rb"\x00\x00\x00\x0d\x00\x00\x00\x02(.{8})", index, re.S)
    for pair in pairs[:6]:
        offset, length = struct.unpack(">ii", pair)
        yield list(strings(zlib.decompress(data[offset + 4:offset + length])))


def chapters(lines):
    """Documents of a novel: paragraphs unwrapped, cut at chapter headings."""
    document, paragraph = [], []
    for line in lines + [""]:
        line = line.strip()
        if line:
            paragraph.append(line)
            continue
        if not paragraph:
            continue
        joined = re.sub(r"\s+", " ", " ".join(paragraph)).replace("--", " - ")
        joined = re.sub(r" +", " ", joined)
        paragraph = []
        if re.match(r"(chapter|volume)\b", joined, re.I) and len(joined) < 40:
            if len(document) > 1:
                yield document
            document = []
        document.append(joined)
    yield document


def main():
    root = sys.argv[1]
    out = []
    for heading, verses in bible(root):
        out.append(heading + "\n\n" + "\n".join(verses))
    for lines in novels(root):
        for document in chapters(lines):
            out.append("\n\n".join(document))
    for name, documents in zip(sys.argv[2:], (out, out[19::20])):
        text = "\n\n\n".join(documents) + "\n"
        # Plain punctuation, so that few byte pairs are spent on variants.
        for a, b in {"\u2018": "'", "\u2019": "'", "\u201c": '"',
                     "\u201d": '"', "\u2014": " - "}.items():
            text = text.replace(a, b)
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()

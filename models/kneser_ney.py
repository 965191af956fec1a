#!/usr/bin/env python3
"""Bits per byte of an interpolated Kneser-Ney 5-gram model.

    etalon train ... --export-tokens PREFIX
    kneser_ney.py PREFIX VALIDATION_BYTES [ORDER]

Reads PREFIX.train.i32 and PREFIX.valid.i32, the token streams that the neural
model was trained and validated on, so that both predict the same tokens of the
same text. Interpolated modified Kneser-Ney smoothing (Chen, Goodman 1998,
section 3): three discounts per order estimated from the counts of counts,
continuation counts below the highest order, a uniform distribution at the end.
"""
import array
import math
import sys
from collections import defaultdict


def discounts(counts):
    """D1, D2, D3+ of one order, from how many n-grams occur 1 to 4 times."""
    n = [0] * 5
    for c in counts.values():
        if c <= 4:
            n[c] += 1
    if min(n[1:4]) == 0:
        return 0.5, 0.75, 0.75
    y = n[1] / (n[1] + 2 * n[2])
    return tuple(max(0.0, k - (k + 1) * y * n[k + 1] / n[k]) for k in (1, 2, 3))


def train(tokens, order):
    """One table per order: n-gram counts, and per context its sums."""
    levels = []
    counts = defaultdict(int)
    for i in range(len(tokens) - order + 1):
        counts[tuple(tokens[i:i + order])] += 1
    for n in range(order, 0, -1):
        d = discounts(counts)
        context = defaultdict(lambda: [0, 0, 0, 0])
        for gram, c in counts.items():
            entry = context[gram[:-1]]
            entry[0] += c
            entry[min(c, 3)] += 1
        levels.append((counts, dict(context), d))
        lower = defaultdict(int)  # continuation counts: left neighbours
        for gram in counts:
            lower[gram[1:]] += 1
        counts = lower
    return levels[::-1]  # order 1 first


def probability(levels, history, token, n_vocab):
    """Interpolated from the uniform distribution up to the longest context."""
    p = 1.0 / n_vocab
    for n, (counts, context, d) in enumerate(levels, 1):
        if n - 1 > len(history):
            break
        h = history[len(history) - (n - 1):]
        entry = context.get(h)
        if entry is None:
            break  # a context never seen, nor any longer one
        total, n1, n2, n3 = entry
        c = counts.get(h + (token,), 0)
        discount = 0.0 if c == 0 else d[min(c, 3) - 1]
        left = (d[0] * n1 + d[1] * n2 + d[2] * n3) / total
        p = max(c - discount, 0.0) / total + left * p
    return p


def read(path):
    """Little-endian int32."""
    tokens = array.array("i")
    with open(path, "rb") as file:
        tokens.frombytes(file.read())
    if sys.byteorder == "big":
        tokens.byteswap()
    return tokens.tolist()


def main():
    prefix, n_bytes = sys.argv[1], int(sys.argv[2])
    order = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    tokens, valid = read(prefix + ".train.i32"), read(prefix + ".valid.i32")
    n_vocab = max(max(tokens), max(valid)) + 1
    levels = train(tokens, order)
    bits = 0.0
    for i in range(1, len(valid)):
        history = tuple(valid[max(0, i - order + 1):i])
        bits -= math.log2(probability(levels, history, valid[i], n_vocab))
    n = len(valid) - 1
    print(f"order {order}: {bits / n * math.log(2):.5f} nats per token over {n} "
          f"tokens, perplexity {2 ** (bits / n):.2f}, "
          f"{bits / n_bytes:.5f} bits per byte")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Reads golden packs and judges a kernel's outputs. Needs numpy alone; format
and formulas are those of docs/golden-packs.md of Etalon.

    python3 golden.py PACK GOT PROFILE.json [-v]

Exit status 0 all pass, 6 a check failed, 2 pack or profile unusable. As a
module:

    pack = golden.Pack("pack")
    profile = golden.Profile.read("cuda-f32.json")
    for case in pack.cases:
        inputs = case.inputs()                  # name -> array
        verdict = case.judge(profile, {"out": array})
"""
import copy
import hashlib
import json
import math
import os
import re
import sys

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
          "I32": "<i4", "I8": "i1", "U8": "u1"}  # BF16 as its bits
PASS, WARN, FAIL, ERROR, SKIPPED = "pass", "warn", "fail", "error", "skipped"


class Unusable(Exception):
    """A pack, profile or tensor file that is not what it must be."""


class Tensor:
    def __init__(self, dtype, array):
        self.dtype, self.array = dtype, array

    def raw(self):
        return self.array.view("<u2") if self.dtype == "F16" else self.array


def read_safetensors(data):
    """Bytes to name -> Tensor; refuses what does not add up."""
    def need(condition):
        if not condition:
            raise Unusable("not a safetensors file")

    need(len(data) >= 8)
    n = int.from_bytes(data[:8], "little")
    need(n <= len(data) - 8)
    try:
        header = json.loads(data[8:8 + n].decode())
    except (ValueError, RecursionError):
        need(False)
    need(isinstance(header, dict))
    tensors, spans = {}, []
    for name, info in header.items():
        if name == "__metadata__":
            continue
        need(isinstance(info, dict) and info.get("dtype") in DTYPES)
        shape, offsets = info.get("shape"), info.get("data_offsets")
        for counts in (shape, offsets):
            need(isinstance(counts, list) and all(
                type(x) is int and 0 <= x <= 2**53 for x in counts))
        need(len(offsets) == 2 and len(shape) <= 8)
        begin, end = offsets
        dtype = np.dtype(DTYPES[info["dtype"]])
        need(begin <= end <= len(data) - 8 - n)
        need(end - begin == math.prod(shape) * dtype.itemsize)
        need(all(end <= b or e <= begin for b, e in spans))
        spans.append((begin, end))
        raw = data[8 + n + begin:8 + n + end]
        tensors[name] = Tensor(info["dtype"],
                               np.frombuffer(raw, dtype).reshape(shape))
    return tensors


def write_safetensors(path, tensors):
    """name -> array, or Tensor for BF16."""
    names = {np.dtype(v): k for k, v in DTYPES.items() if k != "BF16"}
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        t = t if isinstance(t, Tensor) else Tensor(names[t.dtype], t)
        raw = np.ascontiguousarray(t.array).tobytes()
        header[name] = {"dtype": t.dtype, "shape": list(t.array.shape),
                        "data_offsets": [at, at + len(raw)]}
        blobs.append(raw + bytes(-len(raw) % 8))
        at += len(blobs[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))


# ---- recipes ----

def philox(i, stream, last, seed):
    """Philox4x32-10 at the counters (i, stream, last): four uint64 arrays."""
    i = np.asarray(i, np.uint64)
    low = np.uint64(0xFFFFFFFF)
    c = [i & low, i >> np.uint64(32), np.full_like(i, stream),
         np.full_like(i, last)]
    k = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        a = np.uint64(0xD2511F53) * c[0]
        b = np.uint64(0xCD9E8D57) * c[2]
        c = [b >> np.uint64(32) ^ c[1] ^ np.uint64(k[0]), b & low,
             a >> np.uint64(32) ^ c[3] ^ np.uint64(k[1]), a & low]
        k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
    return c


def _below(w, n):
    return w * np.uint64(n) >> np.uint64(32)


def _bits(x):
    return np.asarray(x, "<f4").view("<u4")


def _normal(w):
    total = sum((x & np.uint64(0xFFFF)) + (x >> np.uint64(16)) for x in w)
    return ((total.astype(np.int64) - 262140) * 2.0**-16).astype("<f4")


def _exp(w0, e):
    exponent = (e.astype(np.int64) + 127).astype("<u4") << np.uint32(23)
    return (w0.astype("<u4") & np.uint32(0x807FFFFF)) | exponent


def _elements(rule, recipe, seed, s, i, n, cols):
    """Elements i as bits of f32, or as int32 values."""
    w = philox(i, s, 0, seed)
    w0 = w[0]
    f = np.float32
    signed = w0.astype(np.int64)
    uniform = (((signed >> 8) - 2**23) * 2.0**-23).astype(f)
    r = i // cols
    if rule == "normal":
        return _bits(_normal(w))
    if rule == "uniform":
        return _bits(uniform)
    if rule == "wide":
        return _exp(w0, _below(w[1], 41).astype(np.int64) - 20)
    if rule == "exact_int":
        return _bits(_below(w0, 17).astype(f) - f(8))
    if rule == "large":
        return _bits(_normal(w) * f(80))
    if rule == "outlier":
        return _bits(_normal(w) * np.where(i % 61 == 7, f(60), f(1)))
    if rule == "offset":
        return _bits((50 + ((signed >> 22) - 512) * 2.0**-16).astype(f))
    if rule == "cancel":
        even = _bits(_normal(philox(i - i % 2, s, 0, seed)) + f(8))
        odd = even ^ (w0 & np.uint64(7)).astype("<u4") ^ np.uint32(1 << 31)
        return np.where(i % 2 == 0, even, odd)
    if rule == "subnormal":
        return w0.astype("<u4") & np.uint32(0x807FFFFF)
    if rule == "tiny":
        return _exp(w0, _below(w[1], 31).astype(np.int64) - 126)
    if rule == "huge":
        return _exp(w0, _below(w[1], 20).astype(np.int64) + 100)
    if rule == "constant":
        return np.full(len(i), 0x3E99999A, "<u4")
    if rule == "zero":
        return w0.astype("<u4") & np.uint32(1 << 31)
    if rule == "ones":
        return _bits(np.ones(len(i), f))
    if rule == "rising":
        return _bits(((r + 1) / 16).astype(f))
    if rule == "falling":
        return _bits(((n // cols - r) / 16).astype(f))
    if rule == "spike":
        at = _below(philox(r, s + 1, 0, seed)[0], cols).astype(np.int64)
        small = _normal(w) * f(2.0**-8)
        return _bits(np.where(i % cols == at, f(64), small))
    if rule == "half_ties":
        x = _below(w0, 252).astype(np.int64) - 126 + 0.5
        return _bits(np.where(i % 32 == 0, 127.0, x))
    if rule == "opposite":
        return _bits(np.select([i % 32 == 3, i % 32 == 17], [f(2), f(-2)],
                               uniform))
    if rule == "positive":
        return _bits((0.5 + (signed >> 9) * 2.0**-23).astype(f))
    if rule == "below":
        return _below(w0, recipe["n"]).astype("<i4").view("<u4")
    if rule == "iota":
        return (recipe["first"] + i).astype("<i4").view("<u4")
    if rule == "values":
        return np.array(recipe["bits"], "<u4")
    raise Unusable(f"unknown recipe {rule}")


# type: bytes of a block, offsets of d and of dmin or m, scales (offset, bytes)
_BLOCKS = {"Q4_0": (18, 0, None, None), "Q4_1": (20, 0, 2, None),
           "Q5_0": (22, 0, None, None), "Q5_1": (24, 0, 2, None),
           "Q8_0": (34, 0, None, None), "Q4_K": (144, 0, 2, (4, 12)),
           "Q5_K": (176, 0, 2, (4, 12)), "Q6_K": (210, 208, None, (192, 16))}


def _blocks(recipe, seed, s, n):
    words = np.stack(philox(np.arange(-(-n // 16)), s, 0, seed), 1)
    data = words.astype("<u4").tobytes()[:n]
    data = np.frombuffer(data, np.uint8).copy()
    if recipe["type"] not in _BLOCKS:
        return data
    size, d, second, scales = _BLOCKS[recipe["type"]]
    variant = recipe.get("variant")
    block = data[:n // size * size].reshape(-1, size)
    j = np.arange(len(block))
    for f, at in enumerate((d, second)):
        if at is None:
            continue
        w = philox(j, s, 1 + f, seed)
        h = (w[0] & np.uint64(0x83FF)) | (np.uint64(5) + _below(w[1], 8)
                                          ) << np.uint64(10)
        h = h.astype("<u2")
        if variant == ("d_zero", "second_zero")[f]:
            h[:] = 0
        if variant == "d_subnormal" and f == 0:
            h &= np.uint16(0x83FF)
        if variant == "d_one":
            h[:] = (0x3C00, 0)[f]
        block[:, at:at + 2] = h.view(np.uint8).reshape(-1, 2)
    if variant == "max_scales" and scales:
        at, count = scales
        block[:, at:at + count] = 127 if count == 16 else 0xFF
    return data


def make(recipe, seed, dtype, shape):
    """The tensor a recipe describes."""
    n = math.prod(shape)
    s = recipe.get("stream", 0)
    if recipe["rule"] == "blocks":
        return Tensor(dtype, _blocks(recipe, seed, s, n).reshape(shape))
    cols = shape[-1] if shape else 1
    bits = _elements(recipe["rule"], recipe, seed, s, np.arange(n), n,
                     max(cols, 1)).astype("<u4")
    if recipe.get("times_log2", 0) != 0:
        with np.errstate(over="ignore"):
            bits = _bits(np.ldexp(bits.view("<f4").astype(float),
                                  recipe["times_log2"]).astype("<f4")).copy()
    bits = bits.copy()
    for i, b in recipe.get("patch", []):
        bits[i] = b
    axis = recipe.get("poison_axis", -1)
    if axis >= 0:
        inner = math.prod(shape[axis + 1:])
        index = np.arange(n) // max(inner, 1) % max(shape[axis], 1)
        bits[index >= recipe.get("poison_from", 0)] = 0x7FC0BEEF
    nan = (bits & np.uint32(0x7FFFFFFF)) > 0x7F800000
    if dtype == "F16":
        with np.errstate(over="ignore"):
            half = bits.view("<f4").astype("<f2").view("<u2").copy()
        half[nan] = 0x7E01
        return Tensor(dtype, half.view("<f2").reshape(shape))
    if dtype == "BF16":
        round_up = np.uint64(0x7FFF) + (bits.astype(np.uint64) >> np.uint64(16)
                                        & np.uint64(1))
        half = (bits + round_up >> np.uint64(16)).astype("<u2")
        half[nan] = 0x7FC1
        return Tensor(dtype, half.reshape(shape))
    return Tensor(dtype, bits.view(DTYPES[dtype]).reshape(shape))


# ---- profiles and bounds ----

class Profile:
    DEFAULTS = dict(
        u=2.0**-24, u_acc=None, lanes=1, fused=False, exp_ulp=1.0,
        exp_ulp_per_x=0.0, div_ulp=0.5, rsqrt_ulp=1.0, f64_norm_sum=False,
        u_in=0.0, in_tiny=0.0, in_max=math.inf, u_p=0.0, u_out=0.0,
        kv_chunk=0, tiny=2.0**-150, angle_rel=0.0, trig_abs=0.0,
        tanh_ulp=2.0, quantized="block", bound_of=None)

    def __init__(self, fields):
        for name in ("name", "source"):
            if not isinstance(fields.get(name), str):
                raise Unusable(f"profile: no {name}")
        if fields.get("etalon_profile") != 1:
            raise Unusable("profile: not a profile")
        values = dict(self.DEFAULTS)
        for key, x in fields.items():
            if key in ("etalon_profile", "name", "source"):
                continue
            if key not in values:
                raise Unusable(f"profile: unknown field {key}")
            if key in ("quantized", "bound_of"):
                good = isinstance(x, str)
            elif isinstance(values[key], bool):
                good = isinstance(x, bool)
            else:
                good = type(x) in (int, float) and x >= 0
            if not good:
                raise Unusable(f"profile: {key} has the wrong type")
            values[key] = x
        self.__dict__.update(values)
        if self.u_acc is None:
            self.u_acc = self.u
        if self.bound_of is None:
            self.bound_of = fields["name"]
        if self.lanes < 1:
            raise Unusable("profile: lanes is below 1")
        if self.quantized not in ("block", "sub_block", "element"):
            raise Unusable("profile: quantized is not known")
        self.statistical = False
        self.e = 2 * self.u * self.exp_ulp
        self.b = 2 * self.u * self.exp_ulp_per_x
        self.div = 2 * self.u * self.div_ulp
        self.e_tiny = (self.exp_ulp + 104 * self.exp_ulp_per_x) * 2.0**-149
        self.inputs = 2 * self.u_in + self.u_in * self.u_in
        self.ftz = self.tiny if self.tiny > 2.0**-127 else 0.0
        self.t_in = 2 * self.in_tiny + self.ftz
        self.unfused = 0 if self.fused else 1

    @staticmethod
    def read(path):
        try:
            with open(path, encoding="utf-8") as f:
                return Profile(json.load(f))
        except (OSError, ValueError, AttributeError) as e:
            raise Unusable(f"{path}: {e}") from e

    def gamma(self, n, v):
        g = n * v / (1 - n * v) if n * v < 1 else math.inf
        return min(g, 6 * math.sqrt(n) * v) if self.statistical else g

    def chain(self, n):
        return min(n, math.ceil(n / self.lanes)
                   + math.ceil(math.log2(self.lanes)))

    def dot(self, n):
        return self.chain(n) + self.unfused


def _kappas(p, bound, case):
    """kappa by number of the magnitude."""
    u, g = p.u, p.gamma
    if bound in ("scales", "stored"):
        return {}
    n = case.extent("logits" if bound == "router_weights" else "x")
    if bound == "gemm_f32":
        return {1: (1 + g(p.dot(n), p.u_acc)) * (1 + p.inputs)
                * (1 + g(2, u)) - 1, 2: u, 3: p.tiny, 4: p.t_in}
    if bound == "gemm_quantized":
        q = max(0.0, p.div_ulp - 0.5)
        k = {2: u, 3: p.tiny, 5: 8 * u * q, 7: 1 if q > 0 else 0}
        sub = 16 if case.params.get("type") == "Q6_K" else 32
        block = 256 if case.params.get("act") == "q8_k" else 32
        if p.quantized == "block":
            k[1] = g(2 * n / block + 4 + p.unfused, u)
        elif p.quantized == "sub_block":
            k[4] = g(2 * n / sub + 6 + p.unfused, u)
        else:
            k[5] += ((1 + g(p.dot(n) + 2, p.u_acc)) * (1 + p.inputs)
                    * (1 + g(2, u)) - 1)
            k[6] = p.t_in
        return k
    if bound == "rms_norm":
        rstd = (u if p.f64_norm_sum else
                g(p.chain(n) + 3, u) / 2 + 2 * u * p.rsqrt_ulp)
        return {1: rstd + 2 * u, 2: p.tiny, 3: p.ftz}
    if bound == "softmax":
        return {1: 2 * p.e + g(p.chain(n) + 1, u) + p.div, 2: u + p.b,
                3: 3 * p.tiny + p.e_tiny}
    if bound == "rope":
        return {1: g(2, u), 2: 6 * p.tiny, 3: p.angle_rel, 4: p.trig_abs}
    if bound == "swiglu":
        return {1: p.e + 88 * p.b, 2: 2 * u + p.div, 3: 1, 4: p.tiny}
    if bound == "add":
        return {1: u, 2: 3 * p.ftz}
    if bound == "scale_rows":
        return {1: u, 2: p.tiny}
    if bound == "router_weights":
        return {1: 4 * p.e + 2 * g(p.chain(n) + 1, u)
                + g(case.params["n_used"] + 1, u) + 3 * p.div + 3 * u,
                2: u + p.b, 3: 4 * p.tiny + p.e_tiny}
    raise Unusable(f"unknown bound {bound}")


def _attention_bound(p, case, y, c, variant, gated):
    u = p.u
    n = case.params["kv_len"]
    if n < 0:
        raise Unusable("kv_len is negative")
    if n == 0:
        return np.zeros_like(y)  # 0 by definition
    r = n if p.kv_chunk == 0 else math.ceil(n / p.kv_chunk)
    r += 1 if variant else 0
    keys = n if p.kv_chunk == 0 else min(n, p.kv_chunk)
    dot = p.dot(case.extent("q"))
    k1 = (1 + p.gamma(dot, p.u_acc)) * (1 + p.inputs) * (1 + u) - 1
    if variant:
        k1 = k1 * np.exp(2 * (k1 * c(14) + p.t_in * c(15)))
    k2 = 2 * u + p.b
    k5 = 2 * u * p.tanh_ulp + u + p.div
    o = c(16) if gated else y
    k3 = (1 + r) * p.e + r * u
    k4 = ((1 + p.gamma(keys + 2 * r + 3 + p.unfused, p.u_acc))
          * (1 + p.u_p) * (1 + p.u_in) - 1)
    delta = (k1 * c(6) + k2 * c(7) + k3 + p.t_in * c(9) + k5 * c(11)
             + u * c(13))
    theta = np.expm1(delta)
    small = theta < 0.5
    t = np.where(small, theta, 0.25)
    first = ((k1 * c(1) + k2 * c(2) + k3 * c(3) + p.t_in * c(8)
              + k5 * c(10) + u * c(12))
             * (t / delta) / (1 - t))
    centred = np.where(small, np.fmin(2 * c(5), first), 2 * c(5))
    values = np.where(small, np.fmin(c(5), c(4) * (1 + 2 * t)), c(5))
    underflow = (p.tiny * n * (4 * c(5) + 2) + p.e_tiny * n * 2 * c(5)
                 + p.in_tiny * (2 * n * c(5) + 2))
    bound = (centred + k4 * (values + o) + (u + p.div + p.u_out) * o
             + underflow) * (1 + 2.0**-19)
    if not gated:
        return bound
    # Times a sigmoid: exp damped by 1 - sigmoid, a sum, a division, a product.
    g = ((p.e + 88 * p.b) * c(18) + 2 * u + p.div
         + np.where(c(17) < float.fromhex("0x1.7p-126"), 1, 0))
    return (bound * (c(17) + 2 * p.tiny) * (1 + g) + g * y
            + p.tiny * (2 + o)) * (1 + 2.0**-19)


# ---- cases ----

class Verdict:
    def __init__(self, status, message="", ratio=0.0, n=0, n_bad=0):
        self.status, self.message = status, message
        self.ratio, self.n, self.n_bad = ratio, n, n_bad


OPS = set("""dequantize embedding quantize_q8_k quantize_q8_0 gemm gemm_swiglu
rms_norm softmax rope swiglu add scale_rows kv_write attention
attention_variant moe_router moe_ffn layer""".split())


class NoBound(Exception):
    """The profile says nothing about a case."""


class Case:
    def __init__(self, pack, entry):
        if not isinstance(entry, dict) or not isinstance(entry.get("op"), str) \
                or not re.fullmatch(r"[a-z0-9_.-]+", str(entry.get("id"))):
            raise Unusable("manifest.json: a case without a proper id and op")
        self.pack, self.entry = pack, entry
        self.id, self.op = entry["id"], entry["op"]
        self.params = entry.get("params", {})
        self._file = None

    def extent(self, name):
        for i in self.entry["inputs"]:
            if i["name"] == name:
                return i["shape"][-1]
        return 0

    def file(self):
        """The case's own tensors."""
        if self._file is None:
            if self.entry.get("kind") == "procedural":
                raise Unusable("no file: a procedural case needs libetalon")
            path = os.path.join(self.pack.path, "cases",
                                self.id + ".safetensors")
            with open(path, "rb") as f:
                data = f.read()
            if hashlib.sha256(data).hexdigest() != self.entry["file_sha256"]:
                raise Unusable("its file has another SHA-256 than the "
                               "manifest says")
            self._file = read_safetensors(data)
        return self._file

    def inputs(self):
        """name -> Tensor, checked against the manifest's SHA-256."""
        result = {}
        for i in self.entry["inputs"]:
            name, dtype, shape = i["name"], i["dtype"], i["shape"]
            if "recipe" in i:
                t = make(i["recipe"], self.entry["seed"], dtype, shape)
            else:
                t = self.file().get(name)
                if t is None or t.dtype != dtype \
                        or list(t.array.shape) != shape:
                    raise Unusable(f"{name}: not in the file with this dtype "
                                   "and shape")
            if hashlib.sha256(t.array.tobytes()).hexdigest() != i["sha256"]:
                raise Unusable(f"{name}: another SHA-256 than the manifest "
                               "says")
            result[name] = t
        return result

    def _bound(self, p, output):
        """|got - y| allowed, flat."""
        name = output["name"]
        f = self.file()
        y = np.abs(f[name + ".y"].array.astype(float).ravel())
        n, shape = y.size, output["shape"]
        bound = output.get("bound", output["judge"])
        if bound == "stored":
            key = f"{name}.bound.{p.bound_of}"
            if key not in f:
                raise NoBound("the case has no bound for this profile")
            stored = f[key].array.astype(float).ravel()
            if stored.size != n:
                raise Unusable("the bound's shape is wrong")
            return stored

        def c(j):
            t = f.get(f"{name}.c{j}")
            if t is None:
                return np.zeros(n)
            x = t.array.astype(float).ravel()
            cols = shape[-1] if shape else 1
            if t.dtype != "F32" or x.size not in (1, n, n // max(cols, 1)):
                raise Unusable("a magnitude's dtype or shape is wrong")
            if x.size == 1:
                return np.repeat(x, n)
            return x if x.size == n else np.repeat(x, cols)

        with np.errstate(all="ignore"):
            if output["judge"] == "scales":
                q = max(0.0, p.div_ulp - 0.5)
                return 8 * p.u * q * y + (c(1) if q > 0 else 0)
            if bound in ("attention", "attention_variant"):
                variant = bound == "attention_variant"
                if variant and f"{name}.c15" not in f:
                    raise Unusable("magnitudes are missing")
                return _attention_bound(p, self, y, c, variant,
                                        variant and f"{name}.c18" in f)
            total = np.zeros(n)
            for j, k in sorted(_kappas(p, bound, self).items()):
                if k != 0:
                    total = total + k * c(j)
            return (total + p.u_out * y) * (1 + (2.0**-19 + 4 * p.e
                                                 + 256 * p.b))

    def _ratios(self, p, output, got, grow=0.0):
        """err / bound of every element; > 1 (or NaN) is wrong."""
        name, judge = output["name"], output["judge"]
        f = self.file()
        want = f[name + ".y"]
        if want.array.size != got.array.size:
            raise Unusable("the case has no value of it")
        if judge == "exact":
            if want.dtype != got.dtype:
                raise Unusable("the value's dtype is wrong")
            same = got.array == want.array
            if got.dtype in ("F32", "F16", "F64"):
                same |= np.isnan(got.array) & np.isnan(want.array)
            if got.dtype == "BF16":
                g, w = got.array & 0x7FFF, want.array & 0x7FFF
                same |= (g > 0x7F80) & (w > 0x7F80) | (g == 0) & (w == 0)
            return np.where(same, 0.0, math.inf).ravel()
        a = got.array.astype(float).ravel()
        y = want.array.astype(float).ravel()
        if judge == "quants":
            margin = f[name + ".margin"].array.astype(float).ravel()
            step = ((np.abs(a - y) == 1)
                    & (margin <= 508 * p.u * (p.div_ulp - 0.5)))
            return np.where(a == y, 0.0, np.where(step, 1.0, math.inf))
        if judge not in ("bound", "scales"):
            raise Unusable("an unknown way of judging")
        with np.errstate(all="ignore"):
            b = self._bound(p, output) + grow
            err = np.abs(a - y)
            r = np.where(err == 0, 0.0, err / b)
            r = np.where(err <= b, r, np.where((b > 0) & (err == err), err / b,
                                               math.inf))
            infinite = np.isinf(y) | np.isinf(a)
            good = np.isinf(a) & ((a < 0) == (y < 0)) & (
                np.isinf(y) | (np.abs(y) + b >= float.fromhex(
                    "0x1.ffffffp127")))
            r = np.where(infinite, np.where(good, 0.0, math.inf), r)
            return np.where(np.isnan(y),
                            np.where(np.isnan(a), 0.0, math.inf), r)

    def _router(self, p, got, verdict):
        """Judges the experts; returns what legal flips add to the bounds."""
        outputs = {o["name"]: o for o in self.entry["outputs"]}
        t = got.get("experts")
        if t is None or t.dtype != "I32" \
                or list(t.array.shape) != outputs["experts"]["shape"]:
            raise Unusable("experts: missing, or of another dtype or shape")
        want = self.file()["experts.y"].array.reshape(t.array.shape)
        margin = self.file()["experts.margin"].array.astype(float).reshape(
            t.array.shape)
        bound = self._bound(p, outputs["weights"]).reshape(t.array.shape)
        same = t.array == want
        known = (t.array >= 0) & (t.array < self.extent("logits"))
        legal = same | known & (margin <= 2 * bound + p.u)
        for k in range(t.array.shape[1]):
            for j in range(k):
                legal[:, k] &= t.array[:, j] != t.array[:, k]
        verdict.n += legal.size
        verdict.n_bad += int((~legal).sum())
        if not legal.all():
            verdict.status, verdict.ratio = FAIL, math.inf
            verdict.message = "experts: a wrong expert"
        grow = np.where(~same & legal, 2 * margin, 0.0).max(axis=1,
                                                            initial=0.0)
        return np.repeat(grow, t.array.shape[1])

    def judge(self, profile, outputs):
        """outputs: name -> array or Tensor. Never raises for bad data."""
        try:
            return self._judge(profile, {
                k: t if isinstance(t, Tensor) else Tensor(
                    next(n for n, d in DTYPES.items()
                         if np.dtype(d) == t.dtype), t)
                for k, t in outputs.items()})
        except NoBound as e:
            return Verdict(SKIPPED, str(e))
        except (Unusable, OSError) as e:
            return Verdict(ERROR, str(e))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError,
                StopIteration, OverflowError) as e:
            return Verdict(ERROR, f"malformed case: {e!r}")

    def _judge(self, p, got):
        if self.op not in OPS:
            raise Unusable(f"{self.op}: unknown op")
        for need in self.entry.get("needs", []):
            if need == "f64_norm_sum" and p.f64_norm_sum \
                    or need == "subnormals" and p.ftz == 0:
                continue
            raise NoBound(f"the profile has not {need}")
        if not self.entry.get("max_in", 0) <= p.in_max:
            raise NoBound("operands beyond the profile's in_max")
        self.inputs()
        self.file()
        v = Verdict(PASS)
        router = self.op == "moe_router"
        grow = self._router(p, got, v) if router else 0.0
        for output in self.entry["outputs"]:
            name = output["name"]
            if router and output["judge"] == "top_k":
                continue
            t = got.get(name)
            if t is None:
                raise Unusable(f"{name}: missing in what was given back")
            if t.dtype != output["dtype"] \
                    or list(t.array.shape) != output["shape"]:
                raise Unusable(f"{name}: another dtype or shape")
            r = self._ratios(p, output, t, grow)
            bad = ~(r <= 1)
            v.n += r.size
            v.n_bad += int(bad.sum())
            worst = float(r.max(initial=0.0))
            v.ratio = worst if not worst <= v.ratio else v.ratio
            if bad.any():
                i = int(np.argmax(np.where(np.isnan(r), math.inf, r)))
                v.status = FAIL
                v.message = (f"{name}[{i}] is {t.array.ravel()[i]!r}, want "
                             f"{self.file()[name + '.y'].array.ravel()[i]!r}")
            if v.status != PASS or output["judge"] != "bound":
                continue
            q = copy.copy(p)
            q.statistical = True
            beyond = int((~(self._ratios(q, output, t, grow) <= 1)).sum())
            if beyond:
                v.status = WARN
                v.message = (f"{name}: {beyond} elements beyond the "
                             "statistical bound")
        return v

    def judge_file(self, profile, folder):
        path = os.path.join(folder, self.id + ".safetensors")
        try:
            with open(path, "rb") as f:
                got = read_safetensors(f.read())
        except OSError:
            got = {}
        except Unusable:
            return Verdict(ERROR, "the output's file is no safetensors file")
        return self.judge(profile, got)


class Pack:
    def __init__(self, path):
        self.path = path
        try:
            with open(os.path.join(path, "manifest.json"), "rb") as f:
                data = f.read()
            with open(os.path.join(path, "SHA256SUMS"),
                      encoding="utf-8") as f:
                sums = dict(reversed(line.split(None, 1)) for line in
                            f.read().splitlines())
            if sums.get("manifest.json") != hashlib.sha256(data).hexdigest():
                raise Unusable("manifest.json: wrong SHA-256")
            manifest = json.loads(data)
            if manifest["etalon_pack"] != 1:
                raise Unusable("unknown pack version")
            self.cases = [Case(self, c) for c in manifest["cases"]]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise Unusable(f"{path}: {e}") from e


def main(args):
    if len(args) < 3:
        print(__doc__, file=sys.stderr)
        return 1
    try:
        pack, profile = Pack(args[0]), Profile.read(args[2])
    except Unusable as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    count = dict.fromkeys((PASS, WARN, FAIL, ERROR, SKIPPED), 0)
    for case in pack.cases:
        v = case.judge_file(profile, args[1])
        case._file = None
        count[v.status] += 1
        if len(args) > 3 or v.status in (FAIL, ERROR):
            print(f"{v.status:7} {case.id} r={v.ratio:.3g} {v.message}")
    print("  ".join(f"{k} {n}" for k, n in count.items()), file=sys.stderr)
    bad = count[FAIL] + count[ERROR]
    return 0 if bad == 0 and count[PASS] + count[WARN] > 0 else 6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

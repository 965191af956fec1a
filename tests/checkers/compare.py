"""usage: compare.py ETALON GOLDEN_CHECK GOLDEN_PY WORK
WORK has pack/ and got/ (right outputs). Three checkers judge those, then
outputs with one wrong thing a case, then packs with one flipped bit."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

ETALON, CHECK_C, CHECK_PY, WORK = sys.argv[1:]
failures = []


def judge(pack, got, profile):
    """Verdict of each case by each checker, and the exit statuses."""
    report = os.path.join(WORK, "report.json")
    if os.path.exists(report):
        os.remove(report)
    path = os.path.join(WORK, "pack", "profiles", profile + ".json")
    verdicts, codes = [], []
    run = subprocess.run(
        [ETALON, "golden", "check", pack, "--got", got, "--profile", profile,
         "--json", report, "-t", "1"], capture_output=True, text=True)
    codes.append(run.returncode)
    cases = []
    if os.path.exists(report):
        with open(report, encoding="utf-8") as f:
            cases = json.load(f)["cases"]
    verdicts.append({c["id"]: c["status"] for c in cases})
    for command in ([CHECK_C], [sys.executable, CHECK_PY]):
        run = subprocess.run(command + [pack, got, path, "-v"],
                             capture_output=True, text=True)
        codes.append(run.returncode)
        if run.returncode not in (0, 2, 6):
            failures.append(f"{command}: exit {run.returncode}: "
                            f"{run.stderr[-2000:]}")
        lines = [line.split() for line in run.stdout.splitlines()]
        verdicts.append({w[1]: w[0] for w in lines if len(w) > 1})
    return verdicts, codes


def compare(name, pack, got, profile, never_pass=()):
    (ours, c, py), codes = judge(pack, got, profile)
    if len(set(codes)) != 1:
        failures.append(f"{name}: exit statuses {codes}")
    ids = set(ours) | set(c) | set(py)
    for i in sorted(ids):
        three = (ours.get(i), c.get(i), py.get(i))
        if len(set(three)) != 1:
            failures.append(f"{name}: {i}: etalon, golden.h, golden.py say "
                            f"{three}")
        if i in never_pass and three[0] in ("pass", "warn"):
            failures.append(f"{name}: {i}: {never_pass[i]} passes")
    count = {s: list(ours.values()).count(s) for s in set(ours.values())}
    print(f"{name}: {len(ids)} cases, exit {codes[0]}, {count}")
    return ours, codes


def header_of(data):
    n = int.from_bytes(data[:8], "little")
    return n, json.loads(data[8:8 + n])


def rebuild(header, body):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def mutate(kind, data):
    """A wrong version of an output file; None where the kind does not apply."""
    n, header = header_of(data)
    body = data[8 + n:]
    name = next(iter(header))
    info = header[name]
    begin, end = info["data_offsets"]
    if kind == "empty file":
        return b""
    if kind == "seven bytes":
        return data[:7]
    if kind == "short":
        return data[:-8] if end > begin else None
    if kind == "header beyond the file":
        return (2**62).to_bytes(8, "little") + data[8:]
    if kind == "garbage header":
        return data[:8] + b"\xff" * n + body
    if kind == "deep header":
        return (100000).to_bytes(8, "little") + b"[" * 100000 + body
    if kind == "no tensor":
        return rebuild({}, b"")
    if kind == "wrong dtype":
        other = {"F32": "I32", "I32": "F32", "I8": "U8", "F16": "BF16"}
        info["dtype"] = other[info["dtype"]]
        return rebuild(header, body)
    if kind == "wrong shape":
        info["shape"] = info["shape"] + [1]
        return rebuild(header, body)
    if kind == "offsets beyond":
        info["data_offsets"] = [begin + 2**40, end + 2**40]
        return rebuild(header, body)
    if kind == "negative extent":
        info["shape"] = [-1] + info["shape"]
        return rebuild(header, body)
    size = {"F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I8": 1}[info["dtype"]]
    if end == begin:
        return None
    at = 8 + n + begin + (end - begin) // size // 2 * size
    value = data[at:at + size]
    if kind in ("nan", "inf", "huge"):
        if info["dtype"] != "F32":
            return None
        new = {"nan": b"\x00\x00\xc0\x7f", "inf": b"\x00\x00\x80\x7f",
               "huge": b"\xff\xff\x7f\x7f"}[kind]
        exponent = value[3] & 0x7F == 0x7F and value[2] & 0x80
        if exponent:  # the value is special itself: that may be right
            return None
        return data[:at] + new + data[at + size:]
    if kind == "high bit":
        if info["dtype"] == "F32" and (value[3] & 0x7F) < 0x28:
            return None  # so small that a flip may stay within the bound
        high = at + size - 1
        return data[:high] + bytes([data[high] ^ 0x40]) + data[high + 1:]
    raise ValueError(kind)


def without_length(pack, kind):
    """Spoils kv_len in a pack's manifest, and sums it anew; ids of the cases."""
    path = os.path.join(pack, "manifest.json")
    with open(path, "rb") as f:
        before = f.read()
    new = b'"kv_len":-1' if kind == "-1" else b'"kv_length":1'
    after = re.sub(rb'"kv_len":\d+', new, before)
    with open(path, "wb") as f:
        f.write(after)
    sums = os.path.join(pack, "SHA256SUMS")
    with open(sums, encoding="utf-8") as f:
        text = f.read()
    old = hashlib.sha256(before).hexdigest()
    if text.count(old) != 1:
        failures.append("SHA256SUMS does not have the manifest once")
    with open(sums, "w", encoding="utf-8") as f:
        f.write(text.replace(old, hashlib.sha256(after).hexdigest()))
    return [c["id"] for c in json.loads(before)["cases"]
            if "kv_len" in c["params"]]


KINDS = ["empty file", "seven bytes", "short", "header beyond the file",
         "garbage header", "deep header", "no tensor", "wrong dtype",
         "wrong shape", "offsets beyond", "negative extent", "nan", "inf",
         "huge", "high bit", "missing"]


def main():
    pack, got = os.path.join(WORK, "pack"), os.path.join(WORK, "got")
    for profile in ("cpu-strict", "cuda-f32", "vulkan", "f16-tensor"):
        _, codes = compare(f"right outputs, {profile}", pack, got, profile)
        if codes[0] != 0:
            failures.append(f"{profile}: right outputs fail")

    # One kind a case, and every kind with every op in turn.
    files = sorted(os.listdir(got))
    for turn in range(4):
        wrong = os.path.join(WORK, "wrong")
        shutil.copytree(got, wrong)
        kinds = {}
        for i, file in enumerate(files):
            kind = KINDS[(i * 5 + turn * 4) % len(KINDS)]
            path = os.path.join(wrong, file)
            with open(path, "rb") as f:
                data = f.read()
            new = None if kind == "missing" else mutate(kind, data)
            if kind == "missing":
                os.remove(path)
            elif new is None:
                continue
            else:
                with open(path, "wb") as f:
                    f.write(new)
            kinds[file.removesuffix(".safetensors")] = kind
        compare(f"wrong outputs {turn}", pack, wrong, "cpu-strict", kinds)
        shutil.rmtree(wrong)

    # One flipped bit in every case file is noticed: none passes.
    flipped = os.path.join(WORK, "flipped")
    shutil.copytree(pack, flipped)
    kinds = {}
    for i, file in enumerate(sorted(os.listdir(os.path.join(pack, "cases")))):
        path = os.path.join(flipped, "cases", file)
        with open(path, "rb") as f:
            data = bytearray(f.read())
        data[(i * 977 + 13) % len(data)] ^= 1 << (i % 8)
        with open(path, "wb") as f:
            f.write(data)
        kinds[file.removesuffix(".safetensors")] = "a flipped bit in its file"
    compare("flipped bits in cases", flipped, got, "cpu-strict", kinds)
    shutil.rmtree(flipped)

    # In the manifest: the pack is unusable.
    shutil.copytree(pack, flipped)
    with open(os.path.join(pack, "manifest.json"), "rb") as f:
        data = bytearray(f.read())
    data[len(data) // 2] ^= 1
    with open(os.path.join(flipped, "manifest.json"), "wb") as f:
        f.write(data)
    _, codes = compare("flipped bit in the manifest", flipped, got,
                       "cpu-strict")
    if codes != [2, 2, 2]:
        failures.append(f"flipped bit in the manifest: exit {codes}, want 2")

    # A case whose cache has no length, or one below 0, is an error, though every
    # sum is right.
    for kind in ("-1", "missing"):
        shutil.copytree(pack, os.path.join(WORK, "length"))
        spoilt = without_length(os.path.join(WORK, "length"), kind)
        ours, codes = compare(f"kv_len {kind}", os.path.join(WORK, "length"),
                              got, "cpu-strict")
        taken = [i for i in spoilt if ours.get(i) != "error"]
        if not spoilt or taken:
            failures.append(f"kv_len {kind}: no error in {taken} of "
                            f"{len(spoilt)} cases")
        if codes[0] != 6:
            failures.append(f"kv_len {kind}: exit {codes}, want 6")
        shutil.rmtree(os.path.join(WORK, "length"))

    for failure in failures[:40]:
        print("FAILED", failure)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


sys.exit(main())

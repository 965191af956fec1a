#!/usr/bin/env python3
"""usage: reference_mutants.py BUILD

Plants one fault after the other in the sources of reference/, links it before
the library into etalon_second_oracle and runs that: every mutant must be seen.
Prints the table of docs/mutants.md. Exit 1: one survives, or does not compile.
"""
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

# file of reference/, text that occurs exactly once, what stands there instead
MUTANTS = [
    ("rms_norm.cc",
     "std::sqrt(sum / static_cast<double>(row.size()) + eps)",
     "(std::sqrt(sum / static_cast<double>(row.size())) + eps)",
     "eps outside the root"),
    ("rms_norm.cc", "static_cast<double>(v) * static_cast<double>(v)",
     "static_cast<double>(v * v)", "squares rounded to f32"),
    ("rms_norm.cc", "static_cast<double>(row.size()) + eps",
     "static_cast<double>(row.size() + 1) + eps", "mean over n + 1"),
    ("rms_norm.cc", "std::abs(rstd * w)", "std::abs(rstd)",
     "c3 without the weight"),
    ("softmax.cc", "v = Exp(v - max);",
     "v = Exp(static_cast<double>(static_cast<float>(v - max)));",
     "difference rounded to f32"),
    ("softmax.cc", "row) v /= sum;", "row) v /= sum + 1e-10;",
     "1e-10 added to the sum"),
    ("softmax.cc", "p[i] * (distance(i) + mean_distance)",
     "p[i] * distance(i)", "c2 without the mean"),
    ("softmax.cc", "p[i] == 0.0 ? 0.0 : max", "p[i] == 0.0 ? 0.0 : 0.0",
     "c2 measured from 0"),
    ("rope.cc", "x0 * cos - x1 * sin", "x0 * cos + x1 * sin", "sign of sine"),
    ("rope.cc", "split ? i + half", "split ? i + x.head_dim / 2",
     "halves of the head, not of the rotated lanes"),
    ("rope.cc", "args.sin.row(pos)[i]", "args.sin.row(pos)[i / 2]",
     "sine of another pair"),
    ("rope.cc", "std::abs(x0 * sin) + std::abs(x1 * cos)",
     "std::abs(x0 * sin + x1 * cos)", "c1 with cancellation"),
    ("exp.cc", "int k = 15", "int k = 8", "series too short"),
    ("exp.cc", "(x - n * kLn2Hi) - n * kLn2Lo",
     "x - n * kLn2Hi", "low part of ln 2 left out"),
    ("elementwise.cc", "Exp(-g)", "Exp(-g * (1.0 + 1e-9))",
     "gate off by 1e-9"),
    ("elementwise.cc", "std::isinf(e) ? 1.0 : e / (1.0 + e)", "1.0",
     "c1 of swiglu without 1 - sigmoid"),
    ("elementwise.cc", "oracle.value.push_back(a[i] + b[i])",
     "oracle.value.push_back(static_cast<double>(static_cast<float>(a[i] + "
     "b[i])))", "sum rounded to f32"),
    ("elementwise.cc",
     "static_cast<double>(v) * static_cast<double>(args.scale[r]);",
     "static_cast<double>(v * args.scale[r]);", "product rounded to f32"),
    ("attention_values.cc", "values.x[j] += w * std::abs(v[j]);",
     "values.x[j] += w * v[j];", "c4 signed"),
    ("attention_values.cc",
     "std::abs(v[j] - out.x[j]);\n      a.x[j] +=",
     "std::abs(v[j]);\n      a.x[j] +=", "c1, c2, c3, c8 not centred"),
    ("attention_values.cc", "sum.x[j] += w *", "sum.x[j] += (1 + 1e-9) * w *",
     "weights off by 1e-9"),
    ("attention_scores.cc", "args.causal ? pos + 1", "args.causal ? pos + 2",
     "a key of the future"),
    ("attention_scores.cc", "args.kv_len - q.n_tokens + x.token;", "x.token;",
     "position of the query ignored"),
    ("attention_scores.cc", "scale * products.s[p - products.begin];",
     "static_cast<double>(static_cast<float>(scale * products.s[p - "
     "products.begin]));", "scores rounded to f32"),
    ("attention_scores.cc",
     "std::abs(scale) * products.a[p - products.begin]", "std::abs(s)",
     "c1 with cancellation"),
    ("gemm.cc", "w = w.cast<float>().cast<double>();", "",
     "weights not rounded to f32"),
    ("gemm.cc", "y[Index(m)] * Scale(part) + Bias(part, n)",
     "(y[Index(m)] + Bias(part, n)) * Scale(part)", "bias scaled"),
    ("gemm.cc", "sum += w.d[b] * d_x * s;",
     "sum += static_cast<double>(static_cast<float>(w.d[b] * d_x)) * s;",
     "scales' product rounded to f32"),
    ("gemm.cc", "sum += w.c[b] * d_x * t;", "sum -= w.c[b] * d_x * t;",
     "sign of the minimum"),
    ("gemm.cc", "sums.elements += weight * x;", "sums.elements += x;",
     "c5 without the weights"),
    ("gemm.cc", "std::abs(d * w.w[at] + c * w.m[at])",
     "std::abs(d * w.w[at])", "c5 without the minimum"),
    ("formats.cc", "i < kQk / 2 ? qs[i] & 15 : qs[i - kQk / 2] >> 4",
     "(qs[i / 2] >> (4 * (i % 2))) & 15", "neighbours share a byte"),
    ("formats.cc", "((scales[s - 4] >> 6) << 4)",
     "((scales[s - 4] >> 6) << 3)", "high bits of a scale"),
    ("formats.cc", "((scales[s] >> 6) << 4)", "0",
     "high bits of a minimum"),
    ("formats.cc", "Nibble(b.qs, i) - 8", "Nibble(b.qs, i) - 7",
     "offset of Q4_0"),
    ("formats.cc", "(b.qh[i % 32] >> (i / 32)) & 1",
     "(b.qh[i % 32] >> (7 - i / 32)) & 1", "fifth bits in reverse"),
    ("formats.cc", "quarter * 2 + l / 16", "quarter * 2 + l / 32",
     "scales of Q6_K by 32"),
    ("formats.cc", "std::ldexp(mantissa, -24)", "0.0",
     "subnormal scales lost"),
    ("quantize.cc", "std::abs(v) > std::abs(best)",
     "std::abs(v) >= std::abs(best)", "the last of equal magnitudes"),
    ("quantize.cc", "std::nearbyint(scaled)", "std::round(scaled)",
     "halves away from 0"),
    ("quantize.cc", "row.d.push_back(1.0f / iscale);",
     "row.d.push_back(-max / 127.0f);", "d from the maximum"),
    ("quantize.cc", "0x1p-120f", "0x1p-60f", "small blocks are zero"),
    ("golden/ops_router.cc", "logits[a] > logits[b]",
     "logits[a] != logits[b] ? logits[a] > logits[b] : a > b", "ties to the higher index"),
    ("golden/ops_router.cc", "pk / sum * scale", "pk / sum",
     "scale of the weights ignored"),
]


def compile_command(build, path):
    with open(os.path.join(build, "compile_commands.json"),
              encoding="utf-8") as f:
        for entry in json.load(f):
            if entry["file"] == path:
                return entry["directory"], shlex.split(entry["command"])
    raise SystemExit(f"{path} is not compiled in {build}")


def library(build, name):
    for folder, _, files in os.walk(build):
        if name in files:
            return os.path.join(folder, name)
    raise SystemExit(f"{name} is not in {build}")


def run(build, scratch, number, mutant):
    file, old, new, _ = mutant
    path = os.path.join(ROOT, "reference", file)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if text.count(old) != 1:
        return "stale"
    stem = os.path.join(scratch, str(number))
    with open(stem + ".cc", "w", encoding="utf-8") as f:
        f.write(text.replace(old, new))
    directory, command = compile_command(build, path)
    # Quicker to compile; a variable that a fault leaves unused is no error.
    command = [a for a in command if not a.startswith("-W")] + ["-w", "-O1"]
    command[command.index("-o") + 1] = stem + ".o"
    command[command.index(path)] = stem + ".cc"
    link = [command[0], "-o", stem,
            library(build, "second_oracle_main.cc.o"), stem + ".o",
            library(build, "libetalon_second_oracle_lib.a"),
            library(build, "libetalon_golden.a"),
            library(build, "libetalon_reference.a"), "-lfmt"]
    for step in (command, link):
        done = subprocess.run(step, cwd=directory, check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            return "does not compile: " + done.stderr[:300]
    done = subprocess.run([stem], check=False, capture_output=True, text=True)
    os.remove(stem)
    if done.returncode == 0:
        return "survives"
    return "crash" if done.returncode < 0 else done.stdout.split(":")[0]


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            seen = list(pool.map(
                lambda i: run(build, scratch, i, MUTANTS[i]),
                range(len(MUTANTS))))
    bad = [s for s in seen
           if s in ("survives", "stale") or s.startswith("does not")]
    print("\n## Mutants of the reference\n")
    print(f"{len(MUTANTS)} faults planted in `reference/` itself, each compiled "
          f"and compared with a second\noracle (`tests/golden/second_oracle.cc`:"
          f" long double, plain loops) on the smoke suite:\nvalues within "
          f"2^-20 of the bound, magnitudes to the last bit stored.\n"
          f"{len(MUTANTS) - len(bad)} of {len(MUTANTS)} are seen. Not among "
          f"them: ln 2 in one piece in `exp.cc`, an error of\n2^-46, below what "
          f"is compared.\n")
    print("| file | fault | first case that shows it |\n| --- | --- | --- |")
    for (file, _, _, what), case in zip(MUTANTS, seen):
        print(f"| {file} | {what} | {case} |")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

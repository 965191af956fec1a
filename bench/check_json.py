"""Runs a benchmark of a google-benchmark program and checks the fields of its
JSON that google-benchmark's compare.py and scripts like it read.

    check_json.py PROGRAM FILTER
"""
import json
import subprocess
import sys

program, pattern = sys.argv[1:]
text = subprocess.run(
    [program, "--benchmark_filter=" + pattern, "--benchmark_format=json",
     "--benchmark_min_time=0.001", "--benchmark_repetitions=2"],
    check=True, stdout=subprocess.PIPE, timeout=60).stdout
result = json.loads(text)
for field in ("date", "num_cpus", "etalon_version", "cpu_model"):
    assert result["context"][field], field
rows = result["benchmarks"]
assert len(rows) >= 2, "no figures"
for row in rows:
    assert not row.get("error_occurred"), row.get("error_message")
    assert row["run_type"] in ("iteration", "aggregate")
    for field, kind in (("name", str), ("run_name", str), ("time_unit", str),
                        ("real_time", (int, float)),
                        ("cpu_time", (int, float)), ("repetitions", int),
                        ("iterations", int)):
        assert isinstance(row[field], kind), (field, row)
    if row["run_type"] == "iteration":
        assert row["real_time"] > 0 and row["repetition_index"] in (0, 1)

"""benchmarks/gpu.py: limits, broken checks, and what its checks make of their measurements."""

import gzip
import json
import time

import pytest
from benchmark_scripts import benchmark

gpu = benchmark("gpu")
checks = benchmark("gpu_checks")
resume = benchmark("gpu_resume")
trace = benchmark("gpu_trace")
results = benchmark("results")
FAST = {"rate": 40.0, "computed": 8e12, "seconds": 1.0, "steps": 10, "memory": 1e9}
SLOW = {**FAST, "rate": 2.0}


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Replace the script of the checks by one of these lines."""

    def write(text):
        (tmp_path / "gpu_checks.py").write_text(text)
        monkeypatch.setattr(gpu, "HERE", tmp_path)

    return write


def run(limit=30.0, left=100.0):
    return gpu.run(gpu.Check("one", limit), {"data": "/nowhere", "tiny": False}, left)


def test_a_check_ends_with_its_lines_and_numbers(script):
    script("import json\nprint('a line')\nprint(json.dumps({'passed': True, 'n': 1}))")
    one = run()
    assert (one.status, one.lines, one.found["n"]) == ("passed", ["a line"], 1)


@pytest.mark.parametrize(
    "text", ["raise SystemExit('broken')", "print('{\"passed\": false}')"], ids=["error", "result"]
)
def test_a_check_that_breaks_or_finds_a_fault_has_failed(script, text):
    script(text)
    assert run().status == "failed"


def test_a_check_is_killed_at_its_limit_with_its_children(script, tmp_path):
    child = f"import time; time.sleep(3); open({str(tmp_path / 'late')!r}, 'w')"
    script(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])")
    began = time.monotonic()
    assert run(limit=1.0).status == "timed out"
    assert time.monotonic() - began < 3
    time.sleep(3)
    assert not (tmp_path / "late").exists()


def test_a_check_without_time_is_not_started(script):
    script("raise SystemExit('started')")
    assert run(left=gpu.LEAST - 1).status == "no time"


def test_the_table_has_a_row_for_each_check():
    rows = [gpu.Outcome("peak", "passed", 3.0, [], {"summary": "fast"})]
    rows.append(gpu.Outcome("trace", "no time", 0.0, [], {}))
    lines = gpu.table(rows).splitlines()[2:]
    assert [line.split()[:2] for line in lines] == [["peak", "passed"], ["trace", "no"]]


def test_every_check_has_a_function():
    assert {check.name for check in gpu.CHECKS} == set(checks.CHECKS)


def test_targets_of_a_gpu():
    rows = {"ours bfloat16": FAST, "torch float32": SLOW, "torch bfloat16 compiled": FAST}
    lines = checks.judged(rows, 10e12, {"device": "cuda", "batch": 64})
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["met", "missed", "met"]
    assert checks.judged(rows, 10e12, {"device": "cpu", "batch": 64}) == []


def test_a_contender_that_broke_is_shown_and_left_out():
    rows = {"ours bfloat16": FAST, "torch float32": {"error": "first\nno such device"}}
    assert "no such device" in checks.described("torch", rows["torch float32"], None)
    assert "torch" not in checks.speeds(rows)
    assert checks.judged(rows, None, {"device": "cuda", "batch": 16}) == []


def test_results_are_members_files_by_content(tmp_path):
    for name, text in {
        "members/m0/a.parquet": "1",
        "members/m0/log.txt": "2",
        "x.parquet": "3",
    }.items():
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = resume.results_below(tmp_path)
    assert list(before) == ["run/members/m0/a.parquet"]
    (tmp_path / "run/members/m0/a.parquet").write_text("other")
    assert resume.results_below(tmp_path) != before


@pytest.mark.parametrize("card", [True, False])
def test_the_heaviest_kernels_are_those_of_the_card(tmp_path, card):
    events = [
        {"name": "process_name", "pid": 1, "ph": "M", "args": {"name": "/device:GPU:0"}},
        {"name": "matmul", "pid": 1, "ph": "X", "dur": 3, "args": {}},
        {"name": "norm", "pid": 1, "ph": "X", "dur": 1, "args": {}},
        {"name": "host", "pid": 2, "ph": "X", "dur": 12, "args": {}},
        {"name": "python", "pid": 2, "ph": "X", "dur": 50},
    ]
    file = tmp_path / "perfetto_trace.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"traceEvents": events[not card :]}).encode()))
    assert trace.newest_trace(tmp_path) == file
    found = trace.heaviest(file)
    wanted = {"matmul": 0.75, "norm": 0.25}
    assert found == (wanted if card else {"host": 0.75, "matmul": 0.1875, "norm": 0.0625})


def test_a_target_that_was_not_measured_is_neither_met_nor_missed():
    assert results.target("a", "1", None, True) == "target a: wanted 1, not measured"
    assert results.target("a", "1", 2, False).endswith("measured 2: missed")


def test_saved_results_have_their_environment(tmp_path):
    results.save(
        tmp_path / "deep" / "a.json", results.machine("numpy", "no-such-package"), rows=[1]
    )
    saved = json.loads((tmp_path / "deep" / "a.json").read_text())
    assert saved["rows"] == [1]
    assert saved["environment"]["no-such-package"] is None
    assert saved["environment"]["numpy"]

"""Times `coppice upcycle` against copying its result with `cp --reflink=never`, both ending synced, and prints the ratio of the medians.

Usage: `python compare_upcycle.py --coppice target/release/coppice --model DIR --folder SCRATCH [--rounds 3] [--experts 8]
[--jobs 1 2]`

With `--jobs` each round times the conversion by each of these numbers of jobs; without, by the default number. Also prints the peak memory
of the conversion and the load of the machine before each round. The real size (1.6B in bf16 to 8 experts) writes 15 GB twice, so below 40 GB of free disk
the comparison is skipped with a sentence. Both results are removed after each round.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

NEEDED = 40e9


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of a command and the sync after it."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sync"], check=True)
    return time.perf_counter() - start


def peak_mib(command: list[str]) -> tuple[float, float]:
    """Seconds as above, and the peak resident memory of the command in MiB."""
    told = f"import resource,subprocess,sys; subprocess.run({command!r}, check=True, stdout=subprocess.DEVNULL); " \
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    start = time.perf_counter()
    printed = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True).stdout
    subprocess.run(["sync"], check=True)
    return time.perf_counter() - start, float(printed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--jobs", type=int, nargs="+")
    options = parser.parse_args()
    free = shutil.disk_usage(options.folder).free
    if free < NEEDED:
        print(f"SKIPPED: {options.folder} has {free / 1e9:.0f} GB free, the comparison needs {NEEDED / 1e9:.0f}")
        return
    print(json.dumps(compared(options)))


def compared(options: argparse.Namespace) -> dict:
    """Every round, and the medians of each number of jobs beside that of `cp`."""
    made, copied = options.folder / "upcycled", options.folder / "copied"
    convert = [options.coppice, "upcycle", "--model", options.model, "--output", str(made), "--experts", str(options.experts), "--no-report"]
    rounds = []
    for _ in range(options.rounds):
        entry = {"load": os.getloadavg()[0], "upcycle": {}}
        for jobs in options.jobs or [None]:
            shutil.rmtree(made, ignore_errors=True)
            entry["upcycle"][jobs or "default"] = peak_mib(convert + (["--jobs", str(jobs)] if jobs else []))
        entry["cp"] = seconds(["cp", "--reflink=never", "-r", str(made), str(copied)])
        shutil.rmtree(made)
        shutil.rmtree(copied)
        rounds.append(entry)
    theirs = statistics.median(entry["cp"] for entry in rounds)
    return {"cp_seconds": theirs, "upcycle": {jobs: medians(rounds, jobs, theirs) for jobs in rounds[0]["upcycle"]}, "rounds": rounds}


def medians(rounds: list[dict], jobs: int | str, theirs: float) -> dict:
    ours, peak = (statistics.median(column) for column in zip(*(entry["upcycle"][jobs] for entry in rounds)))
    return {"seconds": ours, "speed": theirs / ours, "peak_mib": peak}


if __name__ == "__main__":
    main()

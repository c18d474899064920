"""Times `coppice upcycle` against copying its result with `cp --reflink=never`, both ending synced, and prints the ratio of the medians.

Usage: `python compare_upcycle.py --coppice target/release/coppice --model DIR --folder SCRATCH [--rounds 3] [--experts 8]`

Also prints the peak memory of the conversion. The real size (1.6B in bf16 to 8 experts) writes 15 GB twice, so below 40 GB of free disk
the comparison is skipped with a sentence. Both results are removed after each round.
"""

import argparse
import json
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
    options = parser.parse_args()
    free = shutil.disk_usage(options.folder).free
    if free < NEEDED:
        print(f"SKIPPED: {options.folder} has {free / 1e9:.0f} GB free, the comparison needs {NEEDED / 1e9:.0f}")
        return
    made, copied = options.folder / "upcycled", options.folder / "copied"
    convert = [options.coppice, "upcycle", "--model", options.model, "--output", str(made), "--experts", str(options.experts), "--no-report"]
    rounds = []
    for _ in range(options.rounds):
        ours, peak = peak_mib(convert)
        theirs = seconds(["cp", "--reflink=never", "-r", str(made), str(copied)])
        shutil.rmtree(made)
        shutil.rmtree(copied)
        rounds.append((ours, theirs, peak))
    ours, theirs, peak = (statistics.median(column) for column in zip(*rounds))
    print(json.dumps({"upcycle_seconds": ours, "cp_seconds": theirs, "speed": theirs / ours, "peak_mib": peak, "rounds": rounds}))


if __name__ == "__main__":
    main()

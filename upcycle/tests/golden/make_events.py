"""Writes `events.tfevents`: an event file as torch.utils.tensorboard writes it.

Usage: `python make_events.py` with torch 2.11 and tensorboard 2.21. The values stand in `tests/tensorboard.rs` too, which encodes them with
the trainer's writer and compares the decoded messages. `python make_events.py check FOLDER` prints as JSON what TensorBoard's own
event_accumulator reads in a folder.
"""

import json
import pathlib
import shutil
import sys
import tempfile

SHARES = [0.75, 0.0, 0.25]


def write() -> None:
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder, purge_step=7)
        writer.add_scalar("train/loss", 1.5, 7)
        writer.add_scalar("train/learning_rate", 0.1, 300)
        # One bar an expert: sum and sum of squares of the indices, weighted by the shares.
        writer.add_histogram_raw(
            "expert_load/layer_03", min=-0.5, max=2.5, num=1.0, sum=0.5, sum_squares=1.0, bucket_limits=[0.5, 1.5, 2.5], bucket_counts=SHARES,
            global_step=300)
        writer.close()
        (file,) = pathlib.Path(folder).iterdir()
        shutil.copy(file, pathlib.Path(__file__).with_name("events.tfevents"))


def check(folder: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(folder, size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]}
    histograms = {tag: [[e.step, list(e.histogram_value.bucket_limit), list(e.histogram_value.bucket)] for e in events.Histograms(tag)]
                  for tag in tags["histograms"]}
    print(json.dumps({"scalars": scalars, "histograms": histograms}, indent=1))


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["check"] else write()

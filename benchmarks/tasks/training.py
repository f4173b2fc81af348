"""S3 or a local folder → batches of PyTorch's loader."""

from typing import Final

from benchmarks.model import NEAR, Aim, Contestant, Task
from benchmarks.tasks.reading import PACKS

ENVIRONMENT: Final = "framecache-torch"
JOBS: Final = "torch_frames"

BATCH: Final = Contestant("batch()", "limit", f"{JOBS}:batch_locally", environment=ENVIRONMENT)
OBJECTS: Final = Contestant(
    "dataset of objects, boto3",
    "peer",
    f"{JOBS}:load_objects",
    [{"processes": count} for count in (2, 8)],
    environment=ENVIRONMENT,
)


def ours(name: str, layout: str, order: str, *, kind: str = "ours") -> Contestant:
    settings = {"layout": layout, "order": order}
    return Contestant(
        name,
        "ours" if kind == "ours" else "limit",
        f"{JOBS}:load",
        [settings | {"processes": count} for count in (2, 8)],
        environment=ENVIRONMENT,
        after=PACKS if layout == "packs" else None,
    )


SEQUENTIAL: Final = ours("FrameDataset, in order", "packs", "sequential", kind="limit")

TASKS: Final = (
    Task(
        "torch-local",
        "Local folder → batches of 32 in a DataLoader without workers",
        (
            BATCH,
            Contestant("FrameDataset", "ours", f"{JOBS}:load_locally", environment=ENVIRONMENT),
        ),
        (Aim("of batch()", at_least=0.90, against=(BATCH.name,)),),
    ),
    Task(
        "torch-shuffled",
        "S3 → shuffled batches of 32 in a DataLoader, 30 ms",
        (
            OBJECTS,
            ours("FrameDataset", "objects", "shuffled"),
            ours("FrameDataset, packs", "packs", "shuffled"),
        ),
        (Aim("a dataset of objects read by boto3", at_least=1.5, against=(OBJECTS.name,)),),
        NEAR,
    ),
    Task(
        "torch-blocks",
        "S3 → batches of 32 in a DataLoader, packs, shuffled in blocks, 30 ms",
        (SEQUENTIAL, ours("BlockSampler", "packs", "blocks")),
        (Aim("of the order of the frames", at_least=0.85, against=(SEQUENTIAL.name,)),),
        NEAR,
    ),
)

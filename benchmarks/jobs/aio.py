"""aioboto3: many GETs on one event loop, decoded on threads."""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aioboto3
import simplejpeg
from botocore.config import Config

from benchmarks.contract import Image, Inputs, Job, Pass
from benchmarks.jobs.threads import cores


def read(inputs: Inputs, *, at_once: int) -> Job:
    """At most ``at_once`` GETs under way; their order is kept."""
    loop = asyncio.new_event_loop()
    pool = ThreadPoolExecutor(cores())

    async def connect() -> Any:  # noqa: ANN401 -- aioboto3 has no types
        config = Config(max_pool_connections=at_once)
        session = aioboto3.Session()
        return await session.client("s3", endpoint_url=inputs.endpoint, config=config).__aenter__()

    client = loop.run_until_complete(connect())

    async def fetch(key: str) -> Image:
        answer = await client.get_object(Bucket=inputs.bucket, Key=key)
        async with answer["Body"] as body:
            jpeg = await body.read()
        image: Image = await loop.run_in_executor(pool, simplejpeg.decode_jpeg, jpeg)
        return image

    async def all_frames(this: Pass) -> None:
        waiting: deque[asyncio.Task[Image]] = deque()
        keys = deque(inputs.keys)
        for sequence in inputs.sequences:
            while keys and len(waiting) < at_once:
                waiting.append(asyncio.create_task(fetch(keys.popleft())))
            this.take(sequence, await waiting.popleft())

    return Job(lambda this: loop.run_until_complete(all_frames(this)))

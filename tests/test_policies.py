"""The bucket policies of docs/how-to/secure-the-service.md, tried on users of a Ceph gateway."""

import json
import re
import subprocess
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from conftest import CephCluster
from framecache import FrameCache, StorePermissionDenied
from framecache.store import check_options, open_store
from media import make_clip

pytestmark = pytest.mark.ceph

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "secure-the-service.md"
MASK = {"mask": np.zeros((4, 4), np.uint8)}


class Buckets:
    """A bucket for a cache and one for videos, with a user for each role of the page."""

    def __init__(self, cluster: CephCluster, cache: str) -> None:
        self.cluster = cluster
        self.cache = cache
        self.videos = f"{cache}-videos"
        with closing(boto3.client("s3")) as client:
            client.create_bucket(Bucket=self.videos)

    def options_of(self, role: str) -> dict[str, str]:
        """Return the storage options of a new user who has the permissions of a role."""
        user, secret = f"{role}-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
        command = ["radosgw-admin", "--conf", f"{self.cluster.folder}/ceph.conf", "user", "create"]
        names = [f"--uid={user}", f"--display-name={user}"]
        keys = [f"--access-key={user}", f"--secret-key={secret}"]
        subprocess.run([*command, *names, *keys], check=True, stdout=subprocess.DEVNULL)
        for bucket in (self.cache, self.videos):
            self._allow(bucket, user, role)
        return {"endpoint": self.cluster.endpoint, "key": user, "secret": secret}

    def _allow(self, bucket: str, user: str, role: str) -> None:
        """Give a user the part of a role's permissions that concerns one bucket."""
        principal = {"AWS": [f"arn:aws:iam:::user/{user}"]}
        statements = []
        for one in statements_of(role):
            resources = one["Resource"]
            listed = [resources] if isinstance(resources, str) else resources
            renamed = [self._renamed(resource) for resource in listed]
            own = [arn for arn in renamed if arn.partition(":::")[2].partition("/")[0] == bucket]
            if own:
                statements.append({**one, "Resource": own, "Principal": principal})
            if own and "s3:DeleteObject" in one["Action"]:
                # Ceph 16 checks a deletion of several objects against the bucket, as the page says.
                whole = {"Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}"}
                statements.append({"Effect": "Allow", **whole, "Principal": principal})
        if statements:
            policy = {"Version": "2012-10-17", "Statement": statements}
            with closing(boto3.client("s3")) as client:
                client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def _renamed(self, resource: str) -> str:
        names = {"media": self.cache, "videos": self.videos}
        return re.sub(r":::(media|videos)", lambda match: f":::{names[match[1]]}", resource)


def statements_of(role: str) -> list[dict[str, Any]]:
    """Return the statements of the policy on the page whose first one is named by the role."""
    blocks = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    policies = [json.loads(block)["Statement"] for block in blocks]
    [found] = [statements for statements in policies if statements[0]["Sid"] == role]
    return [*found]


@pytest.fixture
def buckets(ceph_cluster: CephCluster, ceph_url: str) -> Buckets:
    return Buckets(ceph_cluster, ceph_url.removeprefix("s3://"))


@pytest.fixture
def filled(buckets: Buckets, tmp_path: Path) -> FrameCache:
    """The cache of the owner of the buckets, with a timeline and an overlay."""
    cache = FrameCache(f"s3://{buckets.cache}")
    timeline = cache.timeline("t")
    timeline.extract(make_clip(tmp_path / "walk.mp4", frames=5))
    timeline.overlays(job_id="owner", stage="s").save(0, MASK)
    return cache


def read_everything(cache: FrameCache) -> None:
    timeline = cache.timeline("t")
    assert cache.timelines() == ["t"]
    assert is_unchanged(cache)
    assert timeline.overlays(job_id="owner", stage="s").frames() == [0]
    assert not cache.timeline("none").exists
    assert timeline.sprites().sheet(0)
    assert timeline.info().complete


def is_unchanged(cache: FrameCache) -> bool:
    return [frame.sequence for frame in cache.timeline("t").frames()] == [0, 1, 2, 3, 4]


def refused(*calls: Callable[[], object]) -> bool:
    for call in calls:
        with pytest.raises(StorePermissionDenied):
            call()
    return True


def test_reader_policy_allows_reading_only(
    buckets: Buckets, filled: FrameCache, tmp_path: Path
) -> None:
    options = buckets.options_of("reader")
    cache = FrameCache(filled.url, storage_options=options)
    read_everything(cache)
    stored = {blob.key for blob in filled.store.list("cache/timelines/t/")}
    assert "cache/timelines/t/used" in stored
    assert any("/sprites/" in key for key in stored)
    timeline = cache.timeline("t")
    assert refused(
        lambda: cache.timeline("new").extract(tmp_path / "walk.mp4"),
        lambda: timeline.overlays(job_id="reader", stage="s").save(0, MASK),
        timeline.clear,
        timeline.delete,
    )
    assert is_unchanged(filled)


def test_job_policy_allows_reading_and_overlay_changes_only(
    buckets: Buckets, filled: FrameCache, tmp_path: Path
) -> None:
    cache = FrameCache(filled.url, storage_options=buckets.options_of("job"))
    read_everything(cache)
    timeline = cache.timeline("t")
    own = timeline.overlays(job_id="job", stage="s")
    own.save_many({0: MASK, 1: MASK})
    assert own.frames() == [0, 1]
    own.clear()
    assert own.frames() == []
    assert refused(
        lambda: cache.timeline("new").extract(tmp_path / "walk.mp4"),
        timeline.clear,
    )
    assert is_unchanged(filled)


def test_extractor_policy_allows_timeline_changes_and_no_video_changes(
    buckets: Buckets, filled: FrameCache, tmp_path: Path
) -> None:
    with closing(boto3.client("s3")) as client:
        client.upload_file(str(tmp_path / "walk.mp4"), buckets.videos, "walk.mp4")
    options = buckets.options_of("extractor")
    cache = FrameCache(filled.url, storage_options=options)
    read_everything(cache)
    timeline = cache.timeline("new")
    timeline.extract(f"s3://{buckets.videos}/walk.mp4", layout="packs")
    timeline.rebuild(every=2)
    timeline.repack("objects")
    assert timeline.verify(repair=True).ok
    timeline.overlays(job_id="extractor", stage="s").save(0, MASK)
    cache.plan_gc().execute()
    timeline.clear()
    timeline.delete()
    assert cache.timelines() == ["t"]
    checked = check_options(options, url=filled.url)
    videos = open_store(f"s3://{buckets.videos}", checked)
    own = open_store(filled.url, checked)
    assert refused(
        lambda: videos.put("walk.mp4", b"x"),
        lambda: videos.delete(["walk.mp4"]),
        lambda: own.put("service/tasks/t.json", b"{}"),
    )


def test_service_policy_also_allows_task_and_upload_changes(
    buckets: Buckets, filled: FrameCache, tmp_path: Path
) -> None:
    options = buckets.options_of("service")
    cache = FrameCache(filled.url, storage_options=options)
    read_everything(cache)
    cache.timeline("new").extract(tmp_path / "walk.mp4")
    store = open_store(filled.url, check_options(options, url=filled.url))
    for key in ("service/tasks/t.json", "uploads/t/walk.mp4", "service/receiving/t/walk.mp4/0"):
        store.create(key, b"x")
        assert store.get(key) == b"x"
        assert store.delete([key]) == 1
    assert refused(lambda: store.put("elsewhere", b"x"))

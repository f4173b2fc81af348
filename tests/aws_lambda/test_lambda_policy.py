"""The policy of the function, in the template and on its page, on a user of a Ceph gateway."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from arriving import SCHEDULE, TIMELINE, Bucket, blobs, clip, queued, send, shown
from cfnlint.decode import decode

from conftest import CephCluster
from framecache import FrameCache, LateChunk, StorePermissionDenied, UnreadableChunk
from framecache.aws_lambda import handler
from framecache.store import check_options, open_store

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "aws-lambda.md"
_OWNER = "arn:aws:iam:::user/test"
"""User of scripts/ceph-rgw.sh."""
TEMPLATE = ROOT / "deploy" / "aws-lambda" / "template.yaml"


def statements_of_template() -> list[dict[str, Any]]:
    """Return the statements of the role, for the buckets of the page."""
    template, problems = decode(str(TEMPLATE))
    assert problems == []
    [policy] = template["Resources"]["Append"]["Properties"]["Policies"]
    names = {
        "${AWS::Partition}": "aws",
        "${CacheBucket}": "media",
        "${VideosBucket}": "videos",
        "${VideosPrefix}": "live/",
    }
    text = re.sub(r'\{"Fn::Sub": ("[^"]*")\}', r"\1", json.dumps(policy["Statement"]))
    for name, value in names.items():
        text = text.replace(name, value)
    statements: list[dict[str, Any]] = json.loads(text)
    return statements


def statements_of_page() -> list[dict[str, Any]]:
    [block] = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    statements: list[dict[str, Any]] = json.loads(block)["Statement"]
    return statements


def test_template_is_valid() -> None:
    """A warning of cfn-lint fails, too."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(TEMPLATE)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_image_has_the_runtime_client_of_the_tests_and_serves_the_handler() -> None:
    recipe = (ROOT / "deploy" / "aws-lambda" / "Dockerfile").read_text()
    [pin] = re.findall(
        r"^awslambdaric==.*$", (ROOT / "requirements-lambda.txt").read_text(), re.MULTILINE
    )
    assert f" {pin}\n" in recipe
    [command] = re.findall(r'^CMD \["(.*)"\]$', recipe, re.MULTILINE)
    assert command == f"{handler.__module__.rpartition('.')[0]}.{handler.__name__}"


def test_page_and_template_have_the_same_policy() -> None:
    assert statements_of_page() == statements_of_template()


class Buckets:
    """A bucket for a cache and one for videos, and a user with the role of the function."""

    def __init__(self, cluster: CephCluster, cache: str) -> None:
        self.cache = cache
        self.videos = Bucket(f"s3://{cache}-videos")
        self._user = f"append-{uuid.uuid4().hex[:8]}"
        secret = uuid.uuid4().hex
        self.options = {"endpoint": cluster.endpoint, "key": self._user, "secret": secret}
        command = ["radosgw-admin", "--conf", f"{cluster.folder}/ceph.conf", "user", "create"]
        names = [f"--uid={self._user}", f"--display-name={self._user}"]
        keys = [f"--access-key={self._user}", f"--secret-key={secret}"]
        subprocess.run([*command, *names, *keys], check=True, stdout=subprocess.DEVNULL)
        with closing(boto3.client("s3")) as client:
            client.create_bucket(Bucket=self.videos.name)
            for bucket in (self.cache, self.videos.name):
                policy = {"Version": "2012-10-17", "Statement": self._statements(bucket)}
                client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def _statements(self, bucket: str) -> list[dict[str, Any]]:
        """Return the part of the policy that concerns one bucket, for its user."""
        principal = {"AWS": [f"arn:aws:iam:::user/{self._user}"]}
        names = {"media": self.cache, "videos": self.videos.name}
        whole = f"arn:aws:s3:::{bucket}"
        statements = []
        for one in statements_of_page():
            listed = [
                re.sub(r":::(media|videos)", lambda match: f":::{names[match[1]]}", resource)
                for resource in one["Resource"]
            ]
            own = [arn for arn in listed if arn.partition(":::")[2].partition("/")[0] == bucket]
            if not own:
                continue
            # Ceph 16 checks a deletion of several objects against the bucket.
            own += [whole] if "s3:DeleteObject" in one["Action"] else []
            statements.append({**one, "Resource": own, "Principal": principal})
            # Here the user is of another account, and may read and replace what it stored itself.
            limits = {"Effect": "Deny", "Action": one["Action"], "Principal": principal}
            statements.append({**limits, "NotResource": own})
        # For the same reason, the owner of the bucket may not read that.
        owner = {"Effect": "Allow", "Action": "s3:*", "Principal": {"AWS": [_OWNER]}}
        return [*statements, {**owner, "Resource": [whole, f"{whole}/*"]}]


@pytest.fixture
def buckets(ceph_cluster: CephCluster, ceph_url: str) -> Buckets:
    return Buckets(ceph_cluster, ceph_url.removeprefix("s3://"))


@pytest.mark.ceph
@pytest.mark.parametrize("layout", ["objects", "packs"])
def test_function_appends_with_these_permissions(buckets: Buckets, layout: str) -> None:
    videos = buckets.videos
    cache = FrameCache(f"s3://{buckets.cache}", storage_options=buckets.options)
    settings = videos.settings(layout=layout, max_wait_seconds=300)
    videos.upload(0, 1, 2, 4, 5, frames=2)
    assert (
        send(cache, queued({"a": videos.event(2), "b": videos.event(1)}), settings).failures == ()
    )
    assert send(cache, queued({"a": videos.event(0)}), settings).failures == ()
    owner = FrameCache(f"s3://{buckets.cache}")
    # Missing: an object that is not there, for which S3 needs the permission to list.
    [missing] = send(cache, queued({"a": videos.event(3)}), settings).failures
    assert isinstance(missing.error, UnreadableChunk)
    eager = videos.settings(layout=layout, max_wait_seconds=0)
    assert send(cache, queued({"a": videos.event(5)}), eager).timelines[0].appended == (5,)
    [late] = send(cache, queued({"a": videos.event(4)}), eager).failures
    assert isinstance(late.error, LateChunk)
    assert send(cache, SCHEDULE, eager).failures == ()
    assert shown(owner.timeline(TIMELINE)) == [0, 0, 1, 1, 2, 2, 5, 5]
    assert owner.timeline(TIMELINE).verify().ok
    reports = [f"lambda/late/{TIMELINE}/{number:012d}.json" for number in (3, 4)]
    assert blobs(owner) == reports


@pytest.mark.ceph
def test_function_may_do_nothing_else(buckets: Buckets) -> None:
    url = f"s3://{buckets.cache}"
    owner = FrameCache(url)
    buckets.videos.upload(0)
    cache = FrameCache(url, storage_options=buckets.options)
    send(cache, buckets.videos.event(0), buckets.videos.settings())
    prefix = f"cache/timelines/{TIMELINE}"
    owner.store.put(f"{prefix}/overlays/job/stage/0_mask.png", b"x")
    owner.store.put(f"lambda/late/{TIMELINE}/000000000009.json", b"x")
    owner.store.put("service/tasks/t.json", b"x")
    own = open_store(url, check_options(buckets.options, url=url))
    videos = open_store(buckets.videos.url, check_options(buckets.options, url=url))
    outside = "other/0.gif"
    buckets.videos.store.put(outside, clip(0))
    refused: list[Callable[[], object]] = [
        lambda: own.get(f"{prefix}/frames/0.jpg"),
        lambda: own.get(f"{prefix}/overlays/job/stage/0_mask.png"),
        lambda: own.get("service/tasks/t.json"),
        lambda: own.put(f"{prefix}/overlays/job/stage/1_mask.png", b"x"),
        lambda: own.put(f"{prefix}/used", b"x"),
        lambda: own.put("service/tasks/u.json", b"x"),
        lambda: videos.get(outside),
        lambda: videos.put(buckets.videos.key(0), b"x"),
        lambda: videos.delete([buckets.videos.key(0)]),
    ]
    for call in refused:
        with pytest.raises(StorePermissionDenied):
            call()

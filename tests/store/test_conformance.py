import pytest

from framecache.store import Store, open_store
from framecache.store.helper_client import HelperProcessStore
from framecache.store.object_store import RemoteStore
from framecache.store.urls import parse
from framecache.testing import StoreConformance


class TestMemory(StoreConformance):
    @pytest.fixture
    def store(self, memory_url: str) -> Store:
        return open_store(memory_url)


class TestMemoryPrefix(StoreConformance):
    @pytest.fixture
    def store(self, memory_url: str) -> Store:
        open_store(memory_url).put("a-neighbour/blob", b"x")
        return open_store(f"{memory_url}/a/prefix/")


class TestLocal(StoreConformance):
    @pytest.fixture
    def store(self, local_url: str) -> Store:
        return open_store(local_url)


class TestS3Prefix(StoreConformance):
    @pytest.fixture
    def store(self, s3_url: str) -> Store:
        open_store(s3_url).put("a/prefix-of-another/blob", b"x")
        return open_store(f"{s3_url}/a/prefix")


@pytest.mark.slow
class TestHelpedS3(StoreConformance):
    """Conformance in a forked process."""

    @pytest.fixture
    def store(self, s3_url: str) -> Store:
        return HelperProcessStore(RemoteStore(parse(f"{s3_url}/a/prefix")))


@pytest.mark.ceph
class TestCeph(StoreConformance):
    @pytest.fixture
    def store(self, ceph_url: str) -> Store:
        return open_store(ceph_url)

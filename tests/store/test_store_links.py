"""Links in a local store: those inside it work, and others are refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from framecache.errors import StorePermissionDenied
from framecache.store import BlobMissing, Store, open_store

_SECRET = b"of another user"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder next to the store, with a file."""
    folder = tmp_path / "elsewhere"
    (folder / "frames").mkdir(parents=True)
    (folder / "frames" / "0.jpg").write_bytes(_SECRET)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a store that holds ``a/b``."""
    folder = tmp_path / "store"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "b").write_bytes(b"x")
    return folder


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(str(root))


def _keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(info.key for info in store.list(prefix))


def _files(folder: Path) -> dict[str, bytes | Path]:
    """Return the files below a folder, and the target of each link in it."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file()]
    return {
        str(path.relative_to(folder)): (path.readlink() if path.is_symlink() else path.read_bytes())
        for path in found
    }


_REQUESTS: dict[str, Callable[[Store, str], object]] = {
    "get": lambda store, key: store.get(key),
    "get_range": lambda store, key: store.get_range(key, start=0, length=1),
    "head": lambda store, key: store.head(key),
    "put": lambda store, key: store.put(key, b"overwritten"),
    "create": lambda store, key: store.create(key, b"created"),
    "delete": lambda store, key: store.delete([key]),
}


@pytest.mark.parametrize("name", _REQUESTS)
@pytest.mark.parametrize(
    ("link", "target", "key"),
    [
        ("a/folder", "../../elsewhere", "a/folder/frames/0.jpg"),
        ("a/folder", "../../elsewhere", "a/folder/new"),
        ("a/file", "../../elsewhere/frames/0.jpg", "a/file"),
        ("a/dangling", "../../elsewhere/nothing", "a/dangling"),
        ("a/above", "../..", "a/above/elsewhere/frames/0.jpg"),
        ("a/twice", "hop", "a/twice/frames/0.jpg"),
    ],
)
def test_link_that_leads_out_of_the_store_is_not_followed(
    name: str, link: str, target: str, key: str, root: Path, elsewhere: Path, store: Store
) -> None:
    (root / "a" / "hop").symlink_to(elsewhere)
    (root / link).symlink_to(target)
    before = _files(root), _files(elsewhere)
    with pytest.raises(
        StorePermissionDenied, match="a link in its path leads out of this folder"
    ) as raised:
        _REQUESTS[name](store, key)
    assert str(root) in str(raised.value)
    assert repr(key) in str(raised.value)
    assert (_files(root), _files(elsewhere)) == before


def test_sibling_folder_with_the_same_name_prefix_is_outside(root: Path, store: Store) -> None:
    neighbour = root.with_name("store-2")
    neighbour.mkdir()
    (neighbour / "b").write_bytes(_SECRET)
    (root / "link").symlink_to(neighbour)
    with pytest.raises(StorePermissionDenied):
        store.get("link/b")
    assert _keys(store) == ["a/b"]


def test_links_that_lead_outside_are_not_listed(root: Path, elsewhere: Path, store: Store) -> None:
    (root / "folder").symlink_to(elsewhere)
    (root / "a" / "file").symlink_to(elsewhere / "frames" / "0.jpg")
    (root / "everything").symlink_to("/")
    (root / "a" / "dangling").symlink_to("nowhere")
    assert _keys(store) == ["a/b"]
    assert store.list_folders("") == ["a"]
    assert _keys(store, "folder") == _keys(store, "folder/frames") == []
    assert store.list_folders("folder") == []


def test_links_that_stay_inside_are_followed(root: Path, store: Store) -> None:
    (root / "same").symlink_to("a")
    (root / "c").symlink_to(root / "a" / "b")
    assert _keys(store) == ["a/b", "c", "same/b"]
    assert _keys(store, "same") == ["same/b"]
    assert store.list_folders("") == ["a", "same"]
    assert store.get("same/b") == store.get("c") == b"x"
    assert store.head("same/b").size_bytes == 1
    store.put("same/new", b"y")
    assert (root / "a" / "new").read_bytes() == b"y"
    store.create("same/newer", b"z")
    store.delete(["same/newer"])
    assert _keys(store, "a") == ["a/b", "a/new"]


def test_delete_of_a_link_keeps_its_target(root: Path, store: Store) -> None:
    (root / "c").symlink_to("a/b")
    store.delete(["c"])
    assert _files(root) == {"a/b": b"x"}


def test_link_loops_are_listed_once(root: Path, store: Store) -> None:
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to("self")
    (root / "d").mkdir()
    (root / "d" / "e").write_bytes(b"y")
    (root / "a" / "across").symlink_to("../d")
    (root / "d" / "back").symlink_to("../a")
    # Each folder is listed by every path to it that contains no folder twice.
    assert _keys(store) == ["a/across/e", "a/b", "d/back/b", "d/e"]
    assert store.list_folders("") == ["a", "d"]
    with pytest.raises(BlobMissing):
        store.head("a/self")


def test_store_folder_may_be_a_link(tmp_path: Path, root: Path, elsewhere: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    (root / "folder").symlink_to(elsewhere)
    (root / "same").symlink_to("a")
    store = open_store(str(tmp_path / "link"))
    assert store.url == f"file://{tmp_path}/link"
    assert store.get("a/b") == store.get("same/b") == b"x"
    assert _keys(store) == ["a/b", "same/b"]
    with pytest.raises(StorePermissionDenied):
        store.get("folder/frames/0.jpg")
    store.put("a/c", b"y")
    assert (root / "a" / "c").read_bytes() == b"y"


def test_file_names_that_are_not_valid_keys_are_not_listed(root: Path, store: Store) -> None:
    for name in (b"new\nline", b"\xff\xfe", b"staged#12"):
        Path(os.fsdecode(os.fsencode(root / "a") + b"/" + name)).write_bytes(b"x")
    (root / "ä").write_bytes(b"x")
    assert _keys(store) == ["a/b", "ä"]
    store.delete(["ä"])
    assert _keys(store) == ["a/b"]


def test_pipes_and_folders_are_not_blobs(root: Path, store: Store) -> None:
    os.mkfifo(root / "pipe")
    assert _keys(store) == ["a/b"]
    for key in ("pipe", "a", "a/b/c"):
        with pytest.raises(BlobMissing):
            store.head(key)

import platform
import re
from pathlib import Path

import pytest
from command_line import clip, run, spawn

import framecache
import network
from framecache import FrameCache
from framecache.store import does_not_refuse
from network import Fault, Proxy


def test_doctor_finds_nothing_wrong_and_leaves_nothing_behind(store_url: str) -> None:
    text = run("doctor", "--cache", store_url).succeeded().text
    rows = [line.split() for line in text.splitlines()]
    assert ["framecache", framecache.__version__] in rows
    assert ["python", platform.python_version()] in rows
    assert [row[0] for row in rows if row[1:2] == ["write"]] == ["ok"]
    assert "FAILED" not in text
    assert "everything works" in text
    assert list(FrameCache(store_url).store.list("")) == []


def test_doctor_writes_json(local_url: str) -> None:
    document = run("doctor", "--json", "--cache", local_url).succeeded().document
    assert document["ok"] is True
    assert (document["url"], document["url_from"]) == (f"file://{local_url}", "--cache")
    names = [check["name"] for check in document["checks"]]
    assert names == ["codecs", "write", "read", "range read", "list", "create once", "delete"]


@pytest.mark.parametrize(
    ("variables", "origin"),
    [
        ({}, "the default"),
        ({"S3_BUCKET": "media", "FRAMECACHE_URL": "folder"}, "$FRAMECACHE_URL"),
    ],
)
def test_doctor_says_who_chose_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], origin: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FRAMECACHE_URL", "S3_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run("doctor", "--json").succeeded().document["url_from"] == origin


def test_doctor_fails_where_the_store_does(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = run("doctor", "--cache", tmp_path / "file")
    assert (outcome.code, outcome.errors) == (1, "")
    assert re.search(r"^FAILED +write ", outcome.text, re.MULTILINE)
    assert "a file stands where a folder is needed" in outcome.text


def test_doctor_names_the_bucket_that_is_missing(s3_url: str) -> None:
    outcome = run("doctor", "--json", "--cache", f"{s3_url}-missing")
    assert outcome.code == 1
    assert outcome.document["ok"] is False
    assert "does not exist" in outcome.document["checks"][1]["detail"]


def test_the_whole_command_line_works_on_s3(s3_url: str, tmp_path: Path) -> None:
    cache = ("--cache", f"{s3_url}/some/prefix")
    run("extract", "walk", clip(), "--fps", "5", *cache).succeeded()
    assert "complete" in run("ls", *cache).succeeded().text
    assert run("info", "walk", "--json", *cache).succeeded().document["frame_count"] == 10
    jpeg = run("get", "walk", "--at", "1.0", "-o", "-", *cache).succeeded().output
    run("export", "walk", tmp_path / "out", *cache).succeeded()
    assert (tmp_path / "out" / "5.jpg").read_bytes() == jpeg
    run("clear", "walk", "--yes", *cache).succeeded()
    run("rebuild", "walk", "--every", "10", *cache).succeeded()
    run("rm", "walk", "--yes", *cache).succeeded()
    assert run("ls", "--json", *cache).succeeded().document["timelines"] == []


@pytest.mark.parametrize("fault", [network.unconditional, network.not_implemented])
def test_a_store_that_creates_what_exists_is_warned_of_in_one_line(
    fault: Fault, proxy: Proxy, s3_url: str
) -> None:
    proxy.always(fault, method="PUT")
    outcome = spawn("extract", "walk", clip(), "--fps", "5", "--cache", s3_url)
    assert outcome.code == 0
    assert outcome.errors == f"framecache: warning: {does_not_refuse(s3_url)}\n"
    spawn("ls", "--cache", s3_url).succeeded()
    spawn("extract", "walk", clip(), "--fps", "5", "--cache", s3_url).succeeded()


def test_doctor_finds_a_store_that_creates_what_exists(proxy: Proxy, s3_url: str) -> None:
    proxy.always(network.unconditional, method="PUT")
    outcome = run("doctor", "--json", "--cache", s3_url)
    assert (outcome.code, outcome.errors) == (1, "")
    failed = [check for check in outcome.document["checks"] if not check["ok"]]
    assert failed == [{"name": "create once", "ok": False, "detail": does_not_refuse(s3_url)}]

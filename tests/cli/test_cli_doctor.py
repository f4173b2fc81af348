import os
import platform
import re
import sys
from pathlib import Path

import pytest
from command_line import clip, run, spawn

import framecache
import network
from framecache import FrameCache
from framecache.store import overwrite_warning
from framecache.store.effective_settings import explain_settings, shorten_key_id
from network import Fault, Proxy


@pytest.mark.every_store
def test_doctor_on_working_store_reports_ok_and_leaves_no_blob(store_url: str) -> None:
    text = run("doctor", "--cache", store_url).succeeded().text
    rows = [line.split() for line in text.splitlines()]
    assert ["framecache", framecache.__version__] in rows
    assert ["python", platform.python_version()] in rows
    assert [row[0] for row in rows if row[1:2] == ["write"]] == ["ok"]
    assert "FAILED" not in text
    assert text.endswith("\nEverything works.\n")
    assert list(FrameCache(store_url).store.list("")) == []


def test_doctor_writes_json(local_url: str) -> None:
    document = run("doctor", "--json", "--cache", local_url).succeeded().document
    assert document["ok"] is True
    assert (document["url"], document["url_from"]) == (f"file://{local_url}", "--cache")
    names = [check["name"] for check in document["checks"]]
    assert names == [
        *("codecs", "write", "read", "range read", "ETag", "missing blob"),
        *("list", "create once", "delete"),
    ]


def test_doctor_lists_extras_and_how_to_install_missing_ones(
    local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("av", "boto3"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    text = run("doctor", "--cache", local_url).succeeded().text
    rows = [line.split(maxsplit=2) for line in text.splitlines()]
    assert ["extra", "server", "installed"] in rows
    missing = "not installed (av): pip install 'framecache[extract]'"
    assert ["extra", "extract", missing] in rows
    document = run("doctor", "--json", "--cache", local_url).succeeded().document
    assert document["missing_packages"] == {
        "arrow": [],
        "aws": ["boto3"],
        "extract": ["av"],
        "fsspec": [],
        "server": [],
    }


@pytest.mark.parametrize(
    ("variables", "origin"),
    [
        ({}, "the default"),
        ({"S3_BUCKET": "media", "FRAMECACHE_URL": "folder"}, "$FRAMECACHE_URL"),
    ],
)
def test_doctor_reports_origin_of_cache_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], origin: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FRAMECACHE_URL", "S3_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run("doctor", "--json", "-q").succeeded().document["url_from"] == origin


def test_doctor_fails_if_store_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = run("doctor", "--cache", tmp_path / "file")
    assert (outcome.code, outcome.errors) == (1, "")
    assert re.search(r"^FAILED +write ", outcome.text, re.MULTILINE)
    assert "there is a file where a folder is needed" in outcome.text


def test_doctor_names_the_missing_bucket(s3_url: str) -> None:
    outcome = run("doctor", "--json", "--cache", f"{s3_url}-missing")
    assert outcome.code == 1
    assert outcome.document["ok"] is False
    assert "does not exist" in outcome.document["checks"][1]["detail"]


def test_every_main_command_works_on_s3(s3_url: str, tmp_path: Path) -> None:
    cache = ("--cache", f"{s3_url}/some/prefix")
    run("extract", "walk", clip(), "--fps", "5", *cache).succeeded()
    assert "complete" in run("ls", *cache).succeeded().text
    assert run("info", "walk", "--json", *cache).succeeded().document["frame_count"] == 10
    jpeg = run("get", "walk", "--at", "1.0", "-o", "-", *cache).succeeded().output
    run("export", "walk", tmp_path / "out", *cache).succeeded()
    assert (tmp_path / "out" / "000005.jpg").read_bytes() == jpeg
    run("clear", "walk", "--yes", *cache).succeeded()
    run("rebuild", "walk", "--every", "10", *cache).succeeded()
    run("rm", "walk", "--yes", *cache).succeeded()
    assert run("ls", "--json", *cache).succeeded().document["timelines"] == []


@pytest.mark.parametrize("fault", [network.unconditional, network.not_implemented])
def test_store_without_conditional_create_is_warned_of_in_one_line(
    fault: Fault, proxy: Proxy, s3_url: str
) -> None:
    proxy.always(fault, method="PUT")
    outcome = spawn("extract", "walk", clip(), "--fps", "5", "--cache", s3_url)
    assert outcome.code == 0
    place = FrameCache(s3_url).store.display_name
    assert outcome.errors == f"framecache: Warning: {overwrite_warning(place)}.\n"
    spawn("ls", "--cache", s3_url).succeeded()
    spawn("extract", "walk", clip(), "--fps", "5", "--cache", s3_url).succeeded()


def test_doctor_fails_on_store_without_conditional_create(proxy: Proxy, s3_url: str) -> None:
    proxy.always(network.unconditional, method="PUT")
    outcome = run("doctor", "--json", "--cache", s3_url)
    assert (outcome.code, outcome.errors) == (1, "")
    failed = [check for check in outcome.document["checks"] if not check["ok"]]
    assert [(check["name"], check["detail"]) for check in failed] == [
        ("create once", overwrite_warning(FrameCache(s3_url).store.display_name))
    ]


def test_doctor_distinguishes_failed_and_skipped_checks(s3_url: str) -> None:
    outcome = run("doctor", "--cache", f"{s3_url}-missing")
    assert outcome.code == 1
    assert outcome.text.splitlines()[-1] == "1 check failed, 7 skipped."
    document = run("doctor", "--json", "--cache", f"{s3_url}-missing").document
    outcomes = [check["outcome"] for check in document["checks"]]
    assert outcomes == ["ok", "failed", *["skipped"] * 7]
    assert document["ok"] is False


def _why(url: str) -> dict[str, tuple[str, str]]:
    document = run("doctor", "--why", "--json", "--cache", url).document
    return {one["name"]: (one["value"], one["from"]) for one in document["reached_by"]}


def test_why_names_each_setting_and_its_source(
    s3_url: str, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret-word@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = _why(s3_url)
    assert found["endpoint"] == (moto_endpoint, "AWS_ENDPOINT_URL")
    assert found["region"] == ("eu-north-1", "AWS_DEFAULT_REGION")
    assert found["signer"] == ("AKIA…MPLE", "AWS_ACCESS_KEY_ID")
    assert found["proxy"] == ("none", "the default")
    assert "CA" in found
    monkeypatch.delenv("NO_PROXY")
    assert _why(s3_url)["proxy"] == ("http://127.0.0.1:1", "HTTP_PROXY")


def test_why_names_the_signing_profile(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        "[studio]\naws_access_key_id = ASIAIOSFODNN7EXAMPLE\naws_secret_access_key = hidden-word\n"
        "region = eu-west-3\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "studio")
    text = run("doctor", "--why", "--cache", s3_url).succeeded().text
    (signer,) = [line for line in text.splitlines() if line.startswith("signer")]
    assert "ASIA…MPLE" in signer
    assert "profile studio" in signer
    assert "hidden-word" not in text
    (region,) = [line for line in text.splitlines() if line.startswith("region")]
    assert "eu-west-3" in region


def test_why_names_the_variable_of_a_container_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/agent")
    (signer,) = [one for one in explain_settings("s3://media") if one.name == "signer"]
    assert signer.value == "the identity that this variable names"
    assert signer.source == "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"


def test_why_names_the_folder(local_url: str) -> None:
    assert _why(local_url) == {"folder": (local_url, "the URL")}


@pytest.mark.parametrize("key_id", ["", "x", "short", "AKIAIOSFODNN7EXAMPLE", "k" * 200])
def test_access_key_id_is_shown_shortened(key_id: str) -> None:
    assert len(shorten_key_id(key_id).replace("…", "")) <= len(key_id) / 2


def test_why_names_options_of_storage_options_file(
    s3_url: str, moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    options = tmp_path / "stores.toml"
    options.write_text(
        f'["s3://"]\nendpoint = "{moto_endpoint}"\nkey = "AKIAIOSFODNN7EXAMPLE"\n'
        f'secret = "secret-word"\nregion = "eu-north-1"\n'
    )
    monkeypatch.setenv("FRAMECACHE_STORAGE_OPTIONS", str(options))
    assert run("ls", "--cache", s3_url).code == 0
    assert "secret-word" not in run("doctor", "--why", "--cache", s3_url).succeeded().text
    found = _why(s3_url)
    assert found["endpoint"] == (moto_endpoint, "storage_options['endpoint']")
    assert found["region"] == ("eu-north-1", "storage_options['region']")
    assert found["signer"] == ("AKIA…MPLE", "storage_options['key']")


@pytest.mark.parametrize(
    "variable",
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"],
)
def test_variable_with_line_break_is_refused_by_every_command(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv(variable, "x\n")
    for command in (["ls"], ["doctor"], ["doctor", "--why"]):
        outcome = run(*command, "--cache", "s3://media")
        assert outcome.code != 0
        assert variable in outcome.text + outcome.errors
        assert "Traceback" not in outcome.errors

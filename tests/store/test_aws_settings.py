"""Endpoint, certificates and credentials of S3 requests: as in boto3, or refused by name."""

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from signed import Server, running

from framecache.errors import InvalidValue, StorePermissionDenied
from framecache.store import check_options, open_store
from framecache.store.s3 import S3Settings, s3_settings
from framecache.store.settings import Setting, read_certificates
from framecache.store.urls import parse

KEYS = {"AWS_ACCESS_KEY_ID": "ENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "secret"}
A = "http://127.0.0.1:9001"
B = "http://127.0.0.1:9002"


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def _write(tmp_path: Path, config: str, credentials: str = "") -> None:
    (tmp_path / ".aws/config").write_text(config)
    (tmp_path / ".aws/credentials").write_text(credentials)


def _found() -> S3Settings:
    return s3_settings(parse("s3://media"), {})


def _value(setting: Setting | None) -> str | None:
    return setting.value if setting else None


@pytest.mark.parametrize(
    ("variables", "config", "credentials"),
    [
        ({}, f"[default]\nendpoint_url = {A}\n", ""),
        ({}, f"[profile default]\nendpoint_url = {A}\n", ""),
        ({}, "", f"[default]\nendpoint_url = {A}\n"),
        ({}, f"[default]\nendpoint_url = {A}\n", f"[default]\nendpoint_url = {B}\n"),
        ({}, f"[DEFAULT]\nendpoint_url = {A}\n[default]\nregion = eu-west-1\n", ""),
        ({"AWS_PROFILE": "p"}, f"[profile p]\nendpoint_url = {A}\n", ""),
        ({"AWS_PROFILE": "p"}, f"[profile 'p']\nendpoint_url = {A}\n", ""),
        (
            {"AWS_PROFILE": "q", "AWS_DEFAULT_PROFILE": "p"},
            f"[profile p]\nendpoint_url = {A}\n[profile q]\nendpoint_url = {B}\n",
            "",
        ),
        (
            {},
            f"[default]\nendpoint_url={B}\nservices=s\n[services s]\ns3=\n endpoint_url={A}\n",
            "",
        ),
        (
            {},
            f"[default]\nendpoint_url={A}\nservices=s\n[services s]\nsts=\n endpoint_url={B}\n",
            "",
        ),
        ({"AWS_ENDPOINT_URL": B}, f"[default]\nendpoint_url = {A}\n", ""),
        ({"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": B}, f"[default]\nendpoint_url={A}\n", ""),
        (
            {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            f"[default]\nregion = us-east-1\nendpoint_url = {A}\n",
            "",
        ),
        ({}, f"[default]\nendpoint_url = {A}\nignore_configured_endpoint_urls = TRUE\n", ""),
        ({}, f"[default]\nendpoint_url = {A}\nignore_configured_endpoint_urls = False\n", ""),
        ({}, f"[default]\nendpoint_url = {A}\nignore_configured_endpoint_urls =\n", ""),
    ],
)
def test_endpoint_equals_that_of_boto3(
    variables: dict[str, str],
    config: str,
    credentials: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, KEYS | {"AWS_DEFAULT_REGION": "us-east-1"} | variables)
    _write(tmp_path, config, credentials)
    with closing(boto3.session.Session().client("s3")) as client:
        expected = client.meta.endpoint_url
    assert (_value(_found().endpoint) or "https://s3.amazonaws.com") == expected


@pytest.mark.parametrize(
    ("variables", "config"),
    [
        ({"AWS_CA_BUNDLE": "1", "REQUESTS_CA_BUNDLE": "3"}, "ca_bundle = 2"),
        ({"REQUESTS_CA_BUNDLE": "3"}, "ca_bundle = 2"),
        ({"REQUESTS_CA_BUNDLE": "3"}, ""),
        ({}, ""),
    ],
)
def test_certificate_file_equals_that_of_boto3(
    variables: dict[str, str], config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, KEYS | variables)
    _write(tmp_path, f"[default]\n{config}\n")
    session = boto3.session.Session(region_name="us-east-1")
    with closing(session.client("s3")) as client:
        verify = client._endpoint.http_session._verify  # type: ignore[attr-defined] # noqa: SLF001 - boto3 shows it nowhere else
    assert (_value(_found().ca) or True) == verify


@pytest.mark.parametrize(
    ("variables", "config"),
    [
        ({"AWS_REGION": "us-west-1", "AWS_DEFAULT_REGION": "us-west-2"}, "region = eu-west-3"),
        ({"AWS_REGION": "us-west-1"}, "region = eu-west-3"),
        ({"AWS_DEFAULT_REGION": "us-west-2"}, "region = eu-west-3"),
        ({}, "region = eu-west-3"),
    ],
)
def test_region_equals_that_of_boto3(
    variables: dict[str, str], config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, KEYS | variables)
    _write(tmp_path, f"[default]\n{config}\n")
    with closing(boto3.session.Session().client("s3")) as client:
        assert _value(_found().region) == client.meta.region_name


def test_aws_region_is_used_when_boto3_finds_no_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, {**KEYS, "AWS_REGION": "us-west-1"})
    assert _value(_found().region) == "us-west-1"


def test_endpoint_of_each_aws_partition_equals_that_of_boto3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, KEYS)
    session = boto3.session.Session()
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("s3", partition)[:1]:
            monkeypatch.setenv("AWS_DEFAULT_REGION", region)
            with closing(session.client("s3", region_name=region)) as client:
                assert _found().server.endpoint.value == client.meta.endpoint_url


@pytest.mark.parametrize("style", ["virtual", "path"])
@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [
        *(("http://store.invalid:9/base", name) for name in ("media", "me.dia", "me_dia", "Media")),
        ("http://store.invalid", "media"),
        ("http://store.invalid", "1.2.3.4"),
        ("http://192.0.2.1:9", "media"),
    ],
)
def test_bucket_address_equals_that_of_boto3(
    endpoint: str, bucket: str, style: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, {**KEYS, "AWS_DEFAULT_REGION": "us-east-1", "http_proxy": server.address})
    for name in ("HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    config = Config(s3={"addressing_style": style})  # type: ignore[arg-type]
    with closing(boto3.client("s3", endpoint_url=endpoint, config=config)) as client:
        client.get_object(Bucket=bucket, Key="a")
    options = {"endpoint": endpoint, "style": style}
    url = f"s3://{bucket}"
    open_store(url, check_options(options, url=url)).get("a")
    theirs, ours = server.paths
    assert ours == theirs


@pytest.mark.parametrize(
    ("variable", "given", "path"),
    [
        ("true", {"style": "path"}, "http://store.invalid/media/a"),
        ("false", {"style": "virtual"}, "http://media.store.invalid/a"),
        ("true", {}, "http://media.store.invalid/a"),
        ("false", {}, "http://store.invalid/media/a"),
    ],
)
def test_addressing_style_from_the_environment_applies_to_the_bucket_only(
    variable: str,
    given: dict[str, str],
    path: str,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, {**KEYS, "http_proxy": server.address})
    for name in ("HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", variable)
    options = {"endpoint": "http://store.invalid", **given}
    open_store("s3://media", check_options(options, url="s3://media")).get("a")
    assert server.paths == [path]


def test_aws_token_that_boto3_ignores_is_not_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, {**KEYS, "AWS_TOKEN": "stray", "AWS_ENDPOINT_URL": server.address})
    open_store("s3://media").get("a")
    assert "x-amz-security-token" not in server.headers[0]


def test_given_endpoint_is_used_with_keys_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, {**KEYS, "AWS_ENDPOINT_URL": A})
    options = check_options({"endpoint": server.address}, url="s3://media")
    open_store("s3://media", options).get("a")
    assert server.signers == ["ENVIRONMENT"]


def test_process_credentials_expire_when_stated(tmp_path: Path) -> None:
    ends = (datetime.now(UTC) + timedelta(seconds=20)).replace(microsecond=0)
    answer = {
        "Version": 1,
        "AccessKeyId": "SHORT",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": ends.isoformat(),
    }
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    _write(tmp_path, f"[default]\ncredential_process = cat {tmp_path / 'answer.json'}\n")
    provider = _found().signer.provider
    assert provider is not None
    credential = provider()
    assert isinstance(credential, dict)
    assert credential["expires_at"] == ends


def test_repr_of_settings_contains_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, {**KEYS, "AWS_SESSION_TOKEN": "hidden-word"})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-word")
    assert "hidden-word" not in repr(_found())


def test_region_and_addressing_style_come_from_the_profile(tmp_path: Path) -> None:
    _write(tmp_path, "[default]\nregion = eu-north-1\ns3 =\n  addressing_style = virtual\n")
    found = _found()
    assert (_value(found.region), _value(found.style)) == ("eu-north-1", "virtual")


def test_requests_use_the_endpoint_of_the_profile(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, KEYS)
    _write(tmp_path, f"[default]\nendpoint_url = {server.address}\n")
    assert open_store("s3://media").get("a") == b""
    assert server.signers == ["ENVIRONMENT"]


def _use_web_identity(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("a-token")
    _set(
        monkeypatch,
        {
            "AWS_ENDPOINT_URL": server.address,
            "AWS_REGION": "us-east-1",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/reader",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        },
    )


def test_web_identity_is_exchanged_at_the_private_endpoint(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_web_identity(server, tmp_path, monkeypatch)
    assert open_store("s3://media").get("a") == b""
    assert server.signers == ["IDENTITY"]


def test_web_identity_is_exchanged_at_the_endpoint_option(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_web_identity(server, tmp_path, monkeypatch)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    options = check_options({"endpoint": server.address}, url="s3://media")
    assert open_store("s3://media", options).get("a") == b""
    assert server.signers == ["IDENTITY"]


def test_web_identity_for_an_amazon_endpoint_is_exchanged_at_amazon(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_web_identity(server, tmp_path, monkeypatch)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    endpoint = "https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com"
    signer = s3_settings(parse("s3://media"), {"endpoint": endpoint}).signer
    assert (signer.source, signer.provider) == ("AWS_WEB_IDENTITY_TOKEN_FILE", None)


def test_web_identity_without_boto3_is_refused_for_a_private_endpoint(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_web_identity(server, tmp_path, monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        StorePermissionDenied, match=r"AWS_ENDPOINT_URL needs boto3.*framecache\[aws\]"
    ):
        open_store("s3://media")


def test_container_credentials_sign_requests(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(
        monkeypatch,
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.address}/agent",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "agent-token",
            "AWS_ENDPOINT_URL": server.address,
        },
    )
    assert open_store("s3://media").get("a") == b""
    assert server.headers[0]["authorization"] == "agent-token"
    assert server.signers == ["CONTAINER"]


def test_profile_credentials_take_precedence_over_container_credentials(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = "aws_access_key_id = PROFILE\naws_secret_access_key = secret\n"
    _write(tmp_path, "", f"[default]\n{keys}")
    _set(
        monkeypatch,
        {
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/agent",
            "AWS_ENDPOINT_URL": server.address,
        },
    )
    assert open_store("s3://media").get("a") == b""
    assert server.signers == ["PROFILE"]


@pytest.mark.parametrize(
    ("variables", "config", "named"),
    [
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": A}, "", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ({}, "[default]\nrole_arn = r\n", "profile 'default'"),
        ({}, "", "no credentials were found"),
    ],
)
def test_settings_that_need_boto3_are_refused_without_it(
    variables: dict[str, str],
    config: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, variables)
    _write(tmp_path, config)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StorePermissionDenied, match=named):
        open_store("s3://media")


@pytest.mark.parametrize(
    ("variables", "config", "named"),
    [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "", "AWS_USE_FIPS_ENDPOINT"),
        ({}, "[default]\nuse_dualstack_endpoint = true\n", r"use_dualstack_endpoint of \[profile"),
        ({}, "[default]\ns3 =\n  use_accelerate_endpoint = true\n", "use_accelerate_endpoint"),
        (
            {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": A},
            "",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        ),
        (
            {},
            "[default]\ns3 =\n  use_dualstack_endpoint = true\n",
            "use_dualstack_endpoint below s3",
        ),
        # boto3 treats these as false: the requests go to the private endpoint.
        *(
            (
                {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": word},
                f"[default]\nendpoint_url = {A}\n",
                f"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS must be true or false, not '{word}'",
            )
            for word in ("1", "yes", "on", "y")
        ),
        (
            {},
            f"[default]\nendpoint_url = {A}\nignore_configured_endpoint_urls = yes\n",
            r"ignore_configured_endpoint_urls of \[profile default\]",
        ),
        ({}, "[default]\nservices = s\n", r"\[services s\]"),
        ({}, "[default]\nno line\n", "config, line 2"),
        ({}, "[default]\nendpoint_url = here\n", "endpoint_url of"),
        ({"AWS_CA_BUNDLE": "/nowhere"}, "", "AWS_CA_BUNDLE: /nowhere cannot be read"),
        ({"REQUESTS_CA_BUNDLE": os.devnull}, "", "REQUESTS_CA_BUNDLE: .* no certificate"),
    ],
)
def test_unsupported_settings_are_refused_by_name(
    variables: dict[str, str],
    config: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, KEYS | variables)
    _write(tmp_path, config)
    with pytest.raises(InvalidValue, match=named):
        open_store("s3://media")


def test_openssl_trusted_certificate_is_refused_with_a_conversion_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, trusted = tmp_path / "plain.pem", tmp_path / "trusted.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-keyout", os.devnull, "-out", str(plain), "-subj", "/CN=localhost"]
    convert = ["openssl", "x509", "-trustout", "-in", str(plain), "-out", str(trusted)]
    for command in (make, convert):
        subprocess.run(command, check=True, capture_output=True)
    _set(monkeypatch, {**KEYS, "AWS_CA_BUNDLE": str(trusted)})
    with pytest.raises(InvalidValue, match=r"AWS_CA_BUNDLE: .*openssl x509 -in .*trusted\.pem"):
        open_store("s3://media")


def test_certificates_are_ignored_for_a_plain_http_endpoint() -> None:
    assert read_certificates(Setting("/nowhere", "AWS_CA_BUNDLE"), A) is None

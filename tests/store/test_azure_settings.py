"""Credentials of requests to Azure; no secret of an account is sent to another."""

import os
from collections.abc import Iterator

import obstore
import pytest
from obstore.store import AzureStore
from signed import Server, running

from framecache.errors import InvalidValue
from framecache.store import check_options, explain_settings, open_store
from framecache.store.azure import AzureSettings, azure_settings

KEY = "aGlkZGVuLXdvcmQ="
SIGNATURE = "sv=1&sig=hidden-word"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AZURE_", "AZURITE_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def _set(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def _kind_sent(server: Server) -> str:
    """Return the kind of secret that signed the last request."""
    if "sig=" in server.paths[-1]:
        return "sas"
    scheme = server.headers[-1].get("authorization", "").partition(" ")[0]
    return {"SharedKey": "key", "Bearer": "token", "": "anonymous"}[scheme]


@pytest.mark.parametrize(
    "variables",
    [
        {"AZURE_STORAGE_ACCOUNT_KEY": KEY},
        {"AZURE_STORAGE_ACCESS_KEY": KEY},
        {"AZURE_STORAGE_MASTER_KEY": KEY},
        {"AZURE_STORAGE_SAS_TOKEN": SIGNATURE},
        {"AZURE_STORAGE_SAS_KEY": SIGNATURE},
        {"AZURE_STORAGE_TOKEN": "t"},
        {"AZURE_STORAGE_SAS_KEY": SIGNATURE, "AZURE_STORAGE_ACCOUNT_KEY": KEY},
        {"AZURE_STORAGE_TOKEN": "t", "AZURE_STORAGE_ACCOUNT_KEY": KEY},
        {"AZURE_STORAGE_TOKEN": "t", "AZURE_STORAGE_SAS_TOKEN": SIGNATURE},
        {"AZURE_STORAGE_TOKEN": "t", "AZURE_SKIP_SIGNATURE": "true"},
        {"AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t"},
        {
            "AZURE_STORAGE_SAS_TOKEN": SIGNATURE,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_CREDENTIAL_TYPE": "sas_token",
        },
    ],
)
def test_signer_equals_that_of_object_store(
    variables: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "own", "AZURE_STORAGE_ENDPOINT": server.address}
    _set(monkeypatch, account | variables)
    obstore.get(AzureStore("container", client_options={"allow_http": True}), "a")
    expected = _kind_sent(server)
    open_store("az://container").get("a")
    assert _kind_sent(server) == azure_settings({}).signer.kind == expected
    (signer,) = [one for one in explain_settings("az://container") if one.name == "signer"]
    assert signer.source in variables


@pytest.mark.parametrize(
    "variables", [{}, {"AZURE_STORAGE_ACCOUNT_NAME": "own", "AZURE_STORAGE_ACCOUNT_KEY": KEY}]
)
def test_emulator_requests_equal_those_of_object_store(
    variables: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": server.address}
    _set(monkeypatch, emulator | variables)
    obstore.get(AzureStore("container"), "a")
    open_store("az://container").get("a")
    theirs, ours = server.paths
    assert ours == theirs
    account = azure_settings({}).account
    assert account is not None
    assert all(
        one["authorization"].startswith(f"SharedKey {account.value}:") for one in server.headers
    )


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({"AZURE_CLIENT_SECRET": "s"}, "AZURE_CLIENT_SECRET"),
        ({"AZURE_FEDERATED_TOKEN_FILE": "/f"}, "AZURE_FEDERATED_TOKEN_FILE"),
        (
            {"AZURE_CLIENT_SECRET": "s", "AZURE_STORAGE_SAS_TOKEN": SIGNATURE},
            "AZURE_CLIENT_SECRET",
        ),
    ],
)
def test_identity_signer_names_its_source_variable(
    variables: dict[str, str], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", **variables})
    found = azure_settings({}).signer
    assert (found.kind, found.source) == ("identity", source)


OTHERS = [
    {"account": "other"},
    {"endpoint": "https://other.blob.core.windows.net"},
    {"endpoint": "https://other-secondary.blob.core.windows.net"},
    {"connection_string": "AccountName=other"},
]
SECRETS = [
    {"AZURE_STORAGE_ACCOUNT_KEY": KEY},
    {"AZURE_STORAGE_SAS_TOKEN": SIGNATURE},
    {"AZURE_STORAGE_TOKEN": "hidden-word"},
]


@pytest.mark.parametrize("options", OTHERS)
@pytest.mark.parametrize("secret", SECRETS)
def test_secret_of_one_account_is_refused_for_another(
    options: dict[str, str], secret: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, {"AZURE_STORAGE_ACCOUNT_NAME": "own", **secret})
    (variable,) = secret
    with pytest.raises(
        InvalidValue, match=f"{variable} is a secret of the account 'own'"
    ) as raised:
        open_store("az://container", check_options(options, url="az://container"))
    assert "hidden-word" not in str(raised.value)


@pytest.mark.parametrize("options", OTHERS)
def test_other_account_uses_its_own_endpoint_and_no_secret_of_the_connection_string(
    options: dict[str, str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = f"AccountName=own;AccountKey={KEY};BlobEndpoint={server.address}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    found = azure_settings(options)
    assert found.server.endpoint.value.startswith("https://other")
    assert found.signer.secret is None


def test_given_key_signs_requests_to_another_account(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, {"AZURE_STORAGE_ACCOUNT_NAME": "own", "AZURE_STORAGE_TOKEN": "t"})
    given = {"account": "other", "key": KEY, "endpoint": server.address}
    open_store("az://c", check_options(given, url="az://c")).get("a")
    assert server.headers[0]["authorization"].startswith("SharedKey other:")


def test_unset_options_of_the_same_account_come_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(
        monkeypatch,
        {
            "AZURE_STORAGE_ACCOUNT_NAME": "own",
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": server.address,
        },
    )
    open_store("az://c", check_options({"account": "own"}, url="az://c")).get("a")
    assert server.headers[0]["authorization"].startswith("SharedKey own:")


@pytest.mark.parametrize(
    "options",
    [
        {"account": "own", "key": KEY},
        {"account": "own", "sas": SIGNATURE},
        {"connection_string": f"AccountName=own;AccountKey={KEY}"},
    ],
)
def test_repr_of_settings_contains_no_secret(options: dict[str, str]) -> None:
    found: AzureSettings = azure_settings(options)
    assert KEY not in repr(found)
    assert "hidden-word" not in repr(found)

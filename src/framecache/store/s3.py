"""S3: settings, read from the environment and files as boto3 reads them, and the client."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from framecache.errors import InvalidValue
from framecache.store.aws_credentials import Signer, StsEndpoint, find_signer, signer_from_options
from framecache.store.aws_profile import Profile, read_profile
from framecache.store.client_config import client_options, retry_config
from framecache.store.s3_listing import Method, S3Lister
from framecache.store.servers import DEFAULT, Server
from framecache.store.settings import (
    Setting,
    ca_from_environment,
    check_endpoint,
    check_host_label,
    from_environment,
    from_options,
    is_aws_true,
    is_plain_http,
    is_truthy,
    read_certificates,
)
from framecache.store.urls import Location

if TYPE_CHECKING:
    from obstore.store import S3Config

# In the order of the AWS tools; AWS_ENDPOINT is specific to object_store.
_ENDPOINT_VARIABLES: Final = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "sts": ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"),
}
_REGION_VARIABLE: Final = "AWS_DEFAULT_REGION"
# Used by other AWS tools. boto3 does not read it, so everything that boto3 reads comes first.
_OTHER_REGION_VARIABLE: Final = "AWS_REGION"
# Specific to object_store; boto3 only has `addressing_style`.
_STYLE_VARIABLE: Final = "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"
# With these, boto3 would use other Amazon endpoints; they must not be ignored silently.
_UNSUPPORTED_SWITCHES: Final = ("use_fips_endpoint", "use_dualstack_endpoint")
_UNSUPPORTED_S3_SWITCHES: Final = ("use_accelerate_endpoint", "use_dualstack_endpoint")
_SIGNATURE_LIFETIME: Final = timedelta(minutes=5)
_OPERATIONS: Final[dict[Method, str]] = {"GET": "ListObjectsV2", "DELETE": "DeleteObject"}
_DEFAULT_REGION: Final = "us-east-1"
_STYLES: Final = {"path": False, "auto": False, "virtual": True}
# Amazon's domains for regions outside its public cloud.
_DOMAIN: Final = "amazonaws.com"
_DOMAINS: Final = {
    "cn-": "amazonaws.com.cn",
    "eu-isoe-": "cloud.adc-e.uk",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
}
_VIRTUAL_HOST_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Settings for access to a bucket; None stands for the default."""

    endpoint: Setting | None
    region: Setting | None
    ca: Setting | None
    style: Setting | None
    signer: Signer

    @property
    def server(self) -> Server:
        """Server and region that requests go to, from the settings or by default."""
        region = self.region or Setting(_DEFAULT_REGION, DEFAULT)
        amazon = Setting(f"https://s3.{region.value}.{_domain(region.value)}", DEFAULT)
        return Server(self.endpoint or amazon, region)


def s3_settings(location: Location, options: Mapping[str, str]) -> S3Settings:
    """Collect the settings for access to a bucket. Makes no request and does not import boto3.

    Args:
        location: the bucket, or a location in it.
        options: options given by the program, which take precedence over the environment.

    Raises:
        InvalidValue: a setting cannot be used.
        StorePermissionDenied: the settings ask for credentials that are not available.
    """
    given = signer_from_options(options)
    own_profile, own_endpoint = from_options(options, "profile"), from_options(options, "endpoint")
    profile = read_profile(own_profile)
    endpoint = own_endpoint or _endpoint(profile, "s3")
    if endpoint is None:
        _reject_unsupported_endpoints(profile)
    region = (
        from_options(options, "region")
        or from_environment(_REGION_VARIABLE)
        or profile.get("region")
        or from_environment(_OTHER_REGION_VARIABLE)
    )
    if region is not None:
        check_host_label(region)
    ca = (
        from_options(options, "ca")
        or from_environment("AWS_CA_BUNDLE")
        or profile.get("ca_bundle")
        or ca_from_environment()
    )
    signer = given or find_signer(
        location,
        profile,
        is_profile_given=own_profile is not None,
        sts=StsEndpoint(
            _sts_endpoint(profile, own_endpoint, region),
            ca,
            region.value if region else _DEFAULT_REGION,
        ),
    )
    style = (
        from_options(options, "style")
        or _style_from_environment()
        or profile.get_nested("s3", "addressing_style")
    )
    return S3Settings(endpoint=endpoint, region=region, ca=ca, style=style, signer=signer)


def s3_client(location: Location, settings: S3Settings, *, deletes_in_bulk: bool = True) -> S3Store:
    """Create a client for a bucket.

    Args:
        location: the bucket, or a location in it.
        settings: settings for access.
        deletes_in_bulk: delete many objects with one request.

    Raises:
        InvalidValue: a setting cannot be used.
    """
    endpoint, is_virtual = _resolve_endpoint(location, settings)
    config: S3Config = {
        "disable_bulk_delete": not deletes_in_bulk,
        "virtual_hosted_style_request": is_virtual,
    }
    # object_store knows Amazon's endpoints itself, including those of directory buckets.
    if settings.endpoint is not None or not endpoint.endswith(f".{_DOMAIN}"):
        bucket_endpoint = _virtual_host_url(endpoint, location.bucket) if is_virtual else endpoint
        config["endpoint"] = config["aws_endpoint_url_s3"] = bucket_endpoint
    return _create_client(location, settings, config)


def s3_lister(location: Location, settings: S3Settings) -> S3Lister:
    """Create a lister for a bucket with keys at which obstore's own listings stop.

    Args:
        location: the bucket, or a location in it.
        settings: settings for access.
    """
    endpoint, is_virtual = _resolve_endpoint(location, settings)
    bucket_url = (
        _virtual_host_url(endpoint, location.bucket)
        if is_virtual
        else f"{endpoint}/{location.bucket}"
    )

    def sign(method: Method, address: str, query: str) -> str:
        if settings.signer.is_anonymous:
            return f"{address}?{query}"
        # obstore signs the endpoint followed by a key. With this endpoint, the key becomes the
        # value of x-id, a parameter that servers ignore because Amazon's own clients send it.
        to_sign = f"{address}?{query}&x-id=" if query else f"{address}?x-id="
        config: S3Config = {
            "virtual_hosted_style_request": True,
            "endpoint": to_sign,
            "aws_endpoint_url_s3": to_sign,
        }
        client = _create_client(location, settings, config)
        return obstore.sign(client, method, _OPERATIONS[method], _SIGNATURE_LIFETIME)

    return S3Lister(bucket_url, sign, read_certificates(settings.ca, endpoint))


def _resolve_endpoint(location: Location, settings: S3Settings) -> tuple[str, bool]:
    """Return the server's address, and True if the bucket is part of the host name."""
    endpoint = check_endpoint(settings.server.endpoint)
    return endpoint, _is_virtual(settings.style) and _is_virtual_hostable(location.bucket, endpoint)


def _create_client(location: Location, settings: S3Settings, config: "S3Config") -> S3Store:
    endpoint = check_endpoint(settings.server.endpoint)
    # Set everything explicitly: object_store reads what is missing from the environment.
    config["region"] = settings.region.value if settings.region else _DEFAULT_REGION
    config.update(settings.signer.config or {})
    return S3Store(
        location.bucket,
        config=config,
        client_options=client_options(
            plain_http=is_plain_http(endpoint),
            certificates=read_certificates(settings.ca, endpoint),
        ),
        retry_config=retry_config(),
        credential_provider=settings.signer.provider,
    )


def _endpoint(profile: Profile, service: str) -> Setting | None:
    """Return the endpoint that the AWS tools use for a service; None for Amazon's.

    Raises:
        InvalidValue: configured endpoints are to be ignored, but a variable sets one, which
            object_store would read.
    """
    named = from_environment(*_ENDPOINT_VARIABLES[service])
    name = "ignore_configured_endpoint_urls"
    ignore = from_environment(f"AWS_{name.upper()}") or profile.get(name)
    if not is_aws_true(ignore):
        in_service = profile.get_service_setting(service, "endpoint_url")
        return named or in_service or profile.get("endpoint_url")
    if named is not None:
        raise InvalidValue(f"{ignore.source} and {named.source} are both set: unset one of them")
    return None


def _sts_endpoint(
    profile: Profile, own_endpoint: Setting | None, region: Setting | None
) -> Setting | None:
    """Return the endpoint that exchanges a web identity; None if object_store is to use Amazon's.

    Args:
        profile: the active profile.
        own_endpoint: the store's endpoint, if the program gave it. The identity is exchanged
            there, so that private data stays there, unless this endpoint is Amazon's or the
            settings name one for STS.
        region: the store's region.
    """
    found = _endpoint(profile, "sts")
    of_sts = (
        from_environment(_ENDPOINT_VARIABLES["sts"][0]),
        profile.get_service_setting("sts", "endpoint_url"),
    )
    is_for_sts = found is not None and found in of_sts
    if own_endpoint is not None and not is_for_sts and not _is_amazon(own_endpoint):
        return own_endpoint
    if found is None and region is not None and (domain := _domain(region.value)) != _DOMAIN:
        return Setting(f"https://sts.{region.value}.{domain}", region.source)
    return found


def _is_amazon(endpoint: Setting) -> bool:
    host = urlsplit(check_endpoint(endpoint)).hostname or ""
    return host.endswith(tuple(f".{domain}" for domain in (_DOMAIN, *_DOMAINS.values())))


def _reject_unsupported_endpoints(profile: Profile) -> None:
    for name in _UNSUPPORTED_SWITCHES:
        switch = from_environment(f"AWS_{name.upper()}") or profile.get(name)
        if is_aws_true(switch):
            raise _unsupported_setting_error(switch)
    for name in _UNSUPPORTED_S3_SWITCHES:
        switch = profile.get_nested("s3", name)
        if is_aws_true(switch):
            raise _unsupported_setting_error(switch)


def _unsupported_setting_error(switch: Setting) -> InvalidValue:
    return InvalidValue(
        f"{switch.source} is a setting that framecache does not support: set "
        "AWS_ENDPOINT_URL_S3 to the desired endpoint, or unset it"
    )


def _domain(region: str) -> str:
    return next((name for start, name in _DOMAINS.items() if region.startswith(start)), _DOMAIN)


def _style_from_environment() -> Setting | None:
    variable = from_environment(_STYLE_VARIABLE)
    if variable is None:
        return None
    return Setting("virtual" if is_truthy(variable) else "path", variable.source)


def _is_virtual(style: Setting | None) -> bool:
    if style is None:
        return False
    if style.value not in _STYLES:
        raise InvalidValue(
            f"{style.source} must be one of {', '.join(_STYLES)}, not {style.value!r}"
        )
    return _STYLES[style.value]


def _is_virtual_hostable(bucket: str, endpoint: str) -> bool:
    """Return True if a bucket can be part of the host name, by the rules of boto3."""
    host = urlsplit(endpoint).hostname or ""
    # Wildcard certificates do not cover bucket names with a dot.
    is_name = _VIRTUAL_HOST_BUCKET.fullmatch(bucket) and (
        "." not in bucket or is_plain_http(endpoint)
    )
    return bool(is_name) and not _is_ip_address(bucket) and not _is_ip_address(host)


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _virtual_host_url(endpoint: str, bucket: str) -> str:
    """Return the address of a bucket that is part of the host name."""
    parts = urlsplit(endpoint)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()

"""boto3, as the benchmark's jobs use it."""

import boto3
from botocore.config import Config
from types_boto3_s3 import S3Client

BATCH = 1000


def client(endpoint: str, *, connections: int = 10) -> S3Client:
    return boto3.client(
        "s3", endpoint_url=endpoint, config=Config(max_pool_connections=connections)
    )


def get(s3: S3Client, bucket: str, key: str) -> bytes:
    with s3.get_object(Bucket=bucket, Key=key)["Body"] as body:
        return bytes(body.read())


def list_keys(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [blob["Key"] for page in pages for blob in page.get("Contents", [])]


def remove(s3: S3Client, bucket: str, prefix: str) -> None:
    keys = list_keys(s3, bucket, prefix)
    for begin in range(0, len(keys), BATCH):
        objects = [{"Key": key} for key in keys[begin : begin + BATCH]]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})  # type: ignore[typeddict-item]

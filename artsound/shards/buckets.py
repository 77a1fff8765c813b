"""What object stores do otherwise than folders: buckets, credentials, and errors of their own.

s3fs hands on some errors of botocore and aiohttp, which are no OSErrors; here they become one
sentence each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from artsound.errors import ArtSoundError, BadData, BadUsage

# Making a folder there would make a bucket that has it as its name, out of a slip of the pen.
_BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}
_S3 = {"s3", "s3a"}


def protocols(system: Any) -> set[str]:
    """The names under which fsspec knows a file system: {"s3", "s3a"}."""
    names = system.protocol
    return {names} if isinstance(names, str) else set(names)


def has_buckets(system: Any) -> bool:
    """Whether a file system keeps objects in buckets, and has no folders to make."""
    return not _BUCKETS.isdisjoint(protocols(system))


@contextlib.contextmanager
def plain_faults(system: Any, place: str) -> Iterator[None]:
    """Errors of the libraries behind s3:// as BadData or BadUsage; OSErrors pass as they are."""
    if _S3.isdisjoint(protocols(system)):
        yield
        return
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:  # ValueError: an endpoint is no URL
        raise _fault(place, error) from error


def _fault(place: str, error: Exception) -> ArtSoundError:
    from aiohttp import ClientError
    from botocore import exceptions as boto

    told = " ".join(str(error).split()).rstrip(".")  # some come in several lines
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return BadUsage(
            f"{place} cannot be opened without credentials: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or for a public bucket FSSPEC_S3_ANON=true."
        )
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError | ClientError):
        return BadData(
            f"{place} cannot be reached: {told}: check the network and AWS_ENDPOINT_URL."
        )
    return BadUsage(f"{place} cannot be opened: {told}.")

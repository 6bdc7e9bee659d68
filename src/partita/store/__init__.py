"""Where artifacts rest: files by their digest, on disk or in a bucket; signed manifests; a durable table of jobs.

Two rules. Nothing is half there: every write appears whole or not at all, and survives `kill -9`.
Nothing is believed unread: digests are checked on every read, signatures against keys that the reader chose.
"""

from .base import Artifact, Source, Store
from .jobs import Job, JobEvent, JobState, JobTable, Lease
from .local import LocalStore, write_whole
from .objects import ObjectStore
from .sign import Manifest, SigningKey, TrustedKey, describe_files, verify_files, verify_manifest

__all__ = [
    "Artifact",
    "Job",
    "JobEvent",
    "JobState",
    "JobTable",
    "Lease",
    "LocalStore",
    "Manifest",
    "ObjectStore",
    "SigningKey",
    "Source",
    "Store",
    "TrustedKey",
    "describe_files",
    "verify_files",
    "verify_manifest",
    "write_whole",
]

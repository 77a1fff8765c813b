"""The SPDX 3.0.1 document of a release, spdx.json: one dataset package, its files and licences.

It repeats what index.json and the card say in the terms of SPDX's dataset profile, for tools that
collect bills of materials. It has no clock: the same shards give the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from artsound import __version__
from artsound.shards.dataset import Dataset
from artsound.shards.index import INDEX

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
# SPDX requires a time of creation; an earlier one than any release says that it is not recorded.
_NO_TIME = "1970-01-01T00:00:00Z"


def spdx_of(data: Dataset, values: Mapping[str, Any]) -> str:
    """Return the SPDX document of shards in a folder, as JSON.

    Args:
        data: The release.
        values: Those of `artsound.reports.card.card_values`.
    """
    base = f"urn:artsound:spdx:{data.index_sha256}"
    made = {"creationInfo": "_:creation"}
    tool, package, document = (f"{base}:{name}" for name in ("artsound", "dataset", "document"))
    licences = [name for _, counts in values["licences"] for name in counts]
    expression = " AND ".join(dict.fromkeys(map(_licence, sorted(licences))))
    graph: list[dict[str, Any]] = [
        {
            "type": "CreationInfo",
            "@id": "_:creation",
            "specVersion": "3.0.1",
            "created": _NO_TIME,
            "createdBy": [tool],
            "comment": "The time is not recorded: the same shards give the same document.",
        },
        {"type": "SoftwareAgent", "spdxId": tool, "name": f"artsound {__version__}", **made},
        {
            "type": "dataset_DatasetPackage",
            "spdxId": package,
            **made,
            "name": values["name"],
            "summary": values["summary"],
            "software_packageVersion": values["version"],
            "software_primaryPurpose": "data",
            "originatedBy": [tool],
            "dataset_datasetType": ["audio", "image", "text"],
            "dataset_datasetSize": values["pairs"],
            "dataset_intendedUse": " ".join(values["uses"]),
            "dataset_knownBias": values["biases"],
            "dataset_datasetNoise": " ".join(values["limitations"]),
            "dataset_hasSensitivePersonalInformation": "noAssertion",
            "verifiedUsing": [_sha256(data.index_sha256)],
        },
        {
            "type": "simplelicensing_LicenseExpression",
            "spdxId": f"{base}:licences",
            **made,
            "simplelicensing_licenseExpression": expression,
            "comment": "Every work has its own licence: ATTRIBUTION.csv and the index state it.",
        },
    ]
    digests = {INDEX: data.index_sha256, **{shard.name: shard.sha256 for shard in data.shards}}
    files = [
        {
            "type": "software_File",
            "spdxId": f"{base}:file:{name}",
            **made,
            "name": name,
            "software_primaryPurpose": "data",
            "verifiedUsing": [_sha256(digest)],
        }
        for name, digest in digests.items()
    ]
    links = {
        "contains": [file["spdxId"] for file in files],
        "hasDeclaredLicense": [f"{base}:licences"],
    }
    graph += files
    graph += [
        {
            "type": "Relationship",
            "spdxId": f"{base}:{kind}",
            **made,
            "from": package,
            "relationshipType": kind,
            "to": to,
        }
        for kind, to in links.items()
    ]
    about = {
        "type": "SpdxDocument",
        "spdxId": document,
        **made,
        "name": f"{values['name']} {values['version']}",
        "profileConformance": ["core", "software", "dataset", "simpleLicensing"],
        "rootElement": [package],
        "element": [one["spdxId"] for one in graph if "spdxId" in one],
    }
    found = {"@context": CONTEXT, "@graph": [*graph, about]}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _sha256(digest: str) -> dict[str, str]:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": digest}


def _licence(name: str) -> str:
    """A licence as SPDX expressions have it: what SPDX has no name for is a `LicenseRef`."""
    if name in ("unknown", "public-domain") or not re.fullmatch(r"[A-Za-z0-9.+ -]+", name):
        return f"LicenseRef-{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}"
    return f"({name})" if " " in name else name

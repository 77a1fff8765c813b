"""The cards of a release: README.md (a Hugging Face card), DATASHEET.md, croissant.json, spdx.json.

All are made from index.parquet, index.json and the schemas alone, without clock or paths, so
the same shards give the same bytes. Croissant 1.1 (http://mlcommons.org/croissant/1.1, with its RAI
extension and W3C PROV terms) describes the release field by field: the index is the primary record
set; pictures and clips are media in the shards.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from artsound import __version__
from artsound.columns import KINDS, SAMPLE
from artsound.errors import BadData
from artsound.progress import counted
from artsound.recipe import ReleaseSection
from artsound.reports.judging import published, published_preferences, summarise_judgements
from artsound.reports.preferences import summarise_preferences
from artsound.reports.stats import count_rows, frame_stats, value_counts, words_of
from artsound.rights import PUBLIC_DOMAIN, TRAINABLE, UNKNOWN, licence_rights, policy_condition
from artsound.schema import arrow_schema, json_schema, schema_folder
from artsound.shards.dataset import Dataset, open_shards
from artsound.shards.index import INDEX, SPLITS
from artsound.shards.release import (
    CHANGES,
    CREDIT_COLUMNS,
    FIRST,
    credit_lacks,
    licence_url,
    write_sums,
)
from artsound.sources.base import home_page
from artsound.storage import write_bytes

# Stands for a date that the publisher does not give: earlier than any release.
_NO_DATE = "1970-01-01"
_DATE_NOT_GIVEN = f"Its publisher gives no date of publication: {_NO_DATE} stands for that."
_SYNTHETIC = "Synthetic: pictures and music were made by code, for trying the pipeline out."


def croissant_of(data: Dataset, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Croissant description of shards in a folder.

    Args:
        data: The release.
        values: Those of `card_values`.
    """
    context = json.loads((files("artsound.reports") / "croissant_context.json").read_text())
    return {
        "@context": {**context, **_PREFIXES},
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": values["name"],
        "description": " ".join(
            [
                values["summary"],
                *([_SYNTHETIC] if values["synthetic"] else []),
                *([] if values["said"].get("date") else [_DATE_NOT_GIVEN]),
            ]
        ),
        "version": values["version"],
        "license": sorted({url for _, url, _, _ in values["licence_table"]}),
        "creator": [{"@type": "sc:Person", "name": name} for name in values["people"]]
        or {"@type": "sc:Organization", "name": UNANSWERED},
        **_published(values),
        "keywords": ["art", "music", "paintings", "audio", "captions", "multimodal"],
        "inLanguage": "en",
        "isLiveDataset": False,
        "citeAs": values["citation"],
        "usageInfo": usage_offers(data.frame),
        **_responsible(values),
        **_provenance(values),
        "distribution": _distribution(data),
        "recordSet": [
            _split_names(data),
            _pairs(data),
            _media("images", "jpg"),
            _media("audio", "mp3"),
        ],
    }


def _distribution(data: Dataset) -> list[dict[str, Any]]:
    size = (Path(data.store.location) / INDEX).stat().st_size
    index = {
        "@type": "cr:FileObject",
        "@id": INDEX,
        "name": INDEX,
        "description": "A row per pair, with all fields and the place of its bytes.",
        "contentUrl": _own_spelling(INDEX, data.index_sha256),
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": data.index_sha256,
    }
    shards = [
        {
            "@type": "cr:FileObject",
            "@id": shard.name,
            "name": shard.name,
            "description": f"{shard.samples} pairs of the {shard.split} split, as WebDataset.",
            "contentUrl": _own_spelling(shard.name, shard.sha256),
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": shard.sha256,
        }
        for shard in data.shards
    ]
    inside = [{"@id": shard.name} for shard in data.shards]
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"{member}-files",
            "name": f"{member}-files",
            "description": f"The .{member} members of all shards.",
            "containedIn": inside,
            "encodingFormat": encoding,
            "includes": f"*.{member}",
        }
        for member, encoding in (("jpg", "image/jpeg"), ("mp3", "audio/mpeg"))
    ]
    return [index, *shards, *sets]


def _own_spelling(name: str, sha256: str) -> str:
    """The path of a file beside the description, spelled otherwise for other content.

    mlcroissant caches what it unpacks by the spelling of `contentUrl`, and shards of all releases
    have the same names. `./` and `.//` are no steps of a path: 32 of them write 32 bits of the
    digest. Addresses of a pushed release name its version instead.
    """
    bits = f"{int(sha256[:8], 16):032b}"
    return "".join(".//" if bit == "1" else "./" for bit in bits) + name


def _pairs(data: Dataset) -> dict[str, Any]:
    """The primary record set: the rows of the index."""
    properties = json_schema("index")["properties"]
    fields = []
    for field in arrow_schema("index"):
        if field.name not in data.frame.columns:
            continue
        repeated = pa.types.is_list(field.type)
        inner = field.type.value_type if repeated else field.type
        described = {
            "@type": "cr:Field",
            "@id": f"pairs/{field.name}",
            "name": field.name,
            "description": (
                f"{properties[field.name]['description']}; unknown in "
                f"{_unknown(data.frame, field.name):,} of {data.frame.height:,} rows"
            ),
            "dataType": _data_type(inner),
            "source": {"fileObject": {"@id": INDEX}, "extract": {"column": field.name}},
        }
        described |= _caption_provenance(data, field.name)
        fields.append({**described, "repeated": True} if repeated else described)
    return {
        "@type": "cr:RecordSet",
        "@id": "pairs",
        "name": "pairs",
        "description": "One artwork and one music clip each, with captions, rights and score.",
        "key": {"@id": "pairs/key"},
        "field": fields,
    }


_SPLIT_KINDS = {"train": "TrainingSplit", "val": "ValidationSplit", "test": "TestSplit"}


def _split_names(data: Dataset) -> dict[str, Any]:
    """The record set of the splits, in Croissant's terms."""
    there = set(data.frame["split"].unique())
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "description": "The splits of the pairs.",
        "key": {"@id": "splits/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": "splits/name",
                "name": "name",
                "description": "name of the split, as in pairs/split",
                "dataType": "sc:Text",
            },
            {
                "@type": "cr:Field",
                "@id": "splits/url",
                "name": "url",
                "description": "what the split is for",
                "dataType": "sc:URL",
            },
        ],
        "data": [
            {"splits/name": name, "splits/url": f"http://mlcommons.org/croissant/{kind}"}
            for name, kind in _SPLIT_KINDS.items()
            if name in there
        ],
    }


def _caption_provenance(data: Dataset, field: str) -> dict[str, Any]:
    """What made the captions of a column, and from what, in W3C PROV terms."""
    side = field.removesuffix("_caption")
    seen = {"artwork_caption": "images/content", "track_caption": "audio/content"}
    if field not in seen:
        return {}
    captioners = sorted(data.frame[f"{side}_captioner"].unique())
    return {
        "prov:wasDerivedFrom": {"@id": seen[field]},
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"machine-generated captions; pairs/{side}_captioner names the captioner",
            "prov:wasAssociatedWith": [
                {"@type": "prov:SoftwareAgent", "prov:label": name} for name in captioners
            ],
        },
    }


def _media(name: str, member: str) -> dict[str, Any]:
    """The pictures or the clips: each by the key of its pair."""
    source = {"fileSet": {"@id": f"{member}-files"}}
    kind = "sc:ImageObject" if member == "jpg" else "sc:AudioObject"
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"The .{member} member of each pair, by the pair's key.",
        "key": {"@id": f"{name}/key"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/key",
                "name": "key",
                "description": "key of the pair: pairs/key",
                "dataType": "sc:Text",
                "source": {
                    **source,
                    "extract": {"fileProperty": "filename"},
                    "transform": {"regex": rf"^(.*)\.{member}$"},
                },
            },
            {
                "@type": "cr:Field",
                "@id": f"{name}/content",
                "name": "content",
                "description": "the artwork" if member == "jpg" else "the clip",
                "dataType": kind,
                "source": {**source, "extract": {"fileProperty": "content"}},
            },
        ],
    }


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


def _responsible(values: Mapping[str, Any]) -> dict[str, Any]:
    """The RAI extension: how the data were made, their biases and limitations."""
    return {
        "rai:dataCollection": (
            f"Artworks and clips of {', '.join(values['sources'])}, matched by machine within "
            "splits."
        ),
        "rai:dataCollectionType": ["Software Collection"]
        if values["synthetic"]
        else ["Secondary Data Analysis", "Software Collection"],
        "rai:hasSyntheticData": True,
        "rai:dataPreprocessingProtocol": [
            "Pictures are decoded, checked and, only where needed, re-encoded to JPEG within the "
            "recipe's limit of size; clips keep their original MP3 bytes, or are encoded as MP3 "
            "from another format.",
            "Items that cannot be used are left out, each with its reason.",
        ],
        "rai:dataAnnotationProtocol": (
            "Captions are machine-generated: artworks by "
            f"{', '.join(values['artwork_captioners'])}, music by "
            f"{', '.join(values['track_captioners'])}. No person wrote them."
        ),
        "rai:machineAnnotationTools": [
            f"artsound {__version__}",
            *sorted({*values["artwork_captioners"], *values["track_captioners"]}),
        ],
        "rai:annotationsPerItem": "one caption for each side of a pair",
        "rai:dataUseCases": values["uses"],
        "rai:dataBiases": values["biases"],
        "rai:dataLimitations": values["limitations"],
        "rai:personalSensitiveInformation": [
            "None: pictures, music and names were made by code."
            if values["synthetic"]
            else "Names of painters and musicians, as published by the sources; portraits may show "
            "people."
        ],
        "rai:dataSocialImpact": values["impact"],
        "rai:dataReleaseMaintenancePlan": (
            "A release is rebuilt from its recipe; releases are told apart by the digest of their "
            "index."
        ),
    }


def _published(values: Mapping[str, Any]) -> dict[str, Any]:
    """Address, where the publisher gives it, and date, which Croissant asks for."""
    url = values["said"].get("homepage")
    return {
        **({"url": url} if url else {}),
        "datePublished": values["said"].get("date") or _NO_DATE,
    }


def _provenance(values: Mapping[str, Any]) -> dict[str, Any]:
    """The sources and the tool, in W3C PROV terms."""
    return {
        "prov:wasDerivedFrom": [
            {
                "@type": "prov:Entity",
                "@id": row["link"] or f"urn:artsound:source:{row['source']}",
                "prov:label": f"{row['source']}, {row['side']}s"
                + (f", state {row['sha256']}" if row["sha256"] else ""),
            }
            for row in values["source_rows"]
        ],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": (
                f"artsound {__version__}, recipe {values['recipe_digest'] or 'unknown'}, "
                f"bridge {', '.join(values['bridges'])}"
            ),
        },
    }


# The terms of a release for machines: ODRL offers, for `usageInfo` of its Croissant description.
#
# Each offer is of one rights class: the items of one side that have the same licence, flags and
# `ai_training`. What the flags allow is a permission with its duties and limits. What may not be
# passed on, and what refuses to be trained with, is under a prohibition. Training is `tdm:mine`,
# the action of the TDM Reservation Protocol's profile (W3C Community Group report, 2024).

# Prefixes of the offers' terms, for the JSON-LD context.
_PREFIXES = {
    "cc": "http://creativecommons.org/ns#",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "tdm": "http://www.w3.org/ns/tdmrep#",
}
_SIDES = ("artwork", "track")
_CLASS = ("license_id", "redistribute", "derivatives", "commercial", "ai_training")
_FREE = (PUBLIC_DOMAIN, "CC0-1.0", "CC-PDM-1.0", "CC-PDDC")  # licences without a duty to credit
_NOT_COMMERCIAL = {
    "@type": "odrl:Constraint",
    "odrl:leftOperand": {"@id": "odrl:purpose"},
    "odrl:operator": {"@id": "odrl:neq"},
    "odrl:rightOperand": {"@id": "odrl:commercialize"},
}


def usage_offers(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return an ODRL offer for each rights class of a release, sorted.

    Args:
        frame: The rows of its index.
    """
    offers = []
    for side in _SIDES:
        rows = frame.select(pl.col(f"{side}_{name}").alias(name) for name in _CLASS).with_columns(
            pl.col("license_id", "ai_training").fill_null(UNKNOWN)
        )
        counted = rows.group_by(_CLASS).len().sort(_CLASS)
        offers += [_offer(side, row) for row in counted.iter_rows(named=True)]
    return offers


def _offer(side: str, row: Mapping[str, Any]) -> dict[str, Any]:
    licence = row["license_id"]
    flags = "".join(
        letter if row[name] else "-" for letter, name in zip("rdc", _CLASS[1:4], strict=True)
    )
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{side}-{licence}-{flags}-{row['ai_training']}")
    stated = licence_rights(licence)
    duties = []
    if stated.attribution or (stated.license_id == UNKNOWN and licence not in _FREE):
        duties.append({"@type": "odrl:Duty", "odrl:action": {"@id": "odrl:attribute"}})
    limits = [] if row["commercial"] else [_NOT_COMMERCIAL]
    permissions = []
    for action, flag in (("distribute", "redistribute"), ("derive", "derivatives")):
        if not row[flag]:
            continue
        share = action == "derive" and stated.share_alike
        extra = [{"@type": "odrl:Duty", "odrl:action": {"@id": "cc:ShareAlike"}}] if share else []
        permissions.append(_permission(f"odrl:{action}", [*duties, *extra], limits))
    if row["ai_training"] in TRAINABLE:
        credit = duties if row["ai_training"] != "allowed" else []
        only = [_NOT_COMMERCIAL] if row["ai_training"] == "non-commercial-only" else []
        permissions.append(_permission("tdm:mine", credit, only))
    barred = [] if row["redistribute"] else ["odrl:distribute"]
    barred += ["tdm:mine"] if row["ai_training"] == "refused" else []
    prohibitions = [
        {"@type": "odrl:Prohibition", "odrl:action": {"@id": action}} for action in barred
    ]
    return {
        "@type": "odrl:Offer",
        "@id": f"urn:artsound:terms:{name}",
        "odrl:profile": {"@id": "http://www.w3.org/ns/tdmrep"},
        "odrl:target": {
            "@type": "odrl:AssetCollection",
            "description": (
                f"{row['len']:,} pairs whose {side} has the licence {licence} and "
                f"{side}_ai_training {row['ai_training']}"
            ),
            "odrl:refinement": [
                {
                    "@type": "odrl:Constraint",
                    "odrl:leftOperand": {"@id": f"urn:artsound:column:{side}_{column}"},
                    "odrl:operator": {"@id": "odrl:eq"},
                    "odrl:rightOperand": row[column],
                }
                for column in _CLASS
            ],
        },
        **({"odrl:permission": permissions} if permissions else {}),
        **({"odrl:prohibition": prohibitions} if prohibitions else {}),
    }


def _permission(
    action: str, duties: list[dict[str, Any]], limits: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "@type": "odrl:Permission",
        "odrl:action": {"@id": action},
        **({"odrl:duty": duties} if duties else {}),
        **({"odrl:constraint": limits} if limits else {}),
    }


# The SPDX 3.0.1 document of a release, spdx.json: one dataset package, its files and licences.
#
# It repeats what index.json and the card say in the terms of SPDX's dataset profile, for tools that
# collect bills of materials.

_SPDX_CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
# SPDX requires a time of creation; an earlier one than any release says that it is not recorded.
_NO_TIME = "1970-01-01T00:00:00Z"


def spdx_of(data: Dataset, values: Mapping[str, Any]) -> str:
    """Return the SPDX document of shards in a folder, as JSON.

    Args:
        data: The release.
        values: Those of `card_values`.
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
    found = {"@context": _SPDX_CONTEXT, "@graph": [*graph, about]}
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _sha256(digest: str) -> dict[str, str]:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": digest}


def _licence(name: str) -> str:
    """A licence as SPDX expressions have it: what SPDX has no name for is a `LicenseRef`."""
    if name in ("unknown", "public-domain") or not re.fullmatch(r"[A-Za-z0-9.+ -]+", name):
        return f"LicenseRef-{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}"
    return f"({name})" if " " in name else name


# The card and the datasheet, from templates.

CARDS = (
    *("README.md", "DATASHEET.md", "croissant.json", "spdx.json"),
    *("LICENSE.md", "LICENSES.txt", "TAKEDOWN.md", "CITATION.cff", "TRAINING_DATA_SUMMARY.md"),
    *("sample.schema.json", "index.schema.json", "shard_index.schema.json"),
)
UNANSWERED = "not answered by the publisher"
_PAPER = "https://arxiv.org/abs/2602.17599"
_SOURCES_OF_THE_PAPER = frozenset({"artgraph", "fma"})
_HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
_RULE = 80 * "="
_MOST = 20  # languages and hosts that the training-data summary lists
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
# Fields whose absence the datasheet counts: null or the empty list is unknown.
_MAY_LACK = (
    *("artwork_title", "artwork_year", "artwork_style", "artwork_genre", "artwork_school"),
    *("artwork_period", "artwork_tags", "artwork_media", "artwork_emotions", "track_title"),
    *("album", "track_genre", "track_tags", "track_source_url", "artwork_source_url"),
)


def write_cards(shards: Path, out: Path) -> list[Path]:
    """Write the files of CARDS: what a release says of itself, and the schemas of its files.

    In the release itself, they are the last: SHA256SUMS follows, with the digests of all files.

    Args:
        shards: The folder of the release.
        out: Where the files are written.

    Returns:
        Their paths.

    Raises:
        BadData: The index is damaged, or is not one of this project.
    """
    data = open_shards(shards)
    missing = [name for name in arrow_schema("sample").names if name not in data.frame.columns]
    if missing:
        raise BadData(f"{shards} has no {missing[0]} for its samples: artsound did not build it.")
    values = card_values(data)
    texts = {
        "README.md": _render("card.md.j2", values),
        "DATASHEET.md": _render("datasheet.md.j2", values),
        "croissant.json": json.dumps(croissant_of(data, values), indent=2, ensure_ascii=False)
        + "\n",
        "spdx.json": spdx_of(data, values),
        "LICENSE.md": _render("license.md.j2", values),
        "TAKEDOWN.md": _render("takedown.md.j2", values),
        "LICENSES.txt": licence_texts([name for name, *_ in values["licence_table"]]),
        "CITATION.cff": _citation(values),
        "TRAINING_DATA_SUMMARY.md": _render("training_summary.md.j2", values),
    }
    for name in ("sample", "index", "shard_index"):
        texts[f"{name}.schema.json"] = (schema_folder() / f"{name}.json").read_text("utf-8")
    for name, text in texts.items():
        write_bytes(out / name, text.encode())
    files = [out / name for name in CARDS]
    whole = all((out / shard.name).is_file() for shard in data.shards)
    return [*files, write_sums(out)] if whole and out.samefile(shards) else files


def card_values(data: Dataset) -> dict[str, Any]:
    """Return all values of the templates, computed from the index; JSON values."""
    frame = data.frame
    about = json.loads(data.store.read("index.json"))
    stats = frame_stats(frame)
    counts = stats["counts"]
    synthetic = bool(frame["synthetic"].all())
    sources = sorted({*frame["artwork_source"].unique(), *frame["track_source"].unique()})
    crossing = {
        column: _crossing(frame, column)
        for column in (
            *("painter_id", "musician_id", "musician", "artwork_cluster", "track_cluster"),
        )
    }
    said = about.get("release", {})
    parent, asked, removed = about.get("parent"), _asked(data), _removed(data)
    imported = count_rows(frame, pl.col("pairing_method") == "given")
    words = {side: words_of(frame[f"{side}_caption"]) for side in ("artwork", "track")}
    return {
        "tool": f"artsound {__version__}",
        "name": data.name,
        "pretty": said.get("title") or _title(data.name, sources, synthetic=synthetic),
        "version": f"{about.get('version', __version__)}+{data.index_sha256[:12]}",
        "semantic": about.get("version", FIRST),
        "summary": (
            f"{counted(frame.height, 'pair')} of an artwork and a music clip, each side with a "
            f"caption{_english(frame)}, as WebDataset shards with an index."
        ),
        "synthetic": synthetic,
        "asked": asked,
        "parent": parent,
        "removed": removed,
        "imported": imported,
        "base": about.get("base", ""),
        "rejects_recorded": "sources" in about and not parent,
        "about": _about(sources, asked, parent, removed, imported, synthetic=synthetic),
        "extent": _extent(parent, removed, synthetic=synthetic),
        "said": said,
        "people": [re.sub(r"\s*\(.*\)$", "", name) for name in said.get("authors", [])],
        "release": {key: _said(said, key) for key in ReleaseSection.model_fields},
        "published": [
            (field.description, _said(said, key))
            for key, field in ReleaseSection.model_fields.items()
        ],
        "sources": sources,
        "source_rows": _source_rows(frame, about),
        **_of_training(frame, about, words),
        "credit": credit_lacks(
            frame.select(name for name in CREDIT_COLUMNS if name in frame.columns).to_arrow()
        ),
        "unanswered": UNANSWERED,
        "source_links": [] if synthetic else [(name, home_page(name)) for name in sources],
        "recipe_digest": about["recipe_digest"],
        "index_sha256": data.index_sha256,
        "citation": f"{data.name}, built by artsound {__version__}, index {data.index_sha256[:12]}"
        + (f", https://doi.org/{said['doi']}" if said.get("doi") else ""),
        "pairs": frame.height,
        "hours": stats["hours"],
        "bytes": sum(shard.bytes for shard in data.shards),
        "splits": _splits(data),
        "hub_splits": [
            (_HUB_SPLITS[split], [s.name for s in data.shards if s.split == split])
            for split in SPLITS
            if any(shard.split == split for shard in data.shards)
        ],
        "hub_sizes": [(_HUB_SPLITS[split], pairs, size) for split, _, pairs, size in _splits(data)],
        "train_names": json.dumps(
            [shard.name for shard in data.shards if shard.split == data.shards[0].split][:3]
        ),
        "features": [(field.name, _feature(field.type)) for field in arrow_schema("sample")],
        "negative": count_rows(frame, pl.col("margin") < 0),
        "size_category": next((name for top, name in _SIZES if frame.height < top), "100K<n<1M"),
        "painters": frame.filter(pl.col("painter").is_not_null())["painter_id"].n_unique(),
        "musicians": frame["musician"].drop_nulls().n_unique(),
        "crossing": crossing,
        "counts": counts,
        "measures": stats["measures"],
        "track_years": _span(frame["track_year"]),
        "years": _span(frame["artwork_year"]),
        "bridges": sorted(counts["bridge"]),
        "artwork_captioners": sorted(counts["artwork_captioner"]),
        "track_captioners": sorted(counts["track_captioner"]),
        "words": {
            side: [int(values.min()), float(values.median()), int(values.max())]  # type: ignore[arg-type]
            for side, values in words.items()
        },
        "caption_repeats": {
            side: frame.height - frame[f"{side}_caption"].n_unique() for side in words
        },
        "rights": _rights(frame),
        "unknown_licence": {
            "artwork": frame["artwork_license_id"].null_count(),
            "track": frame["track_license_id"].null_count(),
            "either": count_rows(
                frame,
                pl.any_horizontal(pl.col("artwork_license_id", "track_license_id").is_null()),
            ),
        },
        "licences": [
            ("music", counts["track_license_id"]),
            ("artworks", counts["artwork_license_id"]),
        ],
        "licence_table": [
            (
                licence,
                licence_url(licence),
                counts["artwork_license_id"].get(licence, 0),
                counts["track_license_id"].get(licence, 0),
            )
            for licence in sorted({*counts["track_license_id"], *counts["artwork_license_id"]})
        ],
        "judged": _judged(data),
        "preferred": _preferred(data),
        "unknown": {name: _unknown(frame, name) for name in _MAY_LACK},
        "clustered": {
            "artworks": _clustered(frame, "artwork_cluster"),
            "clips": _clustered(frame, "track_cluster"),
        },
        "fields": [
            (
                column.name,
                str(arrow_schema("sample").field(column.name).type).replace("item: ", ""),
                column.unit,
                _unknown(frame, column.name),
                column.description,
                json.dumps(column.example, ensure_ascii=False)[:60],
            )
            for column in SAMPLE
        ],
        **_warnings(frame, imported, synthetic=synthetic),
    }


def _said(said: Mapping[str, Any], key: str) -> str:
    """What the publisher says under a key of the recipe's [release]."""
    value = said.get(key)
    return ", ".join(value) if isinstance(value, list) else str(value or UNANSWERED)


def _title(name: str, sources: Sequence[str], *, synthetic: bool) -> str:
    if synthetic:
        return "ArtSound (synthetic sample)"
    return f"{name}: an independent rebuild of ArtSound" if _rebuilds(sources) else name


def _rebuilds(sources: Sequence[str]) -> bool:
    """Whether a release has the sources of the paper's set."""
    return set(sources) >= _SOURCES_OF_THE_PAPER


def _about(
    sources: Sequence[str],
    asked: Sequence[str],
    parent: Mapping[str, Any] | None,
    removed: int,
    imported: int,
    *,
    synthetic: bool,
) -> list[str]:
    """What kind of release it is, in sentences of Markdown."""
    lines = []
    if synthetic:
        lines.append(
            "**Synthetic.** Pictures and music of this build were made by code, for trying the "
            "pipeline out; they are no person's works of art."
        )
    elif _rebuilds(sources):
        others = "" if set(sources) == _SOURCES_OF_THE_PAPER else ", and others,"
        lines.append(
            f"**An independent rebuild** of the set that the paper [arXiv 2602.17599]({_PAPER}) "
            f"describes, made from the same sources{others} by other code. It is not by the "
            "paper's authors, and its pairs and captions are not theirs."
        )
    if "artgraph" in sources:
        lines.append(
            "Titles and years of ArtGraph's artworks were read from file names: spelling and "
            "accents are lost, and some years with them."
        )
    if imported:
        lines.append(
            f"{counted(imported, 'pair')} of this release were not matched here, but imported from "
            "a list of pairs; their scores were computed afterwards."
        )
    if parent:
        chosen = f", chosen by: {_cell('; '.join(asked))}" if asked else ""
        lines.append(
            f"A subset of a release, {_cell(parent['name'])} {_cell(parent['version'])}{chosen}."
        )
    if removed:
        lines.append(f"Pairs of the release before that were taken out of this one: {removed:,}.")
    return lines


def _extent(parent: Mapping[str, Any] | None, removed: int, *, synthetic: bool) -> str:
    """Whether a release is all there could be."""
    if parent:
        return "A part of a release: see above."
    if removed:
        return "A release without the pairs that were taken out of the one before."
    if synthetic:
        return "A synthetic miniature, made by code."
    return (
        "What the recipe selected of its sources, could be used and was matched. Artworks and "
        "clips that were not are not in the release."
    )


def _source_rows(frame: pl.DataFrame, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each source of a side: its page, the state that was read, and the works used of it."""
    states = {(one["side"], one["source"]): one for one in about.get("sources", [])}
    found = []
    for side, key in (("artwork", "artwork_id"), ("track", "track_id")):
        used = frame.group_by(f"{side}_source").agg(pl.col(key).n_unique()).sort(f"{side}_source")
        for source, count in used.iter_rows():
            state = states.get((side, source), {})
            found.append(
                {
                    "side": side,
                    "source": source,
                    "link": home_page(source),
                    "sha256": state.get("sha256", ""),
                    "stated": f"{state['items']:,}" if state else None,
                    "used": count,
                }
            )
    return found


def _of_training(
    frame: pl.DataFrame, about: Mapping[str, Any], words: Mapping[str, pl.Series]
) -> dict[str, Any]:
    """What the training-data summary counts beside the card's own numbers."""
    rejects = about.get("rejects", {}).values()
    urls = pl.concat(
        [frame["artwork_source_url"].rename("url"), frame["track_source_url"].rename("url")]
    )
    hosts = (
        urls.drop_nulls().str.extract(r"^[a-z]+://([^/:?#]+)").drop_nulls().value_counts(sort=True)
    )
    kinds = KINDS["training"]["enum"]
    order = [kinds[0], kinds[1], kinds[2], "unknown", "refused"]
    training = []
    for side in ("artwork", "track"):
        counts = dict(frame[f"{side}_ai_training"].fill_null("unknown").value_counts().iter_rows())
        training.append((side, [counts.get(kind, 0) for kind in order]))
    captioners = []
    for side in ("artwork", "track"):
        names = [f"{side}_captioner", f"{side}_captioner_version"]
        for name, version, count in frame.group_by(names).len().sort(names).iter_rows():
            captioners.append((f"{side}s", name, version, count))
    fallbacks = {
        side: dict(
            frame[f"{side}_caption_fallback"]
            .drop_nulls()
            .value_counts()
            .sort(f"{side}_caption_fallback")
            .iter_rows()
        )
        for side in ("artwork", "track")
    }
    languages = (
        frame["track_language"]
        .fill_null("not stated")
        .value_counts()
        .sort("count", "track_language", descending=[True, False])
    )
    return {
        "artworks": frame["artwork_id"].n_unique(),
        "words_total": sum(int(counts.sum()) for counts in words.values()),
        "languages": dict(languages.head(_MOST).iter_rows()),
        "more_languages": max(0, languages.height - _MOST),
        "folders": sorted(
            {row["source"] for row in _source_rows(frame, about) if not row["link"]} - {"sample"}
        ),
        "hosts": sorted(hosts.iter_rows(), key=lambda one: (-one[1], one[0]))[:_MOST],
        "captioners": captioners,
        "fallbacks": fallbacks,
        "english": _english(frame),
        "checks": {
            side: found
            for side in ("artwork", "track")
            if (
                found := value_counts(
                    frame.select(f"{side}_caption_check").drop_nulls(), f"{side}_caption_check"
                )
            )
        },
        "synthetic_pairs": int(frame["synthetic"].sum()),
        "training": training,
        "opted_out": sum(side.get("opted-out", 0) for side in rejects),
        "by_policy": sum(side.get("rights-policy", 0) for side in rejects),
        "rejects": [
            (side, reason, count)
            for side, counts in about.get("rejects", {}).items()
            for reason, count in counts.items()
        ],
    }


def licence_texts(licences: Sequence[str]) -> str:
    """LICENSES.txt: of each licence its address, and its text where SPDX has one.

    Args:
        licences: Their ids, sorted.
    """
    parts = ["Texts of the licences in use in this release.\n"]
    for licence in licences:
        if licence in (UNKNOWN, PUBLIC_DOMAIN):
            continue
        for name in licence.split(" AND "):
            url = licence_url(name)
            place = files("artsound.reports") / "licences"
            text = place / f"{re.sub('-(only|or-later)$', '', name)}.txt"
            address = url if url.startswith("https:") else "no address"
            head = f"{_RULE}\n{name}\n{address}\n{_RULE}\n"
            body = text.read_text("utf-8") if text.is_file() else "Its text is at its address.\n"
            if not url.startswith("https:") and not text.is_file():
                body = "Its source states no version: no text can be given.\n"
            parts.append(f"{head}\n{body}")
    return "\n".join(parts)


def _removed(data: Dataset) -> int:
    """The number of pairs that the release before had and this one has not."""
    try:
        return int(json.loads(data.store.read(CHANGES))["releases"][0]["counts"]["Removed"])
    except (BadData, ValueError, LookupError, TypeError):
        return 0


def _judged(data: Dataset) -> dict[str, Any] | None:
    """What judges said of this release, if it has their judgements."""
    if "://" in data.store.location:
        return None
    found = published(Path(data.store.location))
    return summarise_judgements(found) if found is not None else None


def _preferred(data: Dataset) -> dict[str, Any]:
    """Which clips judges preferred, if this release has their preferences."""
    if "://" in data.store.location:
        return {}
    found = published_preferences(Path(data.store.location))
    return summarise_preferences(found) if found is not None else {}


def _rights(frame: pl.DataFrame) -> list[tuple[str, int]]:
    """How many pairs may be used how: both sides, or where it says so, either."""

    def both(policy: str) -> int:
        return count_rows(frame, pl.sql_expr(policy_condition(policy)))

    def either(column: str, pattern: str) -> int:
        sides = (pl.col(f"{side}_{column}").str.contains(pattern) for side in ("artwork", "track"))
        return count_rows(frame, pl.any_horizontal(*sides))

    unknown = pl.any_horizontal(pl.col("artwork_license_id", "track_license_id").is_null())
    return [
        ("both sides may be passed on", both("redistributable")),
        ("both sides may be changed", both("adaptable")),
        ("both sides may be used commercially", both("commercial")),
        ("the licences of both sides allow training of models", both("trainable")),
        ("the licence of a side is not known", count_rows(frame, unknown)),
        ("a side is under a NoDerivatives licence", either("license_id", "-ND")),
        ("a side is under a share-alike licence", either("license_id", "-SA|GPL")),
    ]


def _feature(kind: pa.DataType) -> str:
    """The type of a field as the front matter of a card has it."""
    if pa.types.is_list(kind):
        return "list: string"
    names = {"float": "float32", "double": "float64"}
    return f"dtype: {names.get(str(kind), str(kind))}"


def _citation(values: Mapping[str, Any]) -> str:
    """CITATION.cff of the release, as YAML."""
    people = values["people"] or [UNANSWERED]
    lines = [
        "cff-version: 1.2.0",
        "type: dataset",
        "message: If you use this release, cite it, and credit the works that you show or play.",
        f"title: {quoted(values['pretty'])}",
        f"version: {quoted(values['version'])}",
        "authors:",
        *(f"- name: {quoted(name)}" for name in people),
    ]
    for key, field in (("doi", "doi"), ("date", "date-released"), ("homepage", "url"),
                       ("repository", "repository-code")):  # fmt: skip
        if values["said"].get(key):
            lines.append(f"{field}: {quoted(values['said'][key])}")
    return "\n".join(lines) + "\n"


def _asked(data: Dataset) -> list[str]:
    """The query of a subset, as `artsound subset` saves it; empty for a whole release."""
    try:
        query = json.loads(data.store.read("query.json"))["query"]
    except (BadData, ValueError, KeyError, TypeError):
        return []
    return [str(part) for part in query]


def _splits(data: Dataset) -> list[tuple[str, int, int, int]]:
    """Name, shards, pairs and bytes of each split that has pairs."""
    found = []
    for split in SPLITS:
        some = [shard for shard in data.shards if shard.split == split]
        if some:
            pairs, size = sum(s.samples for s in some), sum(s.bytes for s in some)
            found.append((split, len(some), pairs, size))
    return found


def _unknown(frame: pl.DataFrame, name: str) -> int:
    column = frame[name]
    if isinstance(column.dtype, pl.List):
        return int((column.list.len() == 0).sum())
    return column.null_count()


def _crossing(frame: pl.DataFrame, column: str) -> int:
    """The number of known values of a column that occur in more than one split."""
    splits = frame.drop_nulls(column).group_by(column).agg(pl.col("split").n_unique())["split"]
    return int((splits > 1).sum())


def _span(values: pl.Series) -> str:
    """The first and the last of known years, as in "from 1611 to 1915"; empty when none is."""
    known = values.drop_nulls()
    if not known.len():
        return ""
    first, last = int(known.min()), int(known.max())  # type: ignore[arg-type]
    return f"from {first} to {last}" if first < last else f"of {first}"


def _english(frame: pl.DataFrame) -> str:
    """Words for the language of captions: none where a check says of one that it is another."""
    columns = [frame[f"{side}_caption_check"] for side in ("artwork", "track")]
    return "" if any((column == "not-english").any() for column in columns) else " in English"


def _clustered(frame: pl.DataFrame, column: str) -> int:
    """The number of items that share their near-duplicate cluster with another item."""
    sizes = frame.group_by(column).len()["len"]
    return int(sizes.filter(sizes > 1).sum())


def _warnings(frame: pl.DataFrame, imported: int, *, synthetic: bool) -> dict[str, list[str]]:
    """Uses, biases, limitations and impact; with shares where they can be measured."""

    def leading(column: str) -> str:
        value, count = next(iter(value_counts(frame, column).items()))
        return f"{value} ({100 * count / max(frame.height, 1):.0f} %)"

    return {
        "uses": [
            "Training and judging models that make or find music for a picture, or the reverse.",
            "Research on correspondences between what is seen and what is heard.",
        ],
        "biases": [
            f"The most frequent style is {leading('artwork_style')}, the most frequent music genre "
            f"{leading('track_genre')}, the most frequent painter {leading('painter')}.",
            "What the sources hold is not a fair share of the world's art or music; the counts in "
            "this release show its share of styles, genres and painters."
            if not synthetic
            else "Styles, genres and names were chosen to try the pipeline out.",
            "The matching reflects published cross-modal findings or the models of its bridge, not "
            "what any one listener would choose.",
        ],
        "limitations": [
            (
                "Imported pairs are as their list has them; a"
                if imported
                else "Pairs are made by machine: no artist meant them, and a"
            )
            + " score says only how well two items fit in the space of its bridge. Scores of "
            "different bridges do not compare.",
            "Captions are machine-generated and may err; measured facts are estimates.",
            "Rights were read from metadata by rule; this is no legal advice.",
        ],
        "impact": [
            "Music generated from it may resemble that of living musicians; licences and credits "
            "of every item are kept so that they can be respected."
        ],
    }


def _render(template: str, values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = _cell
    environment.filters["quoted"] = quoted
    environment.filters["measured"] = lambda value: "–" if value is None else f"{value:.2f}"
    environment.filters["sentence"] = lambda text: f"{_cell(text).rstrip('. ')}."
    source = (files("artsound.reports") / template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**values)


def quoted(text: str) -> str:
    """Return text as a double-quoted YAML scalar.

    That is JSON except for characters that YAML permits only as escapes: controls, line
    separators, byte order marks and non-characters; JSON escapes the rarer ones as surrogates,
    which YAML does not combine.
    """
    return _UNPRINTABLE.sub(
        lambda found: f"\\U{ord(found[0]):08x}", json.dumps(text, ensure_ascii=False)
    )


def _cell(text: object) -> str:
    """Text from the data, escaped for a Markdown table: no markup, one line."""
    plain = re.sub(r"\s+", " ", str(text))
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", plain)


if __name__ == "__main__":  # python -m artsound.reports.card SHARDS OUT
    write_cards(Path(sys.argv[1]), Path(sys.argv[2]))

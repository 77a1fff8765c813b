"""Croissant 1.1 of a folder of shards: what is in it, field by field, for any reader of Croissant.

The index is the primary record set; pictures and clips are media in the shards. Everything is
taken from index.parquet, index.json and the schemas, so the same shards give the same bytes.
Specification: http://mlcommons.org/croissant/1.1, with its RAI extension and W3C PROV terms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa

from artsound import __version__
from artsound.shards.index import INDEX
from artsound.shards.read import Dataset
from artsound.tables import arrow_schema, json_schema

SOURCES = {
    "artgraph": "https://doi.org/10.5281/zenodo.8172374",
    "fma": "https://github.com/mdeff/fma",
}
_SYNTHETIC = "Synthetic: pictures and music were made by code, for trying the pipeline out."


def croissant_of(data: Dataset, values: Mapping[str, Any]) -> dict[str, Any]:
    """The Croissant description of shards in a folder; `values` are those of `card_values`."""
    context = json.loads((files("artsound.reports") / "croissant_context.json").read_text())
    return {
        "@context": context,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": values["name"],
        "description": values["summary"] + (f" {_SYNTHETIC}" if values["synthetic"] else ""),
        "version": values["version"],
        "license": sorted(values["licence_urls"]),
        "creator": {"@type": "sc:Organization", "name": "artsound"},
        "keywords": ["art", "music", "paintings", "audio", "captions", "multimodal"],
        "inLanguage": "en",
        "isLiveDataset": False,
        "citeAs": values["citation"],
        **_responsible(values),
        **_provenance(values),
        "distribution": _distribution(data),
        "recordSet": [_pairs(data), _media("images", "jpg"), _media("audio", "mp3")],
    }


def _distribution(data: Dataset) -> list[dict[str, Any]]:
    size = (Path(data.store.location) / INDEX).stat().st_size
    index = {
        "@type": "cr:FileObject",
        "@id": INDEX,
        "name": INDEX,
        "description": "A row per pair, with all fields and the place of its bytes.",
        "contentUrl": INDEX,
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
            "contentUrl": shard.name,
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


def _pairs(data: Dataset) -> dict[str, Any]:
    """The primary record set: the rows of the index."""
    properties = json_schema("index")["properties"]
    fields = []
    for field in arrow_schema("index"):
        if field.name not in data.frame.columns:
            continue
        repeated = pa.types.is_list(field.type)
        inner = field.type.value_type if repeated else field.type
        told = {
            "@type": "cr:Field",
            "@id": f"pairs/{field.name}",
            "name": field.name,
            "description": properties[field.name]["description"],
            "dataType": _data_type(inner),
            "source": {"fileObject": {"@id": INDEX}, "extract": {"column": field.name}},
        }
        fields.append({**told, "repeated": True} if repeated else told)
    return {
        "@type": "cr:RecordSet",
        "@id": "pairs",
        "name": "pairs",
        "description": "One artwork and one music clip each, with captions, rights and score.",
        "key": {"@id": "pairs/key"},
        "field": fields,
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
    """The RAI extension: how the data came to be, and what to beware of."""
    return {
        "rai:dataCollection": (
            "Artworks and metadata of ArtGraph (from WikiArt) and clips and metadata of the Free "
            "Music Archive, matched one to one by machine within splits."
        ),
        "rai:dataCollectionType": ["Secondary Data Analysis", "Software Collection"],
        "rai:dataPreprocessingProtocol": [
            "Pictures are decoded, checked and, only where needed, re-encoded to JPEG within 1,024 "
            "pixels; clips keep their original MP3 bytes.",
            "Items that cannot be used are left out, each with its reason.",
        ],
        "rai:dataAnnotationProtocol": (
            "Captions are machine-generated: artworks by "
            f"{', '.join(values['artwork_captioners'])}, music by "
            f"{', '.join(values['music_captioners'])}. No person wrote or checked them."
        ),
        "rai:machineAnnotationTools": [
            f"artsound {__version__}",
            *sorted({*values["artwork_captioners"], *values["music_captioners"]}),
        ],
        "rai:annotationsPerItem": "one caption for each side of a pair",
        "rai:dataUseCases": values["uses"],
        "rai:dataBiases": values["biases"],
        "rai:dataLimitations": values["limitations"],
        "rai:personalSensitiveInformation": [
            "Names of painters and musicians, as published by the sources; portraits show people."
        ],
        "rai:dataSocialImpact": values["impact"],
        "rai:dataReleaseMaintenancePlan": (
            "A release is rebuilt from its recipe; releases are told apart by the digest of their "
            "index."
        ),
    }


def _provenance(values: Mapping[str, Any]) -> dict[str, Any]:
    """Where the data come from and what made them, in W3C PROV terms."""
    return {
        "prov:wasDerivedFrom": [
            {"@id": SOURCES[name]} for name in values["sources"] if name in SOURCES
        ],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": (
                f"artsound {__version__}, recipe {values['recipe_digest'] or 'unknown'}, "
                f"bridge {', '.join(values['bridges'])}"
            ),
        },
    }

"""The terms of a release for machines: ODRL offers, for `usageInfo` of its Croissant description.

Each offer is of one rights class: the items of one side that have the same licence, flags and
`ai_training`. What the flags allow is a permission with its duties and limits. What may not be
passed on, and what refuses to be trained with, is under a prohibition. Training is `tdm:mine`, the
action of the TDM Reservation Protocol's profile (W3C Community Group report, 2024).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from artsound.rights import PUBLIC_DOMAIN, TRAINABLE, UNKNOWN, licence_rights

# Prefixes of the offers' terms, for the JSON-LD context.
PREFIXES = {
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

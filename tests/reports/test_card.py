from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import mlcroissant
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from etils import epath
from hypothesis import given
from hypothesis import strategies as st
from spdx_python_model import v3_0_1

import artsound
from artsound.recipe import load_recipe
from artsound.reports.card import (
    CARDS,
    _cell,
    card_values,
    licence_url,
    quoted,
    usage_offers,
    write_cards,
)
from artsound.schema import arrow_schema, check_table
from artsound.shards.dataset import open_shards
from artsound.shards.subset import write_subset
from artsound.storage import sha256_file


@pytest.fixture(scope="module")
def carded(site_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the 50 pairs with its cards."""
    folder = tmp_path_factory.mktemp("carded") / "shards"
    shutil.copytree(site_shards, folder)
    write_cards(folder, folder)
    return folder


def _front_matter(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_the_card_of_a_subset_repeats_the_query_that_chose_it(
    site_shards: Path, carded: Path, tmp_path: Path
) -> None:
    write_subset(site_shards, tmp_path / "some", where="score > -1", top=5)
    write_cards(tmp_path / "some", tmp_path / "some")
    text = (tmp_path / "some" / "README.md").read_text()
    assert r"chosen by: score \> -1; top 5 by score." in text
    assert "chosen by" not in (carded / "README.md").read_text()


def test_the_card_states_licence_splits_and_machine_made_annotation_for_the_hub(
    carded: Path,
) -> None:
    text = (carded / "README.md").read_text()
    reported = _front_matter(text)
    assert reported["license"] == "other"
    assert (
        reported["annotations_creators"] == reported["language_creators"] == ["machine-generated"]
    )
    assert reported["size_categories"] == ["n<1K"]
    files = {entry["split"]: entry["path"] for entry in reported["configs"][0]["data_files"]}
    assert set(files) == {"train", "validation", "test"}
    for names in files.values():
        assert all((carded / name).is_file() for name in names)
    assert "machine-generated" in text.split("---\n")[2]


def test_every_licence_is_counted_and_the_counts_add_up(carded: Path) -> None:
    values = card_values(artsound.open(carded))
    for _, counts in values["licences"]:
        assert sum(counts.values()) == values["pairs"] == 50
    assert "| unknown | 50 |" in (carded / "README.md").read_text()


def test_texts_from_the_data_are_no_markup_in_a_card(carded: Path) -> None:
    for name in ("README.md", "DATASHEET.md"):
        assert "<script" not in (carded / name).read_text().replace("\\<", "")


@given(st.text())
def test_a_table_cell_is_one_line_that_cannot_end_early(text: str) -> None:
    cell = _cell(text)
    assert "\n" not in cell
    assert re.search(r"(?<!\\)(\\\\)*[|<]", cell) is None


@given(st.text())
def test_any_text_in_the_front_matter_is_read_back_by_yaml(text: str) -> None:
    assert yaml.safe_load(f"- path: {quoted(text)}\n") == [{"path": text}]


def test_the_same_shards_give_the_same_cards_wherever_they_lie(
    carded: Path, site_shards: Path, tmp_path: Path
) -> None:
    write_cards(site_shards, tmp_path)
    for name in CARDS:
        text = (tmp_path / name).read_text()
        assert text == (carded / name).read_text()
        assert str(site_shards) not in text


def test_croissant_is_valid_and_loads_the_index_the_pictures_and_the_clips(
    carded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(tmp_path)
    )
    found = mlcroissant.Dataset(str(carded / "croissant.json"))
    assert found.metadata.ctx.issues.errors == set()
    frame = artsound.open(carded).frame
    rows = list(found.records("pairs"))
    assert [row["pairs/key"].decode() for row in rows] == frame["key"].to_list()
    assert {name.removeprefix("pairs/") for name in rows[0]} == set(arrow_schema("index").names)
    assert [tag.decode() for tag in rows[1]["pairs/artwork_tags"]] == frame["artwork_tags"][
        1
    ].to_list()
    picture = next(iter(found.records("images")))
    assert picture["images/key"].decode() in set(frame["key"])
    assert picture["images/content"].size == (96, 64)
    clip = next(iter(found.records("audio")))
    data = artsound.open(carded).filter(key=clip["audio/key"].decode()).read(0)
    assert clip["audio/content"] == data["mp3"]


def test_croissant_offers_the_terms_of_every_rights_class_and_says_who_wrote_captions(
    carded: Path,
) -> None:
    checked = mlcroissant.Dataset(str(carded / "croissant.json")).metadata.ctx.issues
    assert checked.errors == set()
    assert checked.warnings == set()
    told = json.loads((carded / "croissant.json").read_text())
    frame = artsound.open(carded).frame
    columns = ("license_id", "redistribute", "derivatives", "commercial", "ai_training")
    classes = sum(
        frame.select(f"{side}_{name}" for name in columns).n_unique()
        for side in ("artwork", "track")
    )
    offers = told["usageInfo"]
    assert len({offer["@id"] for offer in offers}) == len(offers) == classes
    for offer in offers:
        assert offer["@type"] == "odrl:Offer"
        rules = [*offer.get("odrl:permission", ()), *offer.get("odrl:prohibition", ())]
        assert rules, "an offer has a rule"
        wanted = {
            one["odrl:leftOperand"]["@id"].rpartition(":")[2].partition("_")[2]: one[
                "odrl:rightOperand"
            ]
            for one in offer["odrl:target"]["odrl:refinement"]
        }
        allowed = {rule["odrl:action"]["@id"] for rule in offer.get("odrl:permission", ())}
        assert ("odrl:distribute" in allowed) == wanted["redistribute"]
        assert ("tdm:mine" in allowed) == (wanted["ai_training"] not in ("unknown", "refused"))
    pairs = next(one for one in told["recordSet"] if one["name"] == "pairs")
    [caption] = [one for one in pairs["field"] if one["name"] == "track_caption"]
    made = caption["prov:wasGeneratedBy"]["prov:wasAssociatedWith"]
    assert [one["prov:label"] for one in made] == sorted(frame["track_captioner"].unique())


def test_a_refusal_and_a_duty_to_credit_are_terms() -> None:
    values = {"license_id": "CC-BY-NC-4.0", "redistribute": True, "derivatives": True}
    row = {**values, "commercial": False, "ai_training": "refused"}
    frame = pl.DataFrame([{f"{side}_{name}": value for side in ("artwork", "track")
                           for name, value in row.items()}])  # fmt: skip
    for offer in usage_offers(frame):
        assert [one["odrl:action"]["@id"] for one in offer["odrl:prohibition"]] == ["tdm:mine"]
        for permission in offer["odrl:permission"]:
            assert permission["odrl:duty"][0]["odrl:action"] == {"@id": "odrl:attribute"}
            assert permission["odrl:constraint"]


def test_the_spdx_document_fulfils_the_model_and_names_every_file(carded: Path) -> None:
    objects = v3_0_1.SHACLObjectSet()
    v3_0_1.JSONLDDeserializer().read((carded / "spdx.json").open("rb"), objects)
    assert set(objects.link()) == set()
    [package] = objects.foreach_type(v3_0_1.dataset_DatasetPackage)
    assert package.dataset_datasetSize == 50
    told = {one.name: one.verifiedUsing[0].hashValue
            for one in objects.foreach_type(v3_0_1.software_File)}  # fmt: skip
    assert told == {name: sha256_file(carded / name) for name in told}
    assert {path.name for path in carded.glob("*.tar")} < set(told)
    [document] = objects.foreach_type(v3_0_1.SpdxDocument)
    assert document.rootElement[0] is package


def test_croissant_names_version_digests_provenance_and_care(carded: Path) -> None:
    reported = json.loads((carded / "croissant.json").read_text())
    assert reported["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    objects = [d for d in reported["distribution"] if d["@type"] == "cr:FileObject"]
    assert len(objects) == 4
    for each in objects:
        assert each["sha256"] == sha256_file(carded / each["contentUrl"])
    for field in ("dataBiases", "dataLimitations", "machineAnnotationTools", "dataUseCases"):
        assert reported[f"rai:{field}"]
    assert reported["prov:wasGeneratedBy"]["prov:label"].startswith("artsound ")


@pytest.mark.parametrize(
    ("licence", "url"),
    [
        ("CC-BY-NC-SA-3.0-US", "https://creativecommons.org/licenses/by-nc-sa/3.0/us/"),
        ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("public-domain", "https://rightsstatements.org/vocab/NKC/1.0/"),
        ("CC-PDM-1.0", "https://creativecommons.org/publicdomain/mark/1.0/"),
        ("CC-BY-3.0-IGO", "https://creativecommons.org/licenses/by/3.0/igo/"),
        ("CC-BY", "urn:artsound:licence:cc-by"),
        ("GPL-2.0-or-later", "https://spdx.org/licenses/GPL-2.0-or-later.html"),
        ("unknown", "urn:artsound:licence:unknown"),
    ],
)
def test_a_licence_has_an_address(licence: str, url: str) -> None:
    assert licence_url(licence) == url


def test_the_cards_in_the_project_are_those_of_their_index(project: Path, tmp_path: Path) -> None:
    kept = project / "data_cards"
    write_cards(kept, tmp_path)
    for name in CARDS:
        assert (kept / name).read_text() == (tmp_path / name).read_text(), (
            f"data_cards/{name} is stale: run `make card`"
        )
    check_table("index", pq.read_table(kept / "index.parquet"))
    recipe = load_recipe(kept / "recipe.toml")
    assert open_shards(kept).frame.height <= recipe.sources.limit

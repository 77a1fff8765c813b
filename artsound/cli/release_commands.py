"""Commands for releases: verify, count, choose, publish, browse and judge."""

from pathlib import Path
from typing import Annotated

import typer

from artsound.cli.app import (
    Json,
    Many,
    OptoutList,
    ReleaseDate,
    RightsChoice,
    ShardsFolder,
    Workers,
    app,
    print_summary,
    say,
)
from artsound.errors import BadUsage, redacted
from artsound.progress import counted


@app.command(epilog="Example: artsound verify out/shards --deep")
def verify(
    shards: ShardsFolder,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every picture and clip.")] = False,
    without: Annotated[
        Path | None,
        typer.Option(help="A list of ids and digests that must not occur in the release."),
    ] = None,
    optouts: OptoutList = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Check shards against their index.

    Prints one line per problem. Exit status 1: there is a problem.
    """
    from artsound.shards.verify import Problem, listed_in
    from artsound.shards.verify import verify as verify_shards
    from artsound.shards.withdraw import named, traces
    from artsound.sources.item_names import read_lines

    problems = verify_shards(shards, deep=deep, workers=workers or 0)
    if optouts is not None:
        problems += listed_in(Path(shards), (), read_lines(optouts, "opt-outs"))
    if without is not None:
        lines = read_lines(without)
        ids = named(lines)
        problems += listed_in(Path(shards), lines)
        message = f"it references an item that {without} lists"
        problems += [Problem(name, "", message) for name in traces(Path(shards), *ids)]
    for problem in problems:
        print(redacted(str(problem)))
    print(
        f"{counted(len(problems), 'problem')} found."
        if problems
        else f"{redacted(str(shards))}: no problems found."
    )
    print_summary(as_json, {"shards": shards, "deep": deep, "problems": [str(p) for p in problems]})
    if problems:
        raise SystemExit(1)


@app.command(epilog="Example: artsound stats out/shards")
def stats(shards: ShardsFolder, as_json: Json = False) -> None:
    """Count splits, styles, genres, rights, durations and scores."""
    from artsound.reports.stats import print_stats, shard_stats

    values = shard_stats(shards)
    print_stats(values)
    print_summary(as_json, values)


@app.command(
    epilog='Example: artsound subset out/shards --music-genre Jazz --where "artwork_year < 1900" '
    "--top 2000 --out ids.npy"
)
def subset(
    shards: ShardsFolder,
    out: Annotated[Path, typer.Option(help="ids.npy, view.parquet, or a new folder for shards.")],
    style: Annotated[Many, typer.Option(help="Style of the artwork; may be repeated.")] = None,
    genre: Annotated[Many, typer.Option(help="Artwork genre; may be repeated.")] = None,
    music_genre: Annotated[Many, typer.Option(help="Music genre; may be repeated.")] = None,
    painter: Annotated[Many, typer.Option(help="Painter; may be repeated.")] = None,
    split: Annotated[Many, typer.Option(help="train, val or test; may be repeated.")] = None,
    rights: RightsChoice = "any",
    where: Annotated[str, typer.Option(help="An SQL condition over the index.")] = "",
    exclude: Annotated[Path | None, typer.Option(help="A list of items to leave out.")] = None,
    optouts: OptoutList = None,
    per_painter: Annotated[int, typer.Option(help="At most N pairs of one painter.", min=0)] = 0,
    per_genre: Annotated[int, typer.Option(help="At most N pairs of one music genre.", min=0)] = 0,
    sample: Annotated[int, typer.Option(help="Choose N pairs at random.", min=0)] = 0,
    sample_by: Annotated[str, typer.Option(help="Column whose distribution --sample keeps.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of --sample.")] = 0,
    top: Annotated[
        int | None, typer.Option(help="Choose the N pairs with the highest score.", min=1)
    ] = None,
    date: ReleaseDate = "",
    as_json: Json = False,
) -> None:
    """Choose pairs, as ids, as a view, or as new shards.

    Options of several kinds must all hold; of a repeated option one value must.
    """
    from artsound.shards.subset import write_subset
    from artsound.sources.item_names import names_nothing

    summary = write_subset(
        shards, out, artwork_style=style or (), artwork_genre=genre or (),
        track_genre=music_genre or (), painter=painter or (), split=split or (),
        rights=rights, where=where, exclude=exclude, optouts=optouts,
        per_painter=per_painter, per_genre=per_genre, sample=sample, sample_by=sample_by,
        seed=seed, top=top, date=date,
    )  # fmt: skip
    if (out / "ATTRIBUTION.csv").is_file():  # new shards of artsound's pairs get a card
        from artsound.reports.card import write_cards

        write_cards(out, out)
    if summary["unmatched"]:
        lists = " or ".join(str(path) for path in (exclude, optouts) if path)
        say(names_nothing(lists, shards, summary["unmatched"]))
    print(f"{counted(summary['samples'], 'pair')} in {out}")
    print_summary(as_json, summary)


@app.command(epilog="Example: artsound diff releases/1.0.0 releases/2.0.0")
def diff(
    old: Annotated[str, typer.Argument(help="The older release: a shards folder or URL.")],
    new: Annotated[str, typer.Argument(help="The newer one.")],
    changelog: Annotated[
        Path | None, typer.Option(help="Write the changes, key by key, to a Markdown file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a release changes in an older one."""
    from dataclasses import asdict

    from artsound.shards import release as differences
    from artsound.storage import write_bytes

    found = differences.diff(old, new)
    for kind, names in asdict(found).items():
        print(f"{kind.replace('_', ' '):<15}{len(names):>9,}")
    version = differences.version_of(old)
    if found.bump:
        after = differences.next_version(version, found.bump)
        print(f"a {found.bump} change: {version} becomes {after}")
    else:
        print(f"no change: still {version}")
    if changelog is not None:
        write_bytes(changelog, differences.changelog(found).encode())
    print_summary(as_json, {**asdict(found), "bump": found.bump})


@app.command(epilog="Example: artsound withdraw out/shards takedown.txt --out releases/2.0.0")
def withdraw(
    shards: Annotated[Path, typer.Argument(help="A release: a folder of shards.")],
    out: Annotated[Path, typer.Option(help="A new folder for the next release.")],
    ids: Annotated[
        Path | None, typer.Argument(help="A file of tracks and artworks, one per line.")
    ] = None,
    optouts: OptoutList = None,
    allow_unmatched: Annotated[
        bool, typer.Option("--allow-unmatched", help="Ignore lines that name nothing here.")
    ] = False,
    date: ReleaseDate = "",
    as_json: Json = False,
) -> None:
    """Make a release without some tracks or artworks.

    Shards without them keep their bytes.
    """
    from artsound.reports.card import write_cards
    from artsound.shards.withdraw import withdraw as withdraw_ids
    from artsound.sources.item_names import read_lines

    if ids is None and optouts is None:
        raise BadUsage("Give a file of tracks and artworks, or --optouts LIST.")
    found = withdraw_ids(
        shards, out, read_lines(ids) if ids else (),
        optouts=read_lines(optouts, "opt-outs") if optouts else (),
        allow_unmatched=allow_unmatched, date=date,
        describe=lambda folder: write_cards(folder, folder), note=say,
    )  # fmt: skip
    print(
        f"{counted(len(found.removed), 'pair')} withdrawn: {out} has "
        f"{counted(len(found.shards_kept), 'unchanged shard')} and "
        f"{counted(len(found.shards_changed), 'rewritten shard')}."
    )
    print_summary(as_json, found)


@app.command(epilog="Example: artsound migrate releases/1.0.0 --out releases/2.0.0")
def migrate(
    shards: Annotated[Path, typer.Argument(help="A release of an earlier format: a folder.")],
    out: Annotated[Path, typer.Option(help="A new folder for the next release.")],
    date: ReleaseDate = "",
    as_json: Json = False,
) -> None:
    """Write a release of an earlier format in today's.

    Pictures and clips keep their bytes.
    """
    from artsound.reports.card import write_cards
    from artsound.shards.migrate import migrate as migrate_release

    found = migrate_release(
        shards, out, date=date, describe=lambda folder: write_cards(folder, folder)
    )
    print(f"{counted(len(found.shards_changed), 'shard')} written in {out}.")
    print_summary(as_json, found)


@app.command(epilog="Example: artsound index elsewhere/shards")
def index(
    shards: Annotated[Path, typer.Argument(help="A folder of WebDataset shards.")],
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave out damaged samples, and name each.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write an index for WebDataset shards made elsewhere."""
    from artsound.shards.external import index_folder

    skipped: list[str] = []
    files = index_folder(shards, skip=skipped.append if skip else None)
    for line in skipped:
        say(line)
    print(f"Wrote {' and '.join(str(file) for file in files)}")
    print_summary(as_json, {"files": [str(file) for file in files], "skipped": skipped})


@app.command(epilog="Example: artsound push out/shards hf://datasets/me/artsound")
def push(
    shards: Annotated[Path, typer.Argument(help="A folder of shards.")],
    target: Annotated[str, typer.Argument(help="hf://…, s3://…, any fsspec address, a folder.")],
    restricted: Annotated[
        bool, typer.Option("--restricted", help="Also non-redistributable works: private target.")
    ] = False,
    optouts: OptoutList = None,
    keep_stale: Annotated[
        bool, typer.Option("--keep-stale", help="Leave files of earlier releases at the target.")
    ] = False,
    purge_history: Annotated[
        bool, typer.Option("--purge-history", help="Make the Hub forget all earlier commits.")
    ] = False,
    viewer: Annotated[
        bool,
        typer.Option("--viewer", help="Also Parquet with thumbnails, to TARGET-viewer."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish a release, or resume publishing, and check it at the target.

    Files of earlier releases are deleted there. Exit status 1: a shard stays that no index names.
    """
    from artsound.shards.push import push as push_shards
    from artsound.sources.item_names import names_nothing

    summary = push_shards(
        shards, target, restricted=restricted, optouts=optouts, keep_stale=keep_stale,
        purge_history=purge_history, viewer=viewer,
    )  # fmt: skip
    sent, target = summary["files"] - summary["skipped"], redacted(target)
    print(f"{sent} of {counted(summary['files'], 'file')} sent to {target}; the others were there.")
    if summary["unmatched"]:
        say(names_nothing(str(optouts), str(shards), summary["unmatched"]))
    if summary["deleted"]:
        print(f"{counted(len(summary['deleted']), 'file')} of earlier releases deleted there.")
    if summary["history"]:
        print(f"The history of {target} still holds them: push again with --purge-history.")
    if summary["viewer"]:
        print(f"A table with thumbnails is at {summary['viewer']}.")
    for name in summary["stale"]:
        print(f"{target}/{name} is a shard that no index names: readers of all shards load it.")
    print_summary(as_json, summary)
    if summary["stale"] and not keep_stale:
        raise SystemExit(1)


@app.command(epilog="Example: ZENODO_TOKEN=… artsound deposit out/shards")
def deposit(
    shards: Annotated[Path, typer.Argument(help="A folder of shards.")],
    server: Annotated[
        str, typer.Option(help="Zenodo, its sandbox, or another server of its form.")
    ] = "https://zenodo.org",
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish the record, for good; else it is a draft.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Deposit the small files of a release at Zenodo, and write the DOI into the release.

    The access token is read from the variable ZENODO_TOKEN. Deposit before you push: both then
    state the DOI.
    """
    import os

    from artsound.reports.card import write_cards
    from artsound.shards.deposit import deposit as deposit_release

    token = os.environ.get("ZENODO_TOKEN", "")
    if not token:
        raise BadUsage("Set ZENODO_TOKEN to an access token of the server, with deposit scopes.")
    made = deposit_release(
        shards, token=token, address=server, publish=publish,
        describe=lambda folder: write_cards(folder, folder),
    )  # fmt: skip
    state = "published" if made["published"] else "a draft: look at it, and publish it there"
    print(f"{counted(len(made['files']), 'file')} deposited at {made['record']}, {state}.")
    print(f"The DOI {made['doi']} is in the release; give release.doi in the recipe of the next.")
    print_summary(as_json, made)


@app.command(epilog="Example: artsound why 000002 --out out")
def why(
    key: Annotated[str, typer.Argument(help="Key of a pair: the id of its track.")],
    out: Annotated[Path, typer.Option(help="The build's folder.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Show why a pair was made: sources, ranks, parts of its score, runners-up."""
    from artsound.reports.why import print_why
    from artsound.reports.why import why as derive

    found = derive(out, key)
    if not as_json:
        print_why(found)
    print_summary(as_json, found)


@app.command(epilog="Example: artsound browse out/shards --port 8000")
def browse(
    shards: ShardsFolder,
    port: Annotated[int, typer.Option(help="Port on this machine; 0: any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    save_to: Annotated[
        Path | None,
        typer.Option(help="Folder for views and judgements [beside the shards]."),
    ] = None,
    generated: Annotated[
        Path | None,
        typer.Option(help="Folder of `artsound evaluate`: adds a page /compare."),
    ] = None,
    min_heard: Annotated[
        float, typer.Option(help="Seconds that a judge must hear of a clip.", min=0, max=30)
    ] = 3.0,
    against: Annotated[
        str, typer.Option(help="Another release: judges also compare its music.")
    ] = "",
) -> None:
    """Search, see, hear, judge and save pairs in a web browser."""
    from artsound.reports.browse import serve

    serve(
        shards, host=host, port=port, save_to=save_to, generated=generated,
        min_heard=min_heard, against=against,
    )  # fmt: skip


@app.command(
    epilog="Example: artsound judgements out/shards --drop-rejected --min-rating 2.5 "
    "--out unfit.parquet\n\nAs pair.exclude in a recipe, the list excludes those pairs: the next "
    "build gives both sides their next best partners. As shards.exclude, it only omits the pairs "
    "from the shards."
)
def judgements(
    shards: Annotated[Path, typer.Argument(help="Folder of shards, or of judgements.")],
    drop_rejected: Annotated[
        bool, typer.Option("--drop-rejected", help="List pairs that most judges rejected.")
    ] = False,
    min_rating: Annotated[
        float, typer.Option(help="List pairs rated lower than this.", min=0, max=5)
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(help="Write those pairs to a .parquet list, for pair.exclude of a recipe."),
    ] = None,
    min_heard: Annotated[
        float, typer.Option(help="Count only answers after N seconds of sound.", min=0)
    ] = 0.0,
    publish: Annotated[
        bool,
        typer.Option("--publish", help="Add them to the release, without names, and to its card."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Summarise judgements, and list unfit pairs.

    Shows how far judges agree, how ratings of pairs and of blind controls compare, and which of
    two clips judges preferred, with a sign test.
    """
    from artsound.reports import judging, preferences

    if (drop_rejected or min_rating) and out is None:
        raise BadUsage("Give --out FILE.parquet for the list of excluded pairs.")
    found = judging.heard_enough(judging.judgements_at(shards), min_heard)
    chosen = preferences.read_preferences(judging.folder_of(shards))
    summary = judging.summarise_judgements(found)
    summary["preferences"] = preferences.summarise_preferences(chosen, min_heard)
    if not as_json:
        if not found.is_empty() or not summary["preferences"]:
            judging.print_judgement_summary(summary)
        preferences.print_preference_summary(summary["preferences"])
    if out is not None:
        unfit = judging.unfit(found, drop_rejected=drop_rejected, min_rating=min_rating)
        judging.write_exclusions(out, unfit)
        if not as_json:
            print(f"{counted(len(unfit), 'pair')} listed in {out}")
        summary |= {"listed": len(unfit), "out": str(out)}
    if publish:
        from artsound.reports.card import write_cards
        from artsound.shards.dataset import open_shards
        from artsound.shards.release import check_sound

        if not (shards / "index.parquet").is_file():
            raise BadUsage(f"{shards} is no release: give the folder of its shards.")
        check_sound(shards)
        paths = judging.publish(found, shards, open_shards(shards).index_sha256, chosen)
        write_cards(shards, shards)
        summary["published"] = [str(path) for path in paths]
        if not as_json:
            print(f"published in {' and '.join(map(str, paths))}, and in README.md")
    print_summary(as_json, summary)


@app.command(
    epilog="Example: artsound bench out/shards --bridge affect --bridge text\n\n"
    "Machine-made pairs measure agreement with the bridge that made them; --judgements measures "
    "agreement with people."
)
def bench(
    shards: ShardsFolder,
    bridge: Annotated[
        Many, typer.Option(help="Bridge, by the vectors of --build; may be repeated.")
    ] = None,
    build: Annotated[
        Path | None, typer.Option(help="Folder of the build; by default that of the shards.")
    ] = None,
    encoder: Annotated[
        Many, typer.Option(help="Encoder of pictures and clips in one space; may be repeated.")
    ] = None,
    artwork_rows: Annotated[
        Path | None, typer.Option(help=".npy of a row per pair, in the order of index.parquet.")
    ] = None,
    music_rows: Annotated[Path | None, typer.Option(help="The same of the music.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test; empty: all pairs.")] = "test",
    gallery: Annotated[
        list[int] | None,
        typer.Option(help="Size of a gallery; may be repeated. By default 100, 1,000, … and all."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of galleries and intervals.")] = 0,
    judgements: Annotated[
        Path | None, typer.Option(help="Judgements to compare with: a folder or .parquet file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all figures to this .json file.")] = None,
    task: Annotated[
        Path | None, typer.Option(help="Write the largest gallery as a task for MTEB.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how well encoders or bridges find the partners of a release's pairs."""
    from artsound.reports import bench as benchmark
    from artsound.shards.dataset import open_shards
    from artsound.storage import write_json

    if (artwork_rows is None) != (music_rows is None):
        raise BadUsage("Give both --artwork-rows and --music-rows.")
    if not (bridge or encoder or artwork_rows):
        raise BadUsage(
            "Say what to measure: --bridge, --encoder, or --artwork-rows and --music-rows."
        )
    data = open_shards(shards)
    folder = build or Path(shards).absolute().parent
    # What cannot be done is said before the systems are computed, which may take hours.
    benchmark.galleries_of(data, split, gallery or (), seed)
    judged = benchmark.read_judged(judgements) if judgements else None
    if task:
        benchmark.check_task_folder(task)
    systems = [
        *(benchmark.bridge_system(data, folder, name) for name in bridge or ()),
        *(benchmark.encoder_system(data, name) for name in encoder or ()),
    ]
    if artwork_rows and music_rows:
        systems.append(benchmark.files_system(data, artwork_rows, music_rows))
    found = benchmark.bench(
        data, systems, split=split, sizes=gallery or (), seed=seed, judgements=judged
    )
    if not as_json:
        print(benchmark.bench_table(found))
    if out:
        write_json(out, found)
    if task:
        benchmark.write_task(data, task, found, max(gallery or [0]))
    print_summary(as_json, found)

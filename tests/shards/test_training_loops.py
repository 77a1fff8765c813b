"""The stream inside the training loops that people use: real packages, real processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import artsound
from artsound.errors import BadUsage
from artsound.shards.dataset import Dataset
from artsound.shards.stream import collate


@pytest.fixture(scope="module")
def data(shards: Path) -> Dataset:
    return artsound.open(shards)


def keys(batches: Any) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


def sorted_keys(data: Dataset) -> list[str]:
    return sorted(data.frame["key"])


# A plain DataLoader


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_a_dataloader_over_a_dataset_reads_it_with_any_start_of_workers(
    shards: Path, start: str
) -> None:
    data = artsound.open(shards).filter("score > 0.3")  # polars has run in this process
    loader = DataLoader(
        data, batch_size=5, num_workers=1, multiprocessing_context=start, timeout=300,
        collate_fn=collate,
    )  # fmt: skip
    assert keys(loader) == data.frame["key"].to_list()


def test_a_sampler_of_torch_draws_from_a_dataset_in_workers(data: Dataset) -> None:
    sampler = torch.utils.data.WeightedRandomSampler([1.0] + [0.0] * 44, 6)
    loader = DataLoader(
        data, batch_size=3, sampler=sampler, num_workers=2, timeout=300, collate_fn=collate
    )
    assert keys(loader) == [data.frame["key"][0]] * 6


@pytest.mark.parametrize("batch_size", [0, 4])
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_over_a_stream_gives_each_sample_once_and_reshuffles(
    data: Dataset, workers: int, lasting: bool, batch_size: int
) -> None:
    loader = DataLoader(
        data.stream(batch_size=batch_size),
        batch_size=None if batch_size else 4,
        num_workers=workers,
        persistent_workers=lasting and workers > 0,
        collate_fn=None if batch_size else collate,
    )
    epochs = [keys(loader) for _ in range(3)]
    assert all(sorted(epoch) == sorted_keys(data) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3


def test_an_epoch_that_is_set_holds_in_the_workers_of_any_dataloader(data: Dataset) -> None:
    stream = data.stream(batch_size=4)
    expected = [keys(stream.loader(epoch=epoch)) for epoch in range(3)]
    loader = DataLoader(stream, batch_size=None, num_workers=2)
    for epoch in (0, 2):
        stream.set_epoch(epoch)
        assert keys(loader) == expected[epoch]
    given = DataLoader(data.stream(batch_size=4, epoch=1), batch_size=None, num_workers=2)
    assert keys(given) == expected[1]


def test_workers_of_any_dataloader_share_a_rank_s_samples_or_ask_for_the_epoch(
    data: Dataset,
) -> None:
    streams = [data.stream(rank=rank, ranks=2) for rank in (0, 1)]
    with pytest.raises(BadUsage, match="set_epoch"):
        list(DataLoader(streams[0], batch_size=4, num_workers=2, collate_fn=collate))
    found = []
    for stream in streams:
        stream.set_epoch(1)
        found += keys(DataLoader(stream, batch_size=4, num_workers=2, collate_fn=collate))
    assert len(found) == len(set(found)) == 44
    lasting = DataLoader(
        streams[0], batch_size=4, num_workers=1, persistent_workers=True, collate_fn=collate
    )
    assert len(keys(lasting)) == 22
    with pytest.raises(BadUsage, match="persistent_workers off"):
        keys(lasting)


def test_a_state_loaded_into_a_stream_is_not_lost_in_workers(data: Dataset) -> None:
    stream = data.stream(batch_size=4)
    stream.load_state_dict({**stream.state_dict(), "position": 8})
    with pytest.raises(BadUsage, match=r"stream\.loader\(\)"):
        list(DataLoader(stream, batch_size=None, num_workers=1))
    loader = DataLoader(stream, batch_size=None)
    assert len(keys(loader)) == 37
    assert len(keys(loader)) == 45


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_a_loader_s_workers_may_be_started_in_any_way(data: Dataset, start: str) -> None:
    stream = data.stream(batch_size=8)
    expected = [keys(stream.loader(epoch=epoch)) for epoch in (0, 1)]
    loader = stream.loader(workers=1, multiprocessing_context=start, persistent_workers=True)
    assert [keys(loader), keys(loader)] == expected


# torchdata


@pytest.mark.parametrize("batch_size", [0, 4])
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_torchdata_resumes_at_the_exact_sample(
    data: Dataset, workers: int, batch_size: int
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def loader() -> Any:
        return stateful.StatefulDataLoader(
            data.stream(batch_size=batch_size),
            batch_size=None if batch_size else 4,
            num_workers=workers,
            collate_fn=None if batch_size else collate,
        )

    first = loader()
    given = iter(first)
    seen = [next(given) for _ in range(5)]
    state = first.state_dict()
    rest = keys(given)
    assert sorted(keys(seen) + rest) == sorted_keys(data)
    later = loader()
    later.load_state_dict(state)
    assert keys(later) == rest
    assert sorted(keys(later)) == sorted_keys(data)


def test_torchdata_s_state_of_a_worker_is_refused_elsewhere(data: Dataset) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    options = {"batch_size": None, "num_workers": 2}
    loader = stateful.StatefulDataLoader(data.stream(batch_size=4), **options)
    next(iter(loader))
    state = loader.state_dict()
    other = stateful.StatefulDataLoader(data.stream(batch_size=5), **options)
    other.load_state_dict(state)
    with pytest.raises(BadUsage, match="samples in a batch"):
        next(iter(other))
    snapshots = state["_snapshot"]["_worker_snapshots"]
    with pytest.raises(BadUsage, match="of a DataLoader's worker"):
        data.stream(batch_size=4).load_state_dict(snapshots["worker_0"]["dataset_state"])


# Lightning


@pytest.fixture
def lightning() -> Any:
    return pytest.importorskip("lightning.pytorch")


def trained(lightning: Any, folder: Path, loader: Any, **options: Any) -> Any:
    """A trainer that has fitted, whose module lists the keys of training and validation."""

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.trained: list[tuple[int, list[str]]] = []
            self.validated: list[list[str]] = []

        def training_step(self, batch: Any, _: int) -> Any:
            self.trained.append((self.current_epoch, batch["key"]))
            return self.layer(torch.ones(1, 1)).sum()

        def on_validation_epoch_start(self) -> None:
            self.validated.append([])

        def validation_step(self, batch: Any, _: int) -> None:
            self.validated[-1].extend(batch["key"])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Module()
    fit = {name: options.pop(name) for name in ("ckpt_path", "val_dataloaders") if name in options}
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip
    trainer.fit(module, loader, **fit)
    return module


@pytest.mark.parametrize(  # of 6 steps in an epoch
    ("how", "steps"), [({}, 4), ({}, 6), ({"threads": 2}, 7), ({"workers": 2}, 4)], ids=str
)
def test_lightning_resumes_at_the_exact_sample(
    lightning: Any, data: Dataset, tmp_path: Path, how: dict[str, int], steps: int
) -> None:
    def loader() -> Any:
        return data.stream(batch_size=8).loader(**how)

    straight = trained(lightning, tmp_path / "a", loader(), max_epochs=3).trained
    assert [len(batch) for _, batch in straight] == [8, 8, 8, 8, 8, 5] * 3
    epochs = [[k for e, batch in straight for k in batch if e == epoch] for epoch in range(3)]
    assert all(sorted(epoch) == sorted_keys(data) for epoch in epochs)
    assert epochs[0] != epochs[1]
    checkpoint = lightning.callbacks.ModelCheckpoint(
        dirpath=tmp_path / "b", save_last=True, every_n_train_steps=1
    )
    options = {"callbacks": [checkpoint], "max_steps": steps}
    first = trained(lightning, tmp_path / "b", loader(), **options).trained
    rest = trained(
        lightning, tmp_path / "c", loader(), max_epochs=3, ckpt_path=tmp_path / "b/last.ckpt",
        callbacks=[lightning.callbacks.ModelCheckpoint(dirpath=tmp_path / "c", save_last=True)],
    ).trained  # fmt: skip
    assert first + rest == straight


def test_lightning_validates_the_whole_split_after_its_sanity_check(
    lightning: Any, data: Dataset, tmp_path: Path
) -> None:
    validation = data.stream(batch_size=8, shuffle=False).loader()
    found = trained(
        lightning, tmp_path, data.stream(batch_size=45).loader(), max_epochs=2,
        num_sanity_val_steps=2, val_dataloaders=validation, enable_checkpointing=False,
    ).validated  # fmt: skip
    whole = data.frame["key"].to_list()
    assert found == [whole[:16], whole, whole]


_DDP = """
import json, sys
import lightning.pytorch as lightning
import torch
import artsound

shards, out, batch_size, stop = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
stream = artsound.open(shards).stream(batch_size=batch_size)
loader = stream.loader()  # Lightning starts the second process in `fit`

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []
    def training_step(self, batch, _):
        self.seen.append((self.current_epoch, batch["key"]))
        return self.layer(torch.ones(1, 1)).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def fit(folder, resume=None, **limits):
    saved = lightning.callbacks.ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)
    trainer = lightning.Trainer(
        **limits, accelerator="cpu", devices=2, strategy="ddp", callbacks=[saved], logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )
    module = Module()
    trainer.fit(module, loader, ckpt_path=resume)
    return trainer.global_rank, module.seen

rank, first = fit(f"{out}/first", max_steps=stop)
loader = stream.loader()
_, rest = fit(f"{out}/rest", f"{out}/first/last.ckpt", max_epochs=2)
with open(f"{out}/{rank}.json", "w") as file:
    json.dump([first, rest], file)
"""


def test_lightning_starts_a_second_process_and_both_resume_at_the_exact_sample(
    lightning: Any, data: Dataset, shards: Path, tmp_path: Path
) -> None:
    script = tmp_path / "ddp.py"
    script.write_text(_DDP)
    launched = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    quiet = {name: value for name, value in os.environ.items() if name not in launched}
    command = [sys.executable, str(script), str(shards), str(tmp_path), "4", "3"]
    subprocess.run(command, env=quiet | {"OMP_NUM_THREADS": "1"}, check=True, timeout=600)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for before, after in ranks:
        assert [epoch for epoch, _ in before] == [0] * 3
        assert [epoch for epoch, _ in after] == [0] * 3 + [1] * 6  # 22 samples in batches of 4
    for epoch in range(2):
        shares = [
            [key for number, batch in before + after if number == epoch for key in batch]
            for before, after in ranks
        ]
        together = [key for turn in zip(*shares, strict=True) for key in turn]
        assert together == keys(data.stream(batch_size=4).loader(epoch=epoch))[:44]


# Accelerate and transformers


def test_accelerate_leaves_a_loader_as_it_is_and_skips_batches_of_it(data: Dataset) -> None:
    accelerate = pytest.importorskip("accelerate")
    config = accelerate.DataLoaderConfiguration(dispatch_batches=False)
    accelerator = accelerate.Accelerator(cpu=True, dataloader_config=config)
    stream = data.stream(batch_size=8)
    epochs = [keys(stream.loader(epoch=epoch)) for epoch in range(3)]
    loader = accelerator.prepare(stream.loader())
    skipped = accelerate.skip_first_batches(loader, 2)
    assert len(skipped) == 4
    assert keys(skipped) == epochs[0][16:]
    assert keys(loader) == epochs[1]
    prepared = accelerator.prepare(DataLoader(stream, batch_size=None))
    assert [keys(prepared) for _ in range(2)] == epochs[:2]
    prepared.set_epoch(2)
    assert keys(accelerate.skip_first_batches(prepared, 3)) == epochs[2][24:]


@pytest.mark.parametrize("own", ["loader", "dataset"])
def test_the_trainer_of_transformers_resumes_at_the_exact_sample(
    data: Dataset, tmp_path: Path, own: str
) -> None:
    transformers = pytest.importorskip("transformers")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.seen: list[list[int]] = []

        def forward(self, number: torch.Tensor) -> dict[str, Any]:
            self.seen.append(number.tolist())
            return {"loss": self.layer(torch.ones(1, 1)).sum()}

    def numbered(sample: dict[str, Any]) -> dict[str, int]:
        return {"number": int(sample["key"])}

    class FromLoader(transformers.Trainer):  # type: ignore[misc, name-defined]
        def get_train_dataloader(self) -> Any:
            return data.stream(batch_size=8, transform=numbered).loader()

    def train(folder: str, **options: Any) -> list[list[int]]:
        resume = options.pop("resume", None)
        model = Model()
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / folder), per_device_train_batch_size=8, use_cpu=True,
            report_to=[], disable_tqdm=True, save_strategy="steps", save_steps=1,
            remove_unused_columns=False, num_train_epochs=2, **options,
        )  # fmt: skip
        kind = FromLoader if own == "loader" else transformers.Trainer
        samples = data.stream(transform=numbered)
        trainer = kind(model, arguments, data_collator=collate, train_dataset=samples)
        trainer.train(resume_from_checkpoint=resume)
        return model.seen

    straight = train("straight", max_steps=-1)
    expected = data.stream(batch_size=8).loader()
    assert straight == [[int(k) for k in batch["key"]] for _ in range(2) for batch in expected]
    for step in (4, 6, 9):
        rest = train("resumed", resume=str(tmp_path / "straight" / f"checkpoint-{step}"))
        assert rest == straight[step:]


_TWO = """
import json, os, sys
import accelerate, torch
import torch.distributed as dist
from torch.utils.data import DataLoader
import artsound
from artsound.shards.stream import collate

data = artsound.open(sys.argv[1])
early = data.stream(batch_size=4)  # before the rank is known
accelerator = accelerate.Accelerator(cpu=True)
found = {}
loader = accelerator.prepare(early.loader(workers=1))
found["loader"] = [key for batch in loader for key in batch["key"]]
found["second"] = [key for batch in loader for key in batch["key"]]
found["skipped"] = [
    key for batch in accelerate.skip_first_batches(early.loader(), 3) for key in batch["key"]
]
for name, stream in (("shared", data.stream()), ("open", data.stream(rank=0, ranks=1))):
    for dispatch in (False, True):
        config = accelerate.DataLoaderConfiguration(dispatch_batches=dispatch)
        own = accelerate.data_loader.prepare_data_loader(
            DataLoader(stream, batch_size=3, num_workers=0, collate_fn=collate),
            num_processes=2, process_index=accelerator.process_index, put_on_device=False,
            dispatch_batches=False,
        )
        try:
            keys = [key for batch in own for key in batch["key"]]
        except artsound.BadUsage as error:
            keys = [str(error)]
        found[name] = keys
everyone = [None, None]
dist.all_gather_object(everyone, found)
if dist.get_rank() == 0:
    print(json.dumps(everyone))
dist.destroy_process_group()
"""


def test_two_processes_of_accelerate_share_a_loader_and_are_warned_of_sharing_twice(
    data: Dataset, shards: Path
) -> None:
    pytest.importorskip("accelerate")
    first, second = two_processes(_TWO, shards)
    loader = data.stream(batch_size=4).loader()
    for name in ("loader", "second"):
        together = [key for turn in zip(first[name], second[name], strict=True) for key in turn]
        assert together == keys(loader)[:44]
    assert first["skipped"] == first["loader"][12:]
    assert "shares the samples out once more" in first["shared"][0]
    assert set(first["open"]) | set(second["open"]) == set(sorted_keys(data))


def two_processes(code: str, *arguments: Any, **environment: str) -> Any:
    """What two processes of one torch.distributed world print as JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
             "WORLD_SIZE": "2", **environment}  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=os.environ | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return json.loads(outputs[0].splitlines()[-1])

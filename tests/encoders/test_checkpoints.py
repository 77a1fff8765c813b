"""What a checkpoint of torch may hold, and how an encoder that does not work is noticed."""

from __future__ import annotations

import argparse
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artsound.encoders.base import Encoder
from artsound.encoders.self_test import check_encoder_works
from artsound.encoders.weights import load_tensors
from artsound.errors import BadData
from artsound.untrusted import NumbersUnpickler, plain_arrays

NUMBERS: dict[str, Any] = {
    "best": np.float64(0.5),
    "f4": np.arange(6, dtype="f4").reshape(2, 3),
    "big": np.arange(3, dtype=">i2"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "words": np.array(["a", "bc"]),
    "none": np.zeros((0, 2)),
    "plain": {"set": {1}, "bytes": b"\x00\xff", "complex": 1j, "list": [None, True, 1.5]},
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [False, True])
def test_weights_of_every_protocol_with_numbers_beside_them_are_read(
    tmp_path: Path, protocol: int, zipped: bool
) -> None:
    import torch

    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    tensors = OrderedDict(weight=weight, half=torch.ones(2, dtype=torch.bfloat16))
    content = {"state_dict": tensors, "dtype": torch.float16, "size": weight.shape, **NUMBERS}
    torch.save(
        content, tmp_path / "w.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
    )
    found = load_tensors(tmp_path / "w.pt")
    assert list(found) == ["weight", "half"]
    assert torch.equal(found["weight"], weight)
    assert torch.equal(found["half"], tensors["half"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_in_a_pickle_have_their_values(protocol: int) -> None:
    data = pickle.dumps(NUMBERS, protocol)
    found = plain_arrays(NumbersUnpickler(io.BytesIO(data)).load())
    for name, value in NUMBERS.items():
        np.testing.assert_array_equal(found[name], value)


def test_arrays_in_place_of_tensors_become_tensors(tmp_path: Path) -> None:
    import torch

    torch.save({"w": np.ones((2, 2), "f4")}, tmp_path / "w.pt")
    assert torch.equal(load_tensors(tmp_path / "w.pt")["w"], torch.ones(2, 2))


@pytest.mark.parametrize(
    ("held", "named"),
    [
        (argparse.Namespace(lr=1), r"argparse\.Namespace"),
        (Path("x"), r"pathlib\.\w+"),
        (np.array([{}], object), r"numpy\.dtype\('O8'\)"),
        (np.zeros(1, [("a", "f4")]), r"numpy\.dtype\('V4'\)"),
        (print, r"(builtins|__builtin__)\.print"),
        (np.load, r"numpy\.load"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_else_in_a_checkpoint_is_refused_by_name(
    tmp_path: Path, protocol: int, held: Any, named: str
) -> None:
    import torch

    torch.save({"state_dict": {}, "held": held}, tmp_path / "w.pt", pickle_protocol=protocol)
    with pytest.raises(BadData, match=rf"w\.pt holds more than weights \({named}\)") as error:
        load_tensors(tmp_path / "w.pt")
    assert "\n" not in str(error.value)


def test_damaged_and_foreign_checkpoints_are_one_error(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "w.pt"
    torch.save({"w": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"junk", pickle.dumps([1]), whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(BadData, match=r"w\.pt (cannot be loaded|is empty|is cut short)"):
            load_tensors(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(BadData, match="not a checkpoint"):
        load_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clip/constants.pkl", b"")
    with pytest.raises(BadData, match="TorchScript"):
        load_tensors(path)


class Rows(Encoder):
    """Vectors from a list, or a fault."""

    digest, dim = "d", 16

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def texts(self, texts: Any) -> np.ndarray:
        rng = np.random.default_rng(len(texts) if self.fault == "unstable" else 0)
        rows = rng.normal(size=(8, 16))[: len(texts)]
        if self.fault == "collapsed":
            rows = 1 + rows * 0.1
        if self.fault == "not finite":
            rows[2] = np.nan
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("collapsed", r"unlike texts nearly the same vector \(mean cosine 0\.9"),
        ("not finite", "vectors of texts that are not finite"),
        ("unstable", "other vectors in another batch"),
    ],
)
def test_an_encoder_that_does_not_work_is_refused(fault: str, sentence: str) -> None:
    with pytest.raises(BadData, match=sentence) as error:
        check_encoder_works(Rows(fault), "some", Path("weights.pt"), ("text",), "fp32")
    assert "some with weights.pt" in str(error.value)
    check_encoder_works(Rows("none"), "some", Path("weights.pt"), ("text",), "fp32")

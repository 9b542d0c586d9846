"""Files of PyTorch's, read without it: the same tensors, and nothing but tensors."""

import copyreg
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from medusa_jax.hub.convert import convert
from medusa_jax.hub.torch_file import TorchFileError, read_torch_file

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

FORMS = {"archive": True, "stream": False}


@pytest.fixture(params=FORMS)
def save(request, tmp_path):
    """Write a file in the form of today, or of PyTorch before 1.6."""

    def write(contents):
        path = tmp_path / "pytorch_model.bin"
        torch.save(contents, path, _use_new_zipfile_serialization=FORMS[request.param])
        return path

    return write


def tensors():
    """Every dtype, views, transposes, no dimension, no element, and a storage of two tensors."""
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(6, 5, generator=generator)
    found = OrderedDict(
        whole=whole,
        part=whole[1:4, ::2],
        turned=whole.T,
        repeated=whole[:1].expand(3, 5),
        scalar=torch.tensor(3),
        nothing=torch.zeros(0, 4),
        parameter=torch.nn.Parameter(whole[2]),
    )
    for dtype in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"):
        found[dtype] = (whole * 10).to(getattr(torch, dtype))
    found["bool"] = whole > 0
    return found


def test_tensors_are_those_that_were_saved(save):
    wanted = tensors()
    found = read_torch_file(save(wanted))
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        exact = tensor.detach().double().numpy()
        np.testing.assert_array_equal(found[name].astype(np.float64), exact, err_msg=name)
        assert found[name].dtype.name == str(tensor.dtype).removeprefix("torch.")
        assert found[name].base is None, "memory of its own"


def test_a_models_state_gives_the_bytes_that_pytorch_would_write(save, tmp_path):
    """The digest of the weights is in a store's identity."""
    state = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).state_dict()
    assert state._metadata
    save(state)
    save_file(dict(state), tmp_path / "wanted", metadata={"format": "pt"})
    assert convert(tmp_path).read_bytes() == (tmp_path / "wanted").read_bytes()


class _Evil:
    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


def test_names_that_are_no_tensors_are_refused_and_not_called(save, tmp_path):
    for evil in (_Evil(os.mkdir, str(tmp_path / "ran")), _Evil(eval, "1"), torch.nn.Linear(2, 2)):
        path = save({"weight": torch.zeros(2), "evil": evil})
        with pytest.raises(TorchFileError, match="names"):
            read_torch_file(path)
    assert not (tmp_path / "ran").exists()


def test_a_name_that_python_has_in_its_cache_is_refused(tmp_path):
    """An extension seen before does not reach `find_class`."""
    number = 77
    contents = b"\x80\x02\x82" + bytes([number]) + b"X\x01\x00\x00\x001\x85R."
    copyreg.add_extension("builtins", "eval", number)
    copyreg._extension_cache[number] = eval
    try:
        assert pickle.loads(contents) == 1, "an ordinary reader runs it"
        with pytest.raises(TorchFileError):
            read_torch_file(_archived(tmp_path / "one.bin", contents))
    finally:
        copyreg.remove_extension("builtins", "eval", number)


def _archived(path, contents):
    """An archive whose pickle is made by hand: PyTorch would not write it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", contents)
        archive.writestr("a/data/0", np.arange(4, dtype=np.float32).tobytes())
    return path


def _view(offset, shape, strides):
    """The pickle of a tensor in a storage of four numbers."""
    lines = b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n("
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    storage += b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    rest = b"".join(pickle.dumps(one, 2)[2:-1] for one in (offset, shape, strides))
    return lines + storage + rest + b"tRs."


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ((0, (5,), (1,)), "longer"),
        ((2, (2, 2), (2, 1)), "longer"),
        ((-1, (2,), (1,)), "damaged"),
        ((3, (2,), (-1,)), "damaged"),
        ((0, (2,), (1, 1)), "shorter|argument"),
        ((0, ("a",), (1,)), "Type"),
    ],
)
def test_a_view_outside_its_storage_is_refused(tmp_path, view, message):
    good = read_torch_file(_archived(tmp_path / "good.bin", _view(1, (3,), (1,))))
    np.testing.assert_array_equal(good["x"], [1, 2, 3])
    with pytest.raises(TorchFileError, match=message):
        read_torch_file(_archived(tmp_path / "bad.bin", _view(*view)))


def test_no_attribute_is_set(tmp_path):
    """One of a function or a class could change what later calls do."""
    contents = b"\x80\x02ccollections\nOrderedDict\n)RX\x01\x00\x00\x00ac__main__\nx\ns."
    with pytest.raises(TorchFileError, match="names __main__"):
        read_torch_file(_archived(tmp_path / "one.bin", contents))
    built = b"\x80\x02ctorch._utils\n_rebuild_parameter\n}X\x04\x00\x00\x00evilK\x01sb."
    assert not hasattr(read_torch_file(_archived(tmp_path / "two.bin", built)), "evil")


@pytest.mark.parametrize("cut", [0, 1, 100, -200, -1])
def test_a_damaged_file_is_refused(save, cut):
    path = save(tensors())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(TorchFileError):
        read_torch_file(path)

"""Files of other formats: read as far as they go, never further."""

from pathlib import Path

import pytest

from latency_tables.blocks import total_macs
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.read import READERS, ReadOptions, read_model, sha256_of
from tests.gate.conftest import FILES, TINY

IN_FILE = 2950  # parameters with BatchNorm folded into biases


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("tiny.mlpackage", IN_FILE),
        ("tiny-int8.mlpackage", IN_FILE),
        ("tiny.tflite", IN_FILE + 16),  # the converter gave the 16 channels of the mix a bias
    ],
)
def test_macs_and_parameters_agree_with_the_blocks(name: str, params: int) -> None:
    facts = read_model(FILES / name)
    assert (facts.macs, facts.params, facts.uncounted) == (total_macs(TINY), params, {})
    assert facts.size_bytes == sum(f.stat().st_size for f in [FILES / name, *(FILES / name).rglob("*")] if f.is_file())
    assert not facts.runnable


def test_recurrent_layers_and_branches_of_core_ml_hide_nothing() -> None:
    lstm, branch = read_model(FILES / "lstm.mlpackage"), read_model(FILES / "branch.mlpackage")
    # Five steps of two sequences: two directions, four gates of 3, on 4 inputs and 3 hidden values. The converter adds
    # the two biases up.
    assert (lstm.macs, lstm.params, lstm.uncounted) == (5 * 2 * 2 * 12 * 7, 2 * 12 * (4 + 3 + 1), {})
    assert (branch.macs, branch.macs_most, branch.params, branch.uncounted) == (12, 12, 2 * (12 + 2), {})


def test_the_older_core_ml_format_tells_only_its_size() -> None:
    facts = read_model(FILES / "tiny.mlmodel")
    assert (facts.macs, facts.params) == (None, None)
    assert facts.size_bytes > 0
    assert "only its size" in facts.notes[0]


@pytest.mark.parametrize("name", ["tiny.mlpackage", "tiny.tflite"])
@pytest.mark.parametrize("keep", [0, 3, 11, 900, 15_000])
def test_a_torn_file_is_refused_in_words(tmp_path: Path, name: str, keep: int) -> None:
    source, suffix = FILES / name, Path(name).suffix
    path = tmp_path / f"torn{suffix}"
    if source.is_dir():
        path.mkdir()
        (path / "x.mlmodel").write_bytes(next(source.rglob("*.mlmodel")).read_bytes()[:keep])
    else:
        path.write_bytes(source.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=rf"torn{suffix} is no"):
        read_model(path)


def test_an_empty_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mlpackage").mkdir()
    with pytest.raises(ModelFileError, match=r"no \.mlmodel in it"):
        read_model(tmp_path / "empty.mlpackage")


def test_an_unknown_format_and_a_missing_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"model\.pt is no model that can be read; accepted are \.onnx"):
        read_model(tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match=r"no model .*none\.onnx"):
        read_model(tmp_path / "none.onnx")


def test_the_hash_of_a_package_sees_names_and_contents(tmp_path: Path) -> None:
    for package, file, content in (("a", "x", b"1"), ("b", "y", b"1"), ("c", "x", b"2"), ("d", "x", b"1")):
        (tmp_path / package).mkdir()
        (tmp_path / package / file).write_bytes(content)
    a, b, c, d = (sha256_of(tmp_path / package) for package in "abcd")
    assert a == d and len({a, b, c}) == 3


def test_every_reader_says_what_it_read() -> None:
    assert set(READERS) == {".onnx", ".ort", ".mlpackage", ".mlmodel", ".tflite", ".aimodel"}


def test_a_range_of_sizes_in_core_ml_is_open_until_it_is_told() -> None:
    """Convolutions, pooling, upsampling, a reshape to a computed size, a product with a transposed matrix, a layer."""
    facts = read_model(FILES / "range.mlpackage")
    assert facts.open_inputs == {"image": (1, 3, None, None)}
    assert set(facts.uncounted) >= {"conv of unknown shape", "matmul of unknown shape"}
    told = read_model(FILES / "range.mlpackage", ReadOptions({"image": (1, 3, 40, 32)}))
    assert told.uncounted == {}
    assert told.macs == 20 * 16 * 4 * 27 + 20 * 16 * 6 * 18 + 36 * 20 * 16 + 6 * 6 * 2
    with pytest.raises(ModelFileError, match=r"input_shapes says image = \[1, 1, 40, 32\], but the file says"):
        read_model(FILES / "range.mlpackage", ReadOptions({"image": (1, 1, 40, 32)}))


@pytest.mark.parametrize(("turn_x", "turn_y"), [(False, False), (True, False), (False, True)])
def test_products_of_transposed_matrices_in_core_ml(tmp_path: Path, turn_x: bool, turn_y: bool) -> None:
    """(4, 8) by (8, 6), each given the other way round where it is to be transposed."""
    import coremltools as ct
    from coremltools.converters.mil import Builder

    one, two = ((8, 4) if turn_x else (4, 8)), ((6, 8) if turn_y else (8, 6))

    @Builder.program(input_specs=[Builder.TensorSpec(shape=one), Builder.TensorSpec(shape=two)])
    def program(x, y):  # type: ignore[no-untyped-def]
        return Builder.matmul(x=x, y=y, transpose_x=turn_x, transpose_y=turn_y)

    path = tmp_path / "product.mlpackage"
    ct.convert(program, minimum_deployment_target=ct.target.iOS16, skip_model_load=True).save(str(path))
    assert read_model(path).macs == 4 * 8 * 6


def test_an_operator_to_ignore_that_is_not_there_is_told() -> None:
    facts = read_model(FILES / "tiny.tflite", ReadOptions(ignore_operators=("DTF", "CONV_2D of unknown shape")))
    assert facts.notes == ("ignore_operators names 'DTF', but there is no such operator in it",)

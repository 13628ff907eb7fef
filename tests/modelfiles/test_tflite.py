"""TFLite files whose shapes the file leaves open, or whose operators are told to transpose."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.read import ReadOptions, read_model
from tests.modelfiles.tflite_files import Op, Tensor, tflite_file

CONV, BATCH_MATMUL, RESHAPE, FULLY_CONNECTED, SHAPE, STRIDED_SLICE, PACK = 3, 126, 22, 9, 77, 45, 83
IMAGE, SQUARE = (1, 224, 224, 3), (-1, -1, -1, 3)


def convolution(open_sizes: tuple[int, ...]) -> bytes:
    """3 x 3 filters from 3 to 8 channels, stride 2, on an image whose sizes are open where they are negative."""
    stored = tuple(1 if size < 0 else size for size in open_sizes)
    result = (-1, *((-1, -1) if open_sizes[1] < 0 else (112, 112)), 8)
    tensors = [
        Tensor(stored, signature=open_sizes, name="image"),
        Tensor((8, 3, 3, 3), np.zeros((8, 3, 3, 3), np.float32)),
        Tensor((8,), np.zeros(8, np.float32)),
        Tensor(tuple(1 if size < 0 else size for size in result), signature=result),
    ]
    return tflite_file(tensors, [Op(CONV, (0, 1, 2), (3,), ((1, 4, 2), (2, 4, 2)), 1)], [0], [3])


def test_a_dynamic_image_is_no_image_of_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "open.tflite"
    path.write_bytes(convolution(SQUARE))
    facts = read_model(path)
    assert facts.uncounted == {"CONV_2D of unknown shape": 1}
    assert facts.open_inputs == {"image": (1, None, None, 3)}
    told = read_model(path, ReadOptions({"image": IMAGE}))
    assert (told.macs, told.uncounted, told.params) == (112 * 112 * 8 * 27, {}, 224)
    for shape, says in (((1, 224, 224, 1), "but the file says"), ((1, 224, 224), "but the file says")):
        with pytest.raises(ModelFileError, match=says):
            read_model(path, ReadOptions({"image": shape}))
    with pytest.raises(ModelFileError, match="no input 'picture'; its inputs are image"):
        read_model(path, ReadOptions({"picture": IMAGE}))


def test_an_open_batch_is_one(tmp_path: Path) -> None:
    path = tmp_path / "batch.tflite"
    path.write_bytes(convolution((-1, 224, 224, 3)))
    assert read_model(path).macs == 112 * 112 * 8 * 27


@pytest.mark.parametrize(("turn_one", "turn_two", "macs"), [(0, 0, 4 * 8 * 6), (1, 0, 4 * 8 * 6), (0, 1, 4 * 8 * 6)])
def test_products_of_transposed_matrices(tmp_path: Path, turn_one: int, turn_two: int, macs: int) -> None:
    """(4, 8) by (8, 6), each given the other way round where it is to be transposed."""
    one, two = ((2, 8, 4) if turn_one else (2, 4, 8)), ((2, 6, 8) if turn_two else (2, 8, 6))
    tensors = [Tensor(one, name="a"), Tensor(two, name="b"), Tensor((2, 4, 6))]
    op = Op(BATCH_MATMUL, (0, 1), (2,), ((0, 1, turn_one), (1, 1, turn_two)), 101)
    path = tmp_path / "product.tflite"
    path.write_bytes(tflite_file(tensors, [op], [0, 1], [2]))
    assert read_model(path).macs == 2 * macs


def test_a_batch_that_a_reshape_folds_into_rows_is_followed(tmp_path: Path) -> None:
    """(batch, 7, 7, 4) to (batch * 49, 4): the file can only say that the rows are open."""
    tensors = [
        Tensor((1, 7, 7, 4), signature=(-1, 7, 7, 4), name="x"),
        Tensor((2,), np.array([-1, 4], np.int32)),
        Tensor((1, 4), signature=(-1, 4)),
        Tensor((5, 4), np.zeros((5, 4), np.float32)),
        Tensor((1, 5), signature=(-1, 5)),
    ]
    ops = [Op(RESHAPE, (0, 1), (2,)), Op(FULLY_CONNECTED, (2, 3), (4,))]
    path = tmp_path / "rows.tflite"
    path.write_bytes(tflite_file(tensors, ops, [0], [4]))
    assert read_model(path).macs == 49 * 4 * 5


def test_a_shape_that_the_graph_computes_is_followed(tmp_path: Path) -> None:
    """Shape, one size of it, Pack, Reshape: how Keras flattens."""
    tensors = [
        Tensor((1, 1, 4), signature=(-1, -1, 4), name="x"),
        Tensor((3,), signature=(3,)),
        *(Tensor((1,), np.array([value], np.int32)) for value in (1, 2, 1)),
        Tensor((), signature=()),
        Tensor((), np.array(4, np.int32)),
        Tensor((2,)),
        Tensor((1, 1), signature=(-1, -1)),
        Tensor((5, 4), np.zeros((5, 4), np.float32)),
        Tensor((1, 5), signature=(-1, 5)),
    ]
    ops = [
        Op(SHAPE, (0,), (1,)),
        Op(STRIDED_SLICE, (1, 2, 3, 4), (5,), ((4, 4, 1),), 32),
        Op(PACK, (5, 6), (7,), ((0, 4, 2),), 59),
        Op(RESHAPE, (0, 7), (8,)),
        Op(FULLY_CONNECTED, (8, 9), (10,)),
    ]
    path = tmp_path / "computed.tflite"
    path.write_bytes(tflite_file(tensors, ops, [0], [10]))
    assert read_model(path, ReadOptions({"x": (1, 6, 4)})).macs == 6 * 4 * 5


def test_weights_that_are_shorter_than_their_shape_are_refused(tmp_path: Path) -> None:
    tensors = [Tensor((1, 4), name="x"), Tensor((5, 4), np.zeros(19, np.float32)), Tensor((1, 5))]
    path = tmp_path / "short.tflite"
    path.write_bytes(tflite_file(tensors, [Op(FULLY_CONNECTED, (0, 1), (2,))], [0], [2]))
    with pytest.raises(ModelFileError, match=r"76 bytes of weights, but its shape \[5, 4\] needs 80"):
        read_model(path)

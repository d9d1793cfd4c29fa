"""Rows of a batch: the same at every place and in any company, and the right product."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from evolver import row_products
from evolver.row_products import row_by_row

CPU, ROWS = torch.device("cpu"), 8


class Products(nn.Module):
    """Every way in which networks write a product, once."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layer = nn.Linear(100, 384)
        for weight in self.layer.parameters():
            weight.data = torch.randn(weight.shape, generator=generator)
        self.register_buffer("square", torch.randn(384, 384, generator=generator) / 20)

    def forward(self, x):
        x = self.layer(x) @ self.square
        x = torch.matmul(x, self.square).mm(self.square)
        return F.linear(x, self.square, self.square[0]).matmul(self.square)


@pytest.fixture
def rows():
    return torch.randn(ROWS, 100, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_a_row_is_the_same_alone_and_at_every_place(rows):
    products = Products()
    alone = torch.zeros_like(rows)
    alone[0] = rows[0]
    with row_by_row(CPU, ROWS):
        expected = products(alone)[0]
        for place in range(ROWS):
            moved = rows.clone()
            moved[place] = rows[0]
            assert torch.equal(products(moved)[place], expected), place


@torch.inference_mode()
def test_it_is_the_product_and_ends_with_the_context(rows):
    products = Products()
    plain = products(rows)
    with row_by_row(CPU, ROWS):
        found = products(rows)
        other = products(rows[:3])  # no batch of these rows: left as it is
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-3)
    assert torch.equal(other, products(rows[:3]))
    assert torch.equal(products(rows), plain)
    with row_by_row(CPU, 1):
        assert torch.equal(products(rows), plain)


@torch.inference_mode()
def test_a_product_is_whole_only_where_equal_rows_come_out_equal(rows, monkeypatch):
    """One that rounds its last rows, or with more threads, in another way is made by rows."""
    heights = []

    def uneven(x, weight):
        heights.append(len(x))
        out = x @ weight
        if len(x) == ROWS:
            out[6:] += 1e-3
        return out

    def threaded(x, weight):
        heights.append(len(x))
        return x @ weight + (1e-4 if torch.get_num_threads() > 2 else 0)

    square = torch.randn(100, 100, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()

    def even(x, weight):
        heights.append(len(x))
        return (x[:, :, None] * weight).sum(1)

    by_rows = [8] * 4 + [1] * 8
    for product, wanted in ((uneven, by_rows), (threaded, by_rows), (even, [8] * 5)):
        heights.clear()
        monkeypatch.setattr(row_products, "_alike", {})
        mode = row_products._RowByRow(ROWS)
        monkeypatch.setattr(row_products, "_PRODUCTS", frozenset({product}))
        found = mode.__torch_function__(product, (), (rows, square))
        assert heights == wanted
        assert torch.get_num_threads() == before
        torch.testing.assert_close(found, rows @ square, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_matrix_of_zeros_does_not_tell(rows, monkeypatch):
    monkeypatch.setattr(row_products, "_alike", {})
    with row_by_row(CPU, ROWS):
        F.linear(rows, torch.zeros(384, 100))
        assert not row_products._alike
        F.linear(rows, torch.ones(384, 100))
        assert len(row_products._alike) == 1
        F.linear(rows.flatten()[1:].new_zeros(801)[1:].view(8, 100), torch.ones(384, 100))
        assert len(row_products._alike) == 1  # not aligned: by itself, row by row


_AS_AVX2 = """
import torch
from evolver.row_products import row_by_row
x, w = torch.randn(8, 768), torch.randn(512, 768)
x[7] = x[0]
with torch.inference_mode(), row_by_row(torch.device("cpu"), 8):
    out = torch.nn.functional.linear(x, w)
assert torch.equal(out[0], out[7])
"""


def test_it_holds_with_the_instructions_of_older_processors(monkeypatch):
    """MKL told to do without AVX-512 rounds the last two of eight rows in another way."""
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    subprocess.run([sys.executable, "-c", _AS_AVX2], check=True)

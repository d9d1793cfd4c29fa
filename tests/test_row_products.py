"""Rows of a batch: the same at every place and in any company, and the right product."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

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

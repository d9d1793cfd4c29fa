"""The part of a map that a part of a later map depends on, and layers worked out on it alone.

Knows tensors and rectangles. Knows nothing of networks or images. Everything is differentiable,
and the same as in the whole map but for rounding: a library adds in another order where a map
has another size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812  the name every torch user knows it by

_FEW = 64
"""Channels, below which a transposed convolution is slow on a processor; `_interleaved`."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows `top` to `bottom` and columns `left` to `right` of a map; the ends are not in it."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def whole(cls, size: int) -> Window:
        """Return all of a square map."""
        return cls(0, size, 0, size)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    def within(self, outer: Window) -> Window:
        """Return where this window is in the map of an outer one."""
        return Window(
            self.top - outer.top,
            self.bottom - outer.top,
            self.left - outer.left,
            self.right - outer.left,
        )

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Return this part of maps, (n, c, h, w)."""
        return x[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class FilterShape:
    """A convolution's geometry, or a transposed one's: `stride` times larger, not smaller.

    Parameters
    ----------
    kernel, stride, padding : as torch has them, the same in both directions; a transposed one's
        kernel at least its stride
    transposed : whether it is
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    transposed: bool = False

    def needs(self, wanted: Window, size: int) -> Window:
        """Return the part of its input, (size, size), that a part of its output comes from."""
        top, bottom = self._span(wanted.top, wanted.bottom, size)
        left, right = self._span(wanted.left, wanted.right, size)
        return Window(top, bottom, left, right)

    def _span(self, first: int, end: int, size: int) -> tuple[int, int]:
        k, s, p = self.kernel, self.stride, self.padding
        if self.transposed:  # output y = s i + tap - p, of taps 0 to k - 1
            low, high = -((k - 1 - p - first) // s), (end - 1 + p) // s + 1
        else:  # output y is of inputs s y + tap - p
            low, high = s * first - p, s * (end - 1) - p + k
        return max(low, 0), min(high, size)

    def apply(
        self,
        x: torch.Tensor,
        has: Window,
        wanted: Window,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the wanted part of the output.

        Parameters
        ----------
        x : (n, c, h, w), the part `has` of the input, which is what `needs` says
        has, wanted : where x and the output are in their whole maps
        weight, bias : as torch's functions take them
        """
        s, p = self.stride, self.padding
        if self.transposed:
            if x.device.type == "cpu" and weight.shape[1] < _FEW and self.kernel % s == 0:
                return self._interleaved(x, has, wanted, weight, bias)
            at = Window(s * has.top - p, 0, s * has.left - p, 0)  # of all, in the whole map
            cut = wanted.within(at)
            rows, columns = (s * (length - 1) + self.kernel for length in has.shape)
            if cut.top == cut.left == rows - cut.bottom == columns - cut.right:
                return F.conv_transpose2d(x, weight, bias, stride=s, padding=cut.top)
            return cut.of(F.conv_transpose2d(x, weight, bias, stride=s))
        rows, columns = wanted.shape
        above, before = has.top - (s * wanted.top - p), has.left - (s * wanted.left - p)
        below = s * (rows - 1) + self.kernel - above - x.shape[-2]
        after = s * (columns - 1) + self.kernel - before - x.shape[-1]
        if above == below == before == after:
            return F.conv2d(x, weight, bias, stride=s, padding=above)
        return F.conv2d(F.pad(x, (before, after, above, below)), weight, bias, stride=s)

    def _interleaved(
        self,
        x: torch.Tensor,
        has: Window,
        wanted: Window,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the wanted part of a transposed convolution's output, by an ordinary one.

        Output y is of inputs q - t and taps r + s t, where q and r are the quotient and the
        rest of (y + p) / s: for each rest a convolution of its own, and all of them one, whose
        outputs are dealt out to rows and columns in turn, those at the edges too, which are cut
        off: one copy of long pieces costs less than one of short ones for each rest. With few
        channels a library is 1.5 to 5 times as fast with that; with many it works out more at
        the borders than it gains.
        """
        s, p, taps = self.stride, self.padding, self.kernel // self.stride
        ci, co = weight.shape[:2]
        last_first = weight.reshape(ci, co, taps, s, taps, s).flip(2, 4)
        folded = last_first.permute(3, 5, 1, 0, 2, 4).reshape(s * s * co, ci, taps, taps)
        folded = folded.contiguous(memory_format=torch.channels_last)
        top, left = (wanted.top + p) // s, (wanted.left + p) // s  # of q
        bottom, right = (wanted.bottom - 1 + p) // s + 1, (wanted.right - 1 + p) // s + 1
        above, before = has.top - (top - taps + 1), has.left - (left - taps + 1)
        below, after = bottom - has.bottom, right - has.right
        biases = None if bias is None else bias.repeat(s * s)
        if above == below == before == after >= 0:
            maps = F.conv2d(x, folded, biases, padding=above)
        else:
            maps = F.conv2d(F.pad(x, (before, after, above, below)), folded, biases)
        n, _, height, width = maps.shape
        dealt = maps.permute(0, 2, 3, 1).reshape(n, height, width, s, s * co).transpose(2, 3)
        whole = dealt.reshape(n, height * s, width * s, co).permute(0, 3, 1, 2)
        return wanted.within(Window(s * top - p, 0, s * left - p, 0)).of(whole)

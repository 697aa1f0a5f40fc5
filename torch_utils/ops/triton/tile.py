"""Which elements a block of a Triton kernel computes, for kernels to call: tiles of a matrix, as triton_support.tile cuts it."""

import triton
import triton.language as tl


@triton.jit
def tile(rows, cols, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr):
    """-> rows [BLOCK_ROWS, 1] and columns [1, BLOCK_COLS] of this block, offsets in memory, which of them exist."""
    tiles_across = tl.cdiv(cols, BLOCK_COLS)
    index = tl.program_id(0)
    row = (index // tiles_across) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)[:, None]
    col = (index % tiles_across) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)[None, :]
    return row, col, row.to(tl.int64) * cols + col, (row < rows) & (col < cols)

# The chain of calls that a run really made, told from its instructions and not from its stack.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

from dataclasses import dataclass

from stepper import PC

# Indices of the registers that a frame follows from, and instructions that enter and leave a trap.
RA, SP, S0 = 1, 2, 8
ECALL, MRET = 0x00000073, 0x30200073


@dataclass(frozen=True)
class Call:
    """A call under way: where it returns to, and the caller's sp and s0; of a trap also the ra it found."""

    pc: int
    sp: int
    s0: int
    trap_ra: int | None = None


def is_call(opcode: int) -> bool:
    """Whether an instruction writes a return address to ra."""
    if opcode & 3 != 3:
        return opcode & 0xF07F == 0x9002 and opcode & 0x0F80 != 0
    return opcode & 0x7F in (0x6F, 0x67) and opcode >> 7 & 31 == RA


class ShadowStack:
    """The calls that really happened, told from the instructions alone."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def follow(self, opcode: int, before: list[int], after: list[int]) -> None:
        size = 4 if opcode & 3 == 3 else 2
        if is_call(opcode):
            self.calls.append(Call(before[PC] + size, before[SP], before[S0]))
        elif opcode & 3 == 3 and opcode == ECALL:
            self.calls.append(Call(before[PC], before[SP], before[S0], trap_ra=before[RA]))
        elif opcode & 3 == 3 and opcode == MRET:
            self.calls.pop()
        elif self.calls and (after[PC], after[SP]) == (self.calls[-1].pc, self.calls[-1].sp):
            self.calls.pop()

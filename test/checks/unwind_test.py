#!/usr/bin/python3
# Tests of mkdebug.py's tables and the kernel's unwinder, on an image with every kind of frame.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: unwind_test.py DIRECTORY    (where the image and the host's unwinder were built)

Three proofs that a backtrace is right: the row of every pc equals what readelf makes of .debug_frame; at
every instruction of a run the chain of callers equals the calls that led there; and whatever a stack or a
table holds, nothing outside of them is read, and the walk ends.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parents[1] / "tools"), str(FOLDER / "unwind")]

from host_unwinder import FRAMES_MAX, WORD_BYTES, Frame, GuardedMemory, Result, Tables, Unwinder  # noqa: E402
from image import Image, descriptor, readelf_rules  # noqa: E402
from run import qemu  # noqa: E402
from run.emit import Report  # noqa: E402
from shadow_stack import ECALL, RA, S0, SP, Call, ShadowStack  # noqa: E402
from stepper import PC, RAM_BASE, RAM_BYTES, Stepper  # noqa: E402

BUILD = Path(sys.argv[1])
FINAL = BUILD / "unwind_final.elf"
LIBRARY = BUILD / "libunwind_host.so"
SEED = 1
STEPS_MAX = 100_000

# Assembly whose callers are not to be had: the first frame of all, and the trap entry.
WITHOUT_CALLER = ("_start", "trap_entry")


class Findings:
    """The first of what is wrong: one mistake shows at hundreds of addresses."""

    SHOWN = 20

    def __init__(self, report: Report) -> None:
        self._report = report
        self._count = 0

    def check(self, holds: bool, complaint: str) -> bool:
        self._count += not holds
        if not holds and self._count <= self.SHOWN:
            self._report.check(False, complaint)
        return holds


def compare_rows(findings: Findings, image: Image, unwinder: Unwinder, tables: Tables) -> None:
    """Steps from every pc over a stack whose words are all different addresses: each tells where it lay."""
    memory = GuardedMemory(16000)
    words = (memory.high - memory.low) // WORD_BYTES
    values = [image.low + 2 + 2 * (index % ((image.high - image.low) // 2 - 1)) for index in range(words)]
    stack = b"".join(value.to_bytes(8, "little") for value in values)
    memory.put(stack)
    rules = readelf_rules(FINAL)
    findings.check(len(rules) > 1500, f"readelf described only {len(rules)} addresses")
    frame_base = memory.low + 8192
    ra = image.low + 100

    for pc, rule in rules.items():
        cfa = (frame_base if rule.register == "s0" else memory.low) + rule.offset
        is_known = image.function_at(pc) not in WITHOUT_CALLER

        def word(offset: int | None, otherwise: int, cfa: int = cfa) -> int:
            return otherwise if offset is None else values[(cfa + offset - memory.low) // WORD_BYTES]

        for is_exact in (True, False):
            frame = Frame(
                pc=pc if is_exact else pc + 1, sp=memory.low, s0=frame_base, ra=ra, ra_is_valid=is_exact,
                stack_low=memory.low, stack_high=memory.high,
            )
            result = unwinder.step(tables, frame)
            where = f"{pc:#x} {image.function_at(pc)} {'trap' if is_exact else 'call'}: {result.name}, {rule}"
            if not is_known:
                is_return = tables.trap_return_start <= frame.pc < tables.trap_return_end and not is_exact
                wanted = Result.TRAP if is_return else Result.END
                findings.check(result == wanted, f"{where}, not {wanted.name}")
            elif rule.ra is None and not is_exact:
                findings.check(result == Result.CORRUPT, f"{where}, without a return address")
            else:
                expected = (word(rule.ra, ra), cfa, word(rule.s0, frame_base), False, 1)
                found = (frame.pc, frame.sp, frame.s0, frame.ra_is_valid, frame.depth)
                is_right = result == Result.CALLER and found == expected
                findings.check(is_right, f"{where}: {found}, not {expected}")


def compare_names(findings: Findings, image: Image, unwinder: Unwinder, tables: Tables) -> None:
    """Looks up every address, and those around the code."""
    starts = [start for start, _, _ in image.functions]
    ends = {}
    for start, size, _ in image.functions:
        following = min((other for other in starts if other > start), default=image.high)
        ends[start] = start + size if size else following
    for pc in range(image.low, image.high):
        wanted = None
        for start, _, name in image.functions:
            if start <= pc < ends[start]:
                wanted = (name, pc - start, ends[start] - start)
        found = unwinder.lookup(tables, pc)
        findings.check(found == wanted, f"{pc:#x} is {found}, not {wanted}")
    for pc in (0, image.low - 1, image.high, image.high + 100, image.low + (1 << 32), (1 << 64) - 1):
        found = unwinder.lookup(tables, pc)
        findings.check(found is None, f"{pc:#x} is {found}")
    findings.check(not unwinder.lookup_without_tables(image.low), "an image without tables knows a name")


def check_chain(stepper: Stepper, image: Image, unwinder: Unwinder, tables: Tables, calls: list[Call],
                registers: list[int]) -> str | None:
    """Unwinds from these registers to the end; returns what is wrong with it."""
    bias = stepper.bias
    high = image.address["stack_top"] + bias

    def to_host(value: int) -> int:
        return value + bias if RAM_BASE <= value < RAM_BASE + RAM_BYTES else value

    def to_guest(value: int) -> int:
        return value - bias if RAM_BASE <= value - bias < RAM_BASE + RAM_BYTES else value

    frame = Frame(pc=registers[PC], sp=to_host(registers[SP]), s0=to_host(registers[S0]), ra=registers[RA],
                  ra_is_valid=True, stack_low=image.address["stack_bottom"] + bias, stack_high=high)
    for call in reversed(calls):
        result = unwinder.step(tables, frame)
        if call.trap_ra is not None:
            if result != Result.TRAP:
                return f"{result.name} at a trap's entry"
            saved = [stepper.read(to_guest(frame.sp) + 8 * index, 8) for index in range(4)]
            frame.pc, frame.ra, frame.sp, frame.s0 = saved[0], saved[1], to_host(saved[2]), to_host(saved[3])
            frame.ra_is_valid = True
            found = (frame.pc, saved[2], saved[3], frame.ra)
            wanted: tuple[int, ...] = (call.pc, call.sp, call.s0, call.trap_ra)
        else:
            if result != Result.CALLER:
                return f"{result.name}, where the caller is at {call.pc:#x} {image.function_at(call.pc)}"
            frame.s0 = to_host(to_guest(frame.s0))
            found = (frame.pc, to_guest(frame.sp), to_guest(frame.s0))
            wanted = (call.pc, call.sp, call.s0)
        if found != wanted:
            return f"{[hex(value) for value in found]}, not {[hex(value) for value in wanted]}"
    result = unwinder.step(tables, frame)
    return None if result == Result.END else f"{result.name} at the first frame of all"


def compare_with_a_run(findings: Findings, image: Image, unwinder: Unwinder, tables: Tables) -> None:
    shadow = ShadowStack()
    trap_entry = image.place("trap_entry")
    visited: set[str] = set()
    deepest, steps, traps = 0, 0, 0
    with Stepper(qemu.find().path, FINAL) as stepper:
        registers = stepper.registers()
        while registers[PC] < image.low:
            stepper.step()
            registers = stepper.registers()
        while registers[PC] != image.address["target_end"] and steps < STEPS_MAX:
            pc = registers[PC]
            if not trap_entry[0] <= pc < trap_entry[1]:
                visited.add(image.function_at(pc))
                wrong = check_chain(stepper, image, unwinder, tables, shadow.calls, registers)
                where = f"step {steps} at {pc:#x} {image.function_at(pc)}"
                if not findings.check(wrong is None, f"{where}: {wrong}"):
                    return
            opcode = stepper.read(pc, 4)
            stepper.step()
            after = stepper.registers()
            shadow.follow(opcode if opcode & 3 == 3 else opcode & 0xFFFF, registers, after)
            deepest = max(deepest, len(shadow.calls))
            traps += opcode == ECALL
            registers = after
            steps += 1
    findings.check(registers[PC] == image.address["target_end"], f"no end within {steps} steps")
    unseen = {name for _, size, name in image.functions if size} - visited - {"trap_entry"}
    findings.check(not unseen, f"never executed: {', '.join(sorted(unseen))}")
    findings.check(deepest > 6 and traps > 4, f"only {deepest} calls deep and {traps} traps")
    print(f"# {steps} instructions, {deepest} calls deep, {traps} traps", flush=True)


def walk(unwinder: Unwinder, tables: Tables, frame: Frame) -> tuple[list[tuple[int, int]], Result]:
    """All frames, as (pc, sp), and how the walk ended."""
    frames = [(frame.pc, frame.sp)]
    while (result := unwinder.step(tables, frame)) == Result.CALLER and len(frames) <= 2 * FRAMES_MAX:
        frames.append((frame.pc, frame.sp))
    return frames, result


def try_bad_stacks(findings: Findings, image: Image, unwinder: Unwinder, tables: Tables) -> None:
    """Stacks of chance values, many of them plausible. A read out of bounds would end this process."""
    memory = GuardedMemory(4096)
    choose = random.Random(SEED)

    def value() -> int:
        kind = choose.randrange(4)
        if kind == 0:
            return choose.getrandbits(64)
        if kind == 1:
            return choose.randrange(memory.low - 64, memory.high + 64) & ~7
        return choose.randrange(image.low, image.high) & ~1

    endings = set()
    for _ in range(20_000):
        memory.put(b"".join(value().to_bytes(8, "little") for _ in range(32)))
        low = choose.choice((memory.low, memory.high - 256, memory.high))
        frame = Frame(
            pc=choose.choice((value(), choose.randrange(image.low, image.high))), ra=value(),
            sp=choose.choice((value(), memory.high - 16 * choose.randrange(20))), s0=value(),
            ra_is_valid=choose.random() < 0.5, stack_low=low, stack_high=memory.high,
        )
        frames, result = walk(unwinder, tables, frame)
        endings.add(result)
        stacks = [sp for _, sp in frames]
        findings.check(len(frames) <= FRAMES_MAX, f"{len(frames)} frames")
        findings.check(all(a <= b for a, b in zip(stacks, stacks[1:])), f"sp fell: {stacks}")
        findings.check(all(a < b for a, b in zip(stacks[1:], stacks[2:])), f"sp stood still: {stacks}")
        findings.check(all(image.low < pc <= image.high for pc, _ in frames[1:]), f"left the code: {frames}")
    wanted = {Result.END, Result.UNKNOWN, Result.CORRUPT, Result.TRAP}
    findings.check(endings >= wanted, f"only {endings} happened")


def try_bad_tables(findings: Findings, image: Image, unwinder: Unwinder) -> None:
    """Tables that are cut anywhere or have wrong bytes."""
    choose = random.Random(SEED)
    memory = GuardedMemory(len(image.tables))
    stack = GuardedMemory(4096)
    pcs = list(range(image.low, image.high, 34))

    def use(data: bytes) -> None:
        tables = Tables(image=memory.put(data), image_bytes=len(data), base=image.low)
        for pc in pcs:
            found = unwinder.lookup(tables, pc)
            findings.check(found is None or len(found[0]) < 64, f"{pc:#x}: {found}")
            frame = Frame(pc=pc, sp=stack.low, s0=stack.low + 512, ra=image.low + 2, ra_is_valid=True,
                          stack_low=stack.low, stack_high=stack.high)
            walk(unwinder, tables, frame)

    for size in range(len(image.tables)):
        use(image.tables[:size])
    # The same cuts with a header that admits them, so that only the cursor can notice.
    for size in range(len(image.tables) - image.stream_bytes, len(image.tables)):
        stream_bytes = size - (len(image.tables) - image.stream_bytes)
        use(image.tables[:12] + stream_bytes.to_bytes(4, "little") + image.tables[16:size])
    for _ in range(1000):
        data = bytearray(image.tables)
        for _ in range(choose.randrange(1, 8)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        use(bytes(data))


def try_bad_places(findings: Findings, image: Image, unwinder: Unwinder, tables: Tables) -> None:
    """An overflow, a bad function pointer, an endless recursion, a frame pointer that leads back."""
    memory = GuardedMemory(16384)
    big_low, big_high = image.place("big_frame")
    rules = readelf_rules(FINAL)
    inside = next(pc for pc in range(big_low, big_high, 2) if rules[pc].offset > 5000 and rules[pc].ra == -8)
    caller = image.address["shapes_O2"] + 100
    bounds = {"stack_low": memory.low, "stack_high": memory.high}

    # big_frame's CFA is 64 bytes into the stack, so that its locals, and touch() called from there, lie below
    # it.
    cfa = memory.low + 64
    memory.put(bytes(memory.high - cfa + 8))
    memory.put((caller.to_bytes(8, "little") + bytes(memory.high - cfa)))
    sp = cfa - rules[inside].offset
    touch, _ = image.place("touch")
    frame = Frame(pc=touch, sp=sp, ra=inside + 2, ra_is_valid=True, **bounds)
    frames, _ = walk(unwinder, tables, frame)
    findings.check(frames[:3] == [(touch, sp), (inside + 2, sp), (caller, cfa)], f"overflow: {frames}")

    for pc in (0, 8, 1 << 63, image.high + 4096, image.address["assembly_plain"] + 4):
        frame = Frame(pc=pc, sp=memory.low + 256, ra=caller, ra_is_valid=True, **bounds)
        result = unwinder.step(tables, frame)
        findings.check(result == Result.CALLER and frame.pc == caller and frame.sp == memory.low + 256,
                     f"a call to {pc:#x}: {result.name}")
        frame = Frame(pc=pc + 1, sp=memory.low + 256, **bounds)
        result = unwinder.step(tables, frame)
        findings.check(result == Result.UNKNOWN, f"a return to {pc:#x}: {result.name}")

    low, high = image.place("recursive")
    inside = next(pc for pc in range(low, high, 2) if rules[pc].ra == -8 and rules[pc].register == "sp")
    memory.put((inside + 1).to_bytes(8, "little") * ((memory.high - memory.low) // 8))
    frames, result = walk(unwinder, tables, Frame(pc=inside, sp=memory.low, ra_is_valid=True, **bounds))
    is_cut = result == Result.TOO_DEEP and len(frames) == FRAMES_MAX
    findings.check(is_cut, f"recursion: {result.name}, {len(frames)}")

    inside = next(pc for pc in rules if rules[pc].register == "s0")
    bad = (0, memory.low + 128, memory.low + 136, memory.high + 16)
    for s0, wanted in (*((s0, Result.CORRUPT) for s0 in bad), (memory.high, Result.CALLER)):
        frame = Frame(pc=inside + 1, sp=memory.low + 128, s0=s0, **bounds)
        before = bytes(frame)
        result = unwinder.step(tables, frame)
        findings.check(result == wanted, f"s0 at {s0 - memory.low}: {result.name}")
        findings.check(result == Result.CALLER or bytes(frame) == before, "a failing step changed the frame")


def main() -> int:
    report = Report()
    image = Image(FINAL)
    unwinder = Unwinder(LIBRARY)
    memory = GuardedMemory(len(image.tables))
    tables = descriptor(image, memory)
    proofs: list[tuple[str, Callable[[Findings], None]]] = [
        ("unwind_rows_equal_readelf", lambda found: compare_rows(found, image, unwinder, tables)),
        ("symbols_equal_the_symbol_table", lambda found: compare_names(found, image, unwinder, tables)),
        ("unwind_holds_at_every_step", lambda found: compare_with_a_run(found, image, unwinder, tables)),
        ("unwind_survives_bad_stacks", lambda found: try_bad_stacks(found, image, unwinder, tables)),
        ("unwind_survives_bad_tables", lambda found: try_bad_tables(found, image, unwinder)),
        ("unwind_finds_callers_of_bad_places", lambda found: try_bad_places(found, image, unwinder, tables)),
    ]
    for name, prove in proofs:
        with report.case(name):
            prove(Findings(report))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

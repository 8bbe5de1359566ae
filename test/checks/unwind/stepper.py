# Runs a bare-metal image in QEMU one instruction at a time, with its memory and registers in reach.
# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's debugger stub steps and gives the registers; the guest's RAM is a file that both sides map."""

from __future__ import annotations

import ctypes
import mmap
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RAM_BASE = 0x80000000
RAM_BYTES = 16 << 20
REGISTERS = 33
PC = 32
ANSWER_LIMIT_S = 20


class Stepper:
    """One halted machine. Use it as a context: QEMU ends with it."""

    def __init__(self, qemu: str, image: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quire-")
        folder = Path(self._folder.name)
        ram, channel = folder / "ram", folder / "gdb"
        with ram.open("wb") as file:
            file.truncate(RAM_BYTES)
        command = [
            qemu, "-M", "virt,memory-backend=ram", "-m", f"{RAM_BYTES >> 20}M", "-bios", "none",
            "-object", f"memory-backend-file,id=ram,size={RAM_BYTES},mem-path={ram},share=on",
            "-display", "none", "-monitor", "none", "-serial", "null", "-no-reboot",
            "-S", "-gdb", f"unix:{channel},server=on,wait=off", "-kernel", str(image),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_LIMIT_S)
        self._buffer = b""
        self._connect(channel)
        with ram.open("r+b") as file:
            self._ram = mmap.mmap(file.fileno(), RAM_BYTES)
        # What to add to a guest's address to have the host's.
        self.bias = ctypes.addressof(ctypes.c_char.from_buffer(self._ram)) - RAM_BASE

    def __enter__(self) -> Stepper:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _connect(self, channel: Path) -> None:
        limit = time.monotonic() + ANSWER_LIMIT_S
        while True:
            try:
                self._socket.connect(str(channel))
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError("QEMU does not offer its debugger stub") from None
                time.sleep(0.02)

    def _ask(self, text: str) -> str:
        """One packet of the remote protocol there and one back: $text#checksum, acknowledged by +."""
        self._socket.sendall(f"${text}#{sum(text.encode()) & 0xFF:02x}".encode())
        while b"#" not in self._buffer or len(self._buffer) < self._buffer.index(b"#") + 3:
            received = self._socket.recv(4096)
            if not received:
                raise RuntimeError("QEMU ended")
            self._buffer += received
        start, end = self._buffer.index(b"$") + 1, self._buffer.index(b"#")
        answer, self._buffer = self._buffer[start:end], self._buffer[end + 3 :]
        self._socket.sendall(b"+")
        return answer.decode("ascii")

    def step(self) -> None:
        answer = self._ask("s")
        if not answer.startswith(("T05", "S05")):
            raise RuntimeError(f"step: {answer}")

    def registers(self) -> list[int]:
        """x0 to x31, and the pc."""
        data = bytes.fromhex(self._ask("g"))
        return [int.from_bytes(data[at : at + 8], "little") for at in range(0, 8 * REGISTERS, 8)]

    def read(self, address: int, size: int) -> int:
        at = address - RAM_BASE
        return int.from_bytes(self._ram[at : at + size], "little")

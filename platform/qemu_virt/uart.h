// The ns16550a serial port.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <platform/machine.h>

// `registers` is the mapped register block.
void uart_init(const struct machine_uart *uart, volatile void *registers);

// Sends the text, a carriage return before every newline; waits for the transmitter. Any context.
void uart_write(const char *text, size_t size);

// Received characters go to `receive`, in interrupt context, from now on.
void uart_enable_receive(void (*receive)(char character));
void uart_interrupt(void);

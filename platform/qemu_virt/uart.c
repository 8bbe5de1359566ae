// The ns16550a serial port. Registers: National Semiconductor PC16550D data sheet (1995), section 8.
// SPDX-License-Identifier: BSD-2-Clause

#include "uart.h"

enum { RECEIVE_BUFFER = 0, TRANSMIT_HOLDING = 0, INTERRUPT_ENABLE = 1, LINE_STATUS = 5 };
enum { INTERRUPT_RECEIVE = 1 << 0 };
enum { STATUS_DATA_READY = 1 << 0, STATUS_TRANSMIT_EMPTY = 1 << 5 };

static volatile uint8_t *base;                     // (C)
static unsigned shift, width;                      // (C)
static void (*receive_character)(char character);  // (C)

static uint8_t reg_read(unsigned reg)
{
    volatile uint8_t *at = base + ((size_t)reg << shift);
    return width == 4 ? (uint8_t)*(volatile uint32_t *)at : width == 2 ? (uint8_t)*(volatile uint16_t *)at : *at;
}

static void reg_write(unsigned reg, uint8_t value)
{
    volatile uint8_t *at = base + ((size_t)reg << shift);
    if (width == 4)
        *(volatile uint32_t *)at = value;
    else if (width == 2)
        *(volatile uint16_t *)at = value;
    else
        *at = value;
}

void uart_init(const struct machine_uart *uart, volatile void *registers)
{
    base = registers;
    shift = uart->reg_shift;
    width = uart->reg_io_width;
    // Speed and FIFOs are as the firmware set them: to set them again would drop what has been typed meanwhile.
    reg_write(INTERRUPT_ENABLE, 0);
}

static void send(char character)
{
    while (!(reg_read(LINE_STATUS) & STATUS_TRANSMIT_EMPTY))
        ;
    reg_write(TRANSMIT_HOLDING, (uint8_t)character);
}

void uart_write(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n')
            send('\r');
        send(text[i]);
    }
}

void uart_enable_receive(void (*receive)(char character))
{
    receive_character = receive;
    reg_write(INTERRUPT_ENABLE, INTERRUPT_RECEIVE);
}

void uart_interrupt(void)
{
    while (reg_read(LINE_STATUS) & STATUS_DATA_READY)
        receive_character((char)reg_read(RECEIVE_BUFFER));
}

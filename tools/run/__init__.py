# Running kernels and test programs: the QEMU command line, time limits, TAP, verdicts and their records.
# SPDX-License-Identifier: BSD-2-Clause

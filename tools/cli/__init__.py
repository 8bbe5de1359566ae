# The subcommands of tools/quire.
# SPDX-License-Identifier: BSD-2-Clause

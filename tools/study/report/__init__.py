# The report of the page-size study: console records in, tables, CSV files and one HTML page out.
# SPDX-License-Identifier: BSD-2-Clause

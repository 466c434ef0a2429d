/* Dates and times as Python's str() writes them, which is what example ids are made of.
 *
 *   2024-05-06   2024-05-06 07:08:09   2024-05-06 07:08:09.000250   2024-05-06 07:08:09+00:00
 *
 * The calendar is Gregorian without end; Python's years are 1 to 9999.
 *
 * next: engine/dataset/cell.h */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QK_PYTIME_SIZE = 40 };

/* Whole units in a value, towards minus infinity; *rest, which may be NULL, is not negative. */
int64_t qk_floor_div(int64_t value, int64_t unit, int64_t *rest);
/* str(datetime.date) of days since 1970-01-01. false outside the years 1 to 9999. */
bool qk_pytime_date(char out[QK_PYTIME_SIZE], int64_t days);
/* str(datetime.datetime) of microseconds since 1970-01-01 00:00; utc adds "+00:00". */
bool qk_pytime_stamp(char out[QK_PYTIME_SIZE], int64_t microseconds, bool utc);
/* str(datetime.time) of microseconds since midnight. */
bool qk_pytime_clock(char out[QK_PYTIME_SIZE], int64_t microseconds);

/* Reads what Arrow's JSON reader takes for a time stamp: YYYY-MM-DD, then perhaps a blank or T and
 * hh, hh:mm or hh:mm:ss, then perhaps Z, +hh, +hhmm or +hh:mm. Seconds since 1970-01-01 in UTC. */
bool qk_pytime_parse(const char *text, size_t length, int64_t *seconds);

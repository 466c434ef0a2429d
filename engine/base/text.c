/* See text.h. UTF-8: RFC 3629; the table of well-formed sequences is Unicode's table 3-7. */
#include "engine/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"

/* Levenshtein distance with two rows; SIZE_MAX for words that are too long to be compared. */
static size_t edits(const char *a, const char *b)
{
    enum { MAX_LENGTH = 64 };
    size_t n = strlen(a), m = strlen(b), row[MAX_LENGTH + 1];
    if (n > MAX_LENGTH || m > MAX_LENGTH) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (up + 1 < best) best = up + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = up;
        }
    }
    return row[m];
}

const char *qk_nearest(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t fewest = (strlen(word) + 1) / 2 + 1;
    for (; *candidates; candidates++) {
        size_t d = edits(word, *candidates);
        if (d < fewest) fewest = d, best = *candidates;
    }
    return best;
}

void qk_list_numbers(char *out, size_t capacity, const int64_t *numbers, size_t n)
{
    enum { MAX_NAMED = 4 };
    size_t named = n > MAX_NAMED ? MAX_NAMED : n, at = 0;
    *out = 0;
    for (size_t i = 0; i < named; i++) {
        const char *separator = i == 0 ? "" : i + 1 == n ? " and " : ", ";
        at += (size_t)snprintf(out + at, capacity - at, "%s%" PRId64, separator, numbers[i]);
    }
    if (n > named) snprintf(out + at, capacity - at, " and %zu more", n - named);
}

size_t qk_utf8_decode(const uint8_t *s, size_t n, uint32_t *code_point)
{
    if (n == 0) return 0;
    if (s[0] < 0x80) {
        *code_point = s[0];
        return 1;
    }
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || n < length) return 0;
    uint32_t c = s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3F);
    }
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (c < smallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 0;
    *code_point = c;
    return length;
}

size_t qk_utf8_encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3F));
    static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (uint8_t)(lead[length] | c);
    return length;
}

/* How many of the first bytes are ASCII, in whole words; most text is. */
static size_t ascii_words(const uint8_t *text, size_t n)
{
    const uint64_t high = 0x8080808080808080u;
    uint64_t w[4];
    size_t i = 0;
    for (; n - i >= sizeof w; i += sizeof w) {
        memcpy(w, text + i, sizeof w);
        if ((w[0] | w[1] | w[2] | w[3]) & high) break;
    }
    for (; n - i >= sizeof *w; i += sizeof *w) {
        memcpy(w, text + i, sizeof *w);
        if (*w & high) break;
    }
    return i;
}

size_t qk_utf8_check(const uint8_t *text, size_t n)
{
    uint32_t c;
    size_t i = 0;
    while (i < n) {
        i += ascii_words(text + i, n - i);
        while (i < n && text[i] < 0x80) i++;
        /* One foreign letter rarely comes alone. */
        while (i < n && text[i] >= 0x80) {
            size_t k = qk_utf8_decode(text + i, n - i, &c);
            if (!k) return i;
            i += k;
        }
    }
    return n;
}

/* ---- for terminals ---- */

bool qk_is_shown(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return false;
    bool turns = c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
                 (c >= 0x2066 && c <= 0x2069);
    return !turns && c != 0x2028 && c != 0x2029;
}

char *qk_visible_copy(const char *text)
{
    qk_buf out = {0};
    const uint8_t *at = (const uint8_t *)text;
    for (size_t left = strlen(text), n; left; at += n, left -= n) {
        uint32_t c;
        n = qk_utf8_decode(at, left, &c);
        if (n && qk_is_shown(c))
            qk_buf_add(&out, at, n);
        else if (n && (c == '\n' || c == '\r' || c == '\t'))
            qk_buf_addf(&out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (n)
            qk_buf_addf(&out, c < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)c);
        else
            qk_buf_addf(&out, "\\x%02x", at[n++]);
    }
    qk_buf_str(&out);
    return (char *)out.data;
}

const char *qk_visible(const char *text)
{
    static _Thread_local char *slots[8];
    static _Thread_local unsigned next;
    char **slot = &slots[next++ & 7];
    free(*slot);
    return *slot = qk_visible_copy(text);
}

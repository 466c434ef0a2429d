/* White space and words. See space.h. */
#include "engine/tokenizer/space.h"

#include <string.h>

#include "engine/base/text.h"

bool qk_range_has(const qk_range *ranges, size_t count, uint32_t code)
{
    size_t lo = 0, hi = count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (ranges[mid].hi < code)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < count && ranges[lo].lo <= code;
}

bool qk_class_has(const char *name, uint32_t code)
{
    for (size_t i = 0; i < qk_char_class_count; i++)
        if (!strcmp(qk_char_classes[i].name, name))
            return qk_range_has(qk_char_classes[i].ranges, qk_char_classes[i].count, code);
    return false;
}

/* The regex crate's \w is Oniguruma's with the two joiners and without six characters (asked for
 * every code point). */
static bool is_word(uint32_t code)
{
    static const qk_range without[] = {{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}};
    if (code == 0x200C || code == 0x200D) return true;
    return qk_class_has("w", code) && !qk_range_has(without, 3, code);
}

static bool is_space(uint32_t code)
{
    if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13);
    return qk_class_has("s", code);
}

/* The character that ends at `end`; returns where it begins. */
static size_t character_before(const uint8_t *text, size_t end, uint32_t *code)
{
    size_t i = end - 1;
    while (i > 0 && (text[i] & 0xC0) == 0x80) i--;
    if (!qk_utf8_decode(text + i, end - i, code)) *code = 0;
    return i;
}

size_t qk_space_before(const uint8_t *text, size_t end, size_t floor)
{
    while (end > floor) {
        uint32_t code;
        size_t i = character_before(text, end, &code);
        if (i < floor || !is_space(code)) break;
        end = i;
    }
    return end;
}

size_t qk_space_behind(const uint8_t *text, size_t from, size_t length)
{
    while (from < length) {
        uint32_t code;
        size_t n = qk_utf8_decode(text + from, length - from, &code);
        if (!n || !is_space(code)) break;
        from += n;
    }
    return from;
}

bool qk_word_before(const uint8_t *text, size_t end)
{
    uint32_t code;
    character_before(text, end, &code);
    return is_word(code);
}

bool qk_word_behind(const uint8_t *text, size_t from, size_t length)
{
    uint32_t code;
    return qk_utf8_decode(text + from, length - from, &code) && is_word(code);
}

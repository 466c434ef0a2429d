/* formats/yaml: any bytes as a configuration file, and as YAML of somebody else: what the
 * strict reader takes, the safe one takes, too, and it is the same. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "formats/yaml.h"

static void check_same(const qk_yaml *a, const qk_yaml *b)
{
    QK_ASSERT(a->type == b->type && a->count == b->count && a->length == b->length);
    QK_ASSERT(a->boolean == b->boolean && a->fits == b->fits && a->integer == b->integer);
    QK_ASSERT(!a->length || !memcmp(a->text, b->text, a->length));
    const qk_yaml *y = b->first;
    for (const qk_yaml *x = a->first; x; x = x->next, y = y->next) {
        QK_ASSERT(!y->other_key && !x->key == !y->key);
        QK_ASSERT(!x->key || (x->key_length == y->key_length && !strcmp(x->key, y->key)));
        check_same(x, y);
    }
    QK_ASSERT(!y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qk_arena arena = {0};
    qk_yaml *strict = NULL, *safe = NULL;
    qk_error err;
    bool fine = qk_yaml_parse(&arena, (const char *)data, size, "fuzz", &strict, &err) == QK_OK;
    if (!fine) QK_ASSERT(err.message[0]);
    if (qk_yaml_parse_safe(&arena, (const char *)data, size, "fuzz", &safe, &err) != QK_OK)
        QK_ASSERT(err.message[0] && (!fine || strstr(err.message, "too many anchors")));
    else if (fine)
        QK_ASSERT(!strict == !safe);
    if (fine && strict && safe) check_same(strict, safe);
    if (safe) qk_yaml_is_true(qk_yaml_get(safe, "configs"));
    qk_arena_free(&arena);
    return 0;
}

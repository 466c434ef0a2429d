/* See kind.h. */
#include "sampler/kind.h"

#include <string.h>

#include "engine/base/error.h"

const qk_kind qk_kinds[QK_KINDS] = {QK_KIND_Q, QK_KIND_Q_PRE, QK_KIND_K, QK_KIND_K_PRE, QK_KIND_V};

static const struct kind_row {
    qk_kind kind, drawn_as;
    const char *name, *title;
} rows[QK_KINDS] = {
    {QK_KIND_Q, QK_KIND_Q, "q", "queries"},
    {QK_KIND_Q_PRE, QK_KIND_Q, "q_pre", "queries before RoPE"},
    {QK_KIND_K, QK_KIND_K, "k", "keys"},
    {QK_KIND_K_PRE, QK_KIND_K, "k_pre", "keys before RoPE"},
    {QK_KIND_V, QK_KIND_K, "v", "values"},
};

static const struct kind_row *row_of(qk_kind kind)
{
    for (int i = 0; i < QK_KINDS; i++)
        if (rows[i].kind == kind) return &rows[i];
    QK_ASSERT(!"a kind of vector");
    return NULL;
}

const char *qk_kind_name(qk_kind kind)
{
    return row_of(kind)->name;
}

bool qk_kind_parse(const char *name, qk_kind *kind)
{
    for (int i = 0; i < QK_KINDS; i++)
        if (!strcmp(rows[i].name, name)) return *kind = rows[i].kind, true;
    return false;
}

const char *qk_kind_title(qk_kind kind)
{
    return row_of(kind)->title;
}

qk_kind qk_kind_drawn_as(qk_kind kind)
{
    return row_of(kind)->drawn_as;
}

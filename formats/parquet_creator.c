/* See parquet_creator.h. */
#include "formats/parquet_creator.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NUMBER = 1000000, MAX_SHOWN = 60 };

const char qk_pq_damaged[] = "the file is damaged; fetch it again";

static const char rewrite[] = "python3 -c 'import pyarrow.parquet as p; "
                              "p.write_table(p.read_table(\"OLD.parquet\"), \"NEW.parquet\")'";

/* ---- created_by ---- */

/* Reads a number at *at and, behind it, the dot before the next; false when there is none. */
static bool read_number(const char **at, int *out)
{
    const char *p = *at;
    if (!isdigit((unsigned char)*p)) return false;
    for (*out = 0; isdigit((unsigned char)*p); p++)
        *out = *out < MAX_NUMBER ? *out * 10 + (*p - '0') : MAX_NUMBER;
    *at = p + (*p == '.');
    return *p == '.';
}

qk_pq_creator qk_pq_creator_of(const char *created_by)
{
    static const char mark[] = " version ";
    qk_pq_creator o = {.program = created_by ? created_by : ""};
    const char *version = strstr(o.program, mark), *end = version;
    if (!end) end = o.program + strlen(o.program);
    while (o.program < end && *o.program == ' ') o.program++;
    while (end > o.program && end[-1] == ' ') end--;
    o.length = (size_t)(end - o.program);
    if (!version) return o;
    version += sizeof mark - 1;
    while (*version == ' ') version++;
    for (int i = 0; i < 3 && read_number(&version, &o.version[i]);) i++;
    return o;
}

bool qk_pq_creator_before(const qk_pq_creator *o, const char *program, int major, int minor,
                          int patch)
{
    const int limit[3] = {major, minor, patch};
    if (o->length != strlen(program) || memcmp(o->program, program, o->length) != 0) return false;
    for (int i = 0; i < 3; i++)
        if (o->version[i] != limit[i]) return o->version[i] < limit[i];
    return false;
}

/* ---- whose fault it is ---- */

qk_status qk_pq_blame(const char *created_by, bool is_old, qk_error *err)
{
    char writer[MAX_SHOWN + 24] = "a program that gives no name";
    bool damaged = !strcmp(err->hint, qk_pq_damaged);
    if (created_by && *created_by)
        snprintf(writer, sizeof writer, "'%.*s%s'", MAX_SHOWN, created_by,
                 strlen(created_by) > MAX_SHOWN ? " ..." : "");
    if (err->status != QK_ERR_FORMAT && err->status != QK_ERR_UNSUPPORTED) return err->status;
    if (damaged && is_old)
        snprintf(err->hint, sizeof err->hint,
                 "%s; if that does not help, %s wrote it so, and where pyarrow reads it this "
                 "writes it anew: %s",
                 qk_pq_damaged, writer, rewrite);
    else if (!err->hint[0])
        snprintf(err->hint, sizeof err->hint,
                 "written by %s; where pyarrow reads all its rows, this writes it anew: %s", writer,
                 rewrite);
    return err->status;
}

/* The emulator's global memory: buffers that the host announced, by name, each with a shadow per
 * 2 bytes. Blocks of one launch are ordered by nothing, launches by everything. Which parts of a
 * buffer were read and written is noted, for those who order launches.
 *
 * next: kernels/emulator/tensor.c */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/dtype.h"
#include "kernels/emulator/internal.h"

enum { MAX_BUFFERS = 1024 };

typedef struct buffer {
    const u8 *data;
    size_t bytes;
    char name[32];
    bool writable;
    shadow *shadows;
    bool touched;
    u8 *marks; /* one per EMU_GRANULE bytes: READ, WRITTEN */
} buffer;
enum { READ = 1, WRITTEN = 2 };

static buffer buffers[MAX_BUFFERS];
static int n_buffers;

void emu_buffer_add(const void *data, size_t bytes, const char *name, bool writable)
{
    QK_ASSERT(n_buffers < MAX_BUFFERS);
    buffer *b = &buffers[n_buffers++];
    *b = (buffer){.data = data, .bytes = bytes, .writable = writable};
    strncpy(b->name, name, sizeof b->name - 1);
    /* Zero pages cost nothing until they are touched. What nobody writes needs no shadow. */
    if (writable) b->shadows = calloc(bytes / 2 + 1, sizeof *b->shadows);
    b->marks = calloc(bytes / EMU_GRANULE + 1, 1);
    QK_ASSERT(b->marks && (b->shadows || !writable));
}

void emu_buffer_remove(const void *data)
{
    for (int i = 0; i < n_buffers; i++)
        if (buffers[i].data == data) {
            free(buffers[i].shadows);
            free(buffers[i].marks);
            buffers[i] = buffers[--n_buffers];
            return;
        }
}

void emu_touched(void (*each)(const void *at, size_t bytes, bool write, void *more), void *more)
{
    for (int i = 0; i < n_buffers; i++) {
        buffer *b = &buffers[i];
        for (size_t at = 0; b->touched && at < b->bytes; at += EMU_GRANULE) {
            u8 mark = b->marks[at / EMU_GRANULE];
            size_t n = b->bytes - at < EMU_GRANULE ? b->bytes - at : EMU_GRANULE;
            if (mark & READ) each(b->data + at, n, false, more);
            if (mark & WRITTEN) each(b->data + at, n, true, more);
            b->marks[at / EMU_GRANULE] = 0;
        }
        b->touched = false;
    }
}

static void note(buffer *b, const void *p, u8 mark)
{
    b->touched = true;
    b->marks[(size_t)((const u8 *)p - b->data) / EMU_GRANULE] |= mark;
}

/* " (64 bytes behind the end of qkv)", for messages. */
static const char *nearest(uintptr_t at)
{
    static char text[120];
    uintptr_t best = 65536;
    text[0] = 0;
    for (int i = 0; i < n_buffers; i++) {
        uintptr_t from = (uintptr_t)buffers[i].data, end = from + buffers[i].bytes;
        uintptr_t distance = at < from ? from - at : at - end;
        if (distance >= best) continue;
        best = distance;
        snprintf(text, sizeof text, " (%zu bytes %s of %s)", (size_t)distance,
                 at < from ? "before the start" : "behind the end", buffers[i].name);
    }
    return text;
}

static buffer *find(const void *p, u32 bytes, u32 align, const char *what)
{
    static int last; /* the next access is most likely to the same buffer */
    uintptr_t at = (uintptr_t)p;
    for (int i = 0; i < n_buffers; i++) {
        int n = (last + i) % n_buffers;
        uintptr_t from = (uintptr_t)buffers[n].data;
        if (at < from || at - from >= buffers[n].bytes) continue;
        last = n;
        if (bytes > buffers[n].bytes - (at - from))
            emu_fault("out of bounds: %s across the end of %s", what, buffers[n].name);
        if (at % align)
            emu_fault("misaligned: %s of %u bytes at offset %zu of %s", what, bytes,
                      (size_t)(at - from), buffers[n].name);
        return &buffers[n];
    }
    emu_fault("out of bounds: %s in no buffer%s", what, nearest(at));
}

void emu_global_read(const void *p, u32 bytes, u32 align, const char *what)
{
    buffer *b = find(p, bytes, align, what);
    note(b, p, READ);
    if (!b->writable) return;
    shadow *s = b->shadows + ((const u8 *)p - b->data) / 2;
    for (u32 i = 0; i < bytes / 2; i++) {
        const char *wrong = emu_shadow_read(&s[i], emu_thread, false);
        if (wrong) emu_fault("%s: %s (%s)", b->name, wrong, what);
    }
}

void emu_global_write(const void *p, u32 bytes, u32 align, const char *what)
{
    buffer *b = find(p, bytes, align, what);
    if (!b->writable) emu_fault("%s into %s, which is read-only", what, b->name);
    note(b, p, WRITTEN);
    shadow *s = b->shadows + ((const u8 *)p - b->data) / 2;
    for (u32 i = 0; i < bytes / 2; i++) {
        const char *wrong = emu_shadow_write(&s[i], emu_thread);
        if (wrong) emu_fault("%s: %s (%s)", b->name, wrong, what);
    }
}

/* ---- the primitives ---- */

#define LOAD(name, type, bytes)                                                                    \
    void name(type *v, const void *p)                                                              \
    {                                                                                              \
        emu_global_read(p, bytes, bytes, #name);                                                   \
        memcpy(v, p, bytes);                                                                       \
    }
#define STORE(name, type, bytes)                                                                   \
    void name(void *p, const type *v)                                                              \
    {                                                                                              \
        emu_global_write(p, bytes, bytes, #name);                                                  \
        memcpy(p, v, bytes);                                                                       \
    }
#define LOAD_ONE(name, type)                                                                       \
    type name(const type *p)                                                                       \
    {                                                                                              \
        type v;                                                                                    \
        emu_global_read(p, sizeof v, sizeof v, #name);                                             \
        memcpy(&v, p, sizeof v);                                                                   \
        return v;                                                                                  \
    }
#define STORE_ONE(name, type, value)                                                               \
    void name(type *p, value v)                                                                    \
    {                                                                                              \
        emu_global_write(p, sizeof v, sizeof v, #name);                                            \
        memcpy(p, &v, sizeof v);                                                                   \
    }

LOAD(ld_u32x2, u32, 8)
LOAD(ld_u32x4, u32, 16)
STORE(st_u32x2, u32, 8)
STORE(st_u32x4, u32, 16)
LOAD_ONE(ld_f32, float)
LOAD_ONE(ld_i32, int)
LOAD_ONE(ld_u16, u16)
STORE_ONE(st_f32, float, float)
STORE_ONE(st_i32, int, int)
STORE_ONE(st_u16, u16, u16)
STORE_ONE(st_u32, void, u32)

void ld_f32x4(float *v, const float *p)
{
    emu_global_read(p, 16, 16, "ld_f32x4");
    memcpy(v, p, 16);
}

void st_f32x4(float *p, const float *v)
{
    emu_global_write(p, 16, 16, "st_f32x4");
    memcpy(p, v, 16);
}

float f16_to_f32(u16 x)
{
    return qk_f16_to_f32(x);
}

u16 f32_to_f16(float x)
{
    return qk_f32_to_f16(x);
}

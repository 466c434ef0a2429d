/* Every object that a caller holds a handle of, and what became of it.
 *
 * next: tests/fake_cuda/queue.c */
#include <stdio.h>

#include "engine/base/mem.h"
#include "tests/fake_cuda/fake.h"

#define HANDLE_TAG 0xFACE000000000000u /* no address of x86-64 or ARM looks like this */

typedef struct object {
    fake_kind kind;
    unsigned number; /* among its kind, from 1 */
    bool alive;
    void *body;
} object;

static const struct {
    const char *one, *many;
    void (*free)(void *body);
} kinds[FAKE_KINDS] = {
    [FAKE_STREAM] = {"stream", "streams", fake_stream_free},
    [FAKE_EVENT] = {"event", "events", fake_event_free},
    [FAKE_MODULE] = {"module", "modules", fake_module_free},
    [FAKE_FUNCTION] = {NULL, NULL, free}, /* belongs to its module */
    [FAKE_DEVICE_MEMORY] = {"device allocation", "device allocations", fake_device_memory_free},
    [FAKE_PINNED] = {"page-locked buffer", "page-locked buffers", fake_pinned_free},
    [FAKE_BLAS] = {"cuBLASLt handle", "cuBLASLt handles", free},
    [FAKE_PROGRAM] = {"NVRTC program", "NVRTC programs", fake_program_free},
    [FAKE_DESC] = {"cuBLASLt product", "cuBLASLt products", free},
    [FAKE_LAYOUT] = {"cuBLASLt layout", "cuBLASLt layouts", free},
    [FAKE_PREFERENCE] = {"cuBLASLt preference", "cuBLASLt preferences", free},
};

static object *objects;
static size_t n_objects, capacity;
static unsigned made[FAKE_KINDS];

void *fake_object_new(fake_kind kind, void *body)
{
    if (n_objects == capacity) {
        capacity = capacity ? 2 * capacity : 64;
        objects = qk_realloc(objects, capacity, sizeof *objects);
    }
    objects[n_objects] = (object){kind, ++made[kind], true, body};
    return (void *)(HANDLE_TAG + n_objects++);
}

static object *find(const void *handle)
{
    size_t i = (uintptr_t)handle - HANDLE_TAG;
    return i < n_objects ? &objects[i] : NULL;
}

const char *fake_object_name(const void *handle)
{
    static char texts[4][48];
    static int next;
    char *text = texts[next++ % 4];
    const object *o = find(handle);
    if (!o)
        snprintf(text, sizeof texts[0], "%s", handle ? "an unknown handle" : "NULL");
    else
        snprintf(text, sizeof texts[0], "%s %u",
                 o->kind == FAKE_FUNCTION ? "function" : kinds[o->kind].one, o->number);
    return text;
}

void *fake_object_get(const void *handle, fake_kind kind)
{
    const char *wanted = kind == FAKE_FUNCTION ? "function" : kinds[kind].one;
    const object *o = find(handle);
    if (o && o->alive && o->kind == kind) return o->body;
    if (o && o->kind == kind)
        fake_fault("%s was destroyed", fake_object_name(handle));
    else
        fake_fault("%s is no %s", fake_object_name(handle), wanted);
    return NULL;
}

static void end(object *o)
{
    void *body = o->body;
    o->alive = false;
    o->body = NULL;
    kinds[o->kind].free(body);
}

void fake_object_end(const void *handle)
{
    object *o = find(handle);
    QK_ASSERT(o && o->alive);
    end(o);
}

void fake_objects_end(fake_kind first, fake_kind last)
{
    for (size_t i = 0; i < n_objects; i++)
        if (objects[i].alive && objects[i].kind >= first && objects[i].kind < last)
            end(&objects[i]);
}

void fake_objects_reset(void)
{
    fake_objects_end(0, FAKE_KINDS);
    memset(made, 0, sizeof made); /* handles stay known: none comes back */
}

void fake_objects_count(fake_kind first, fake_kind last, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (fake_kind k = first; k < last; k++) {
        size_t n = 0;
        for (size_t i = 0; i < n_objects; i++) n += objects[i].alive && objects[i].kind == k;
        if (!n || !kinds[k].one || used >= bytes) continue;
        used += (size_t)snprintf(text + used, bytes - used, "%s%zu %s", used ? ", " : "", n,
                                 n == 1 ? kinds[k].one : kinds[k].many);
    }
}

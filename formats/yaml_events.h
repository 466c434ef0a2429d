/* What yaml.c and yaml_safe.c share: libyaml's events one after the other, anchors, and messages on
 * broken syntax in words that help.
 *
 * next: formats/yaml.c */
#pragma once

#include <yaml.h>

#include "formats/yaml.h"

/* Calls `add` with each event of the text, which must be UTF-8 without characters that YAML does
 * not allow; ends with the first error. */
typedef qk_status (*qk_yaml_add)(void *builder, const yaml_event_t *event);
qk_status qk_yaml_events(const char *text, size_t size, const char *name, qk_yaml_add add,
                         void *builder, qk_error *err);

/* Hangs a child behind the others of a list or map. */
void qk_yaml_append(qk_yaml *parent, qk_yaml *child);

/* Names and their nodes. Zero-initialise to create; lives in the arena. */
enum { QK_YAML_BUCKETS = 1024 };
typedef struct qk_yaml_anchor {
    const char *name;
    qk_yaml *node;
    struct qk_yaml_anchor *next;
} qk_yaml_anchor;
typedef struct qk_yaml_anchors {
    qk_yaml_anchor *buckets[QK_YAML_BUCKETS]; /* the newest first */
} qk_yaml_anchors;

/* Binds a name, which hides an earlier one. The name is copied. */
void qk_yaml_bind(qk_yaml_anchors *anchors, qk_arena *arena, const char *name, qk_yaml *node);
/* The node that a name is bound to, or NULL; *passed becomes how many other anchors were compared. */
qk_yaml *qk_yaml_bound(const qk_yaml_anchors *anchors, const char *name, size_t *passed);

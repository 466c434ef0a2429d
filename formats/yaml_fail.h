/* What is wrong with text that is not YAML, in words that help. Private to config/yaml.c.
 *
 * next: engine/config/scalar.c */
#pragma once

#include <stddef.h>
#include <yaml.h>

#include "engine/base/error.h"

/* Refuses what is not UTF-8 and characters that YAML does not allow, naming the line. */
qk_status qk_yaml_check_bytes(const char *text, size_t size, const char *name, qk_error *err);
/* The error that `parser` stopped with, as line, column, message and hint. */
qk_status qk_yaml_fail(const yaml_parser_t *parser, const char *text, size_t size, const char *name,
                       qk_error *err);

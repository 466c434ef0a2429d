/* Scanners written by hand for the regexes that byte-level models use, found by their text:
 *
 *   GPT-2     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   cl100k    (?i:'s|...)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 *             \s*[\r\n]+|\s+(?!\S)|\s+        (Llama 3; Qwen has \p{N} alone)
 *
 * Each of them matches at every place of every text, so a text is cut without gaps, in one pass
 * without backtracking. A test compares them with the same regexes run by the machine.
 *
 * next: engine/tokenizer/pretokenize.h */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Where the match ends that begins at text[at], at < length. text: well-formed UTF-8. */
typedef size_t (*qk_scan)(const uint8_t *text, size_t length, size_t at);

/* The scanner of a regex, or NULL. */
qk_scan qk_scan_find(const char *regex, size_t length);

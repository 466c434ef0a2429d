/* A fuzz target is one function over bytes. With clang it is a libFuzzer program (make fuzz T=60);
 * without, and in `make test`, tests/fuzz/replay.c runs it over the corpus under the sanitizers. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

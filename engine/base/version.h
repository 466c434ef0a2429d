/* The version and how this binary was built. */
#pragma once

#define QK_VERSION "0.1.0"

/* "gcc 12.2.0, x86_64, cpu": the same for every run of one binary. */
const char *qk_build(void);

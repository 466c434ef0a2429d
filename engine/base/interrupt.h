/* SIGINT and SIGTERM: long work stops at its next look here, leaving what a resume needs. */
#pragma once

#include <stdbool.h>

#include "engine/base/error.h"

void qk_interrupt_install(void);
/* Whether a signal has arrived; safe in any thread. */
bool qk_interrupted(void);
/* QK_ERR_RESUME once a signal has arrived. */
qk_status qk_interrupt_check(qk_error *err);

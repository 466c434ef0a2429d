/* SIGINT and SIGTERM: the run stops at the next layer, leaving what a resume needs. */
#pragma once

#include "engine/base/error.h"

void qk_interrupt_install(void);
/* QK_ERR_RESUME once a signal has arrived. */
qk_status qk_interrupt_check(qk_error *err);

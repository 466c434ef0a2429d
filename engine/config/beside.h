/* Paths of a configuration are relative to the working folder, as the reference has it. Whoever starts
 * a run from elsewhere is told where its files are.
 *
 * next: engine/config/config.h */
#pragma once

#include "engine/config/config.h"

/* Where the message is about a relative path of the configuration that is not in the working folder but
 * beside the file of the configuration, the hint becomes that. */
void qk_config_explain_paths(const qk_config *c, qk_error *err);
/* Warns when results are begun here, while the folder beside the file holds some. */
void qk_config_check_root(const qk_config *c);

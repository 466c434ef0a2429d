/* output.data_root must be a folder of its own. Private to engine/config/. */
#pragma once

/* What is wrong with `path` as the folder for results: "the root folder", "above the working
 * folder", "the home folder", "above the home folder"; NULL: nothing. It need not exist. */
const char *qk_config_root_problem(const char *path);

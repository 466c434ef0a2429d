/* output.data_root must be a folder of its own. Private to engine/config/. */
#pragma once

/* What is wrong with `path` as the folder for results: "the root folder", "above the working
 * folder", "the home folder", "above the home folder"; NULL: nothing. It need not exist. */
const char *qk_config_root_problem(const char *path);
/* How the folder for results and a local dataset lie in each other's way: "lies inside",
 * to be read between the two; NULL: they do not, or `dataset` is not on this disk. A run that reads
 * its own output finds more rows at each start. */
const char *qk_config_root_overlap(const char *path, const char *dataset);

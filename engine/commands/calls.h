/* What a run and a merge end with: the calls of Python that load what they wrote.
 *
 * next: engine/output/dataset_card.h */
#pragma once

/* On stderr, for the split of a dataset folder and, with repo, for the same on the Hub. Nothing when
 * the log is quiet. It is said behind the work: what cannot be read is passed over. */
void qk_show_calls(const char *final, const char *split, const char *repo, const char *branch);

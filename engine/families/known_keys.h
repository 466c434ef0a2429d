/* Which keys of config.json may be passed over, and which would change the result.
 *
 * A key is read by spec.c or by the family, or it is one of those that do not matter here (a list
 * with reasons), or one that changes the arithmetic of some model: that is refused unless it has
 * the value that changes nothing. A key that nobody knows is passed over with a warning.
 *
 * next: engine/families/spec.c */
#pragma once

#include "engine/families/family.h"

qk_status qk_check_keys(const qk_spec *spec, const qk_spec_reader *r);

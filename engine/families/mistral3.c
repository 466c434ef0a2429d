/* The wrapper of Mistral's models that see images; the text model is a mistral or a ministral3. */
#include "engine/families/family.h"

const qk_family qk_family_mistral3 = {
    .model_type = "mistral3",
    .about = "Mistral Small 3.1, 3.2 and Ministral 3 with vision (text)",
    .text_type = "mistral",
    .tied = true,
    .other_parts = (const char *const[]){"vision_tower.", "multi_modal_projector.", NULL},
};

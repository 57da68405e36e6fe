/* Valid messages of any command, made from its rules: what fuzzing starts from. */
#ifndef PH_FUZZ_SAMPLE_H
#define PH_FUZZ_SAMPLE_H

#include "runtime/base/arena.h"
#include "runtime/base/random.h"
#include "runtime/wire/command.h"

/* A message that RULE allows, with fields, values and counts drawn from
 * RANDOM, the limits of each more often than chance. In ARENA; never NULL. */
ProtobufCMessage *ph_sample_message(const struct ph_message_rule *rule, struct ph_random *random,
                                    struct ph_arena *arena);

#endif
